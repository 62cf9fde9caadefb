package p2p

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"golang.org/x/net/dns/dnsmessage"
)

const (
	lanDomain   = "._udp.local."
	lanAddress  = "224.0.0.251:5353"
	lanTTL      = 120        // seconds
	maxDatagram = 9000       // RFC 6762, 17
	maxLANAddrs = 16         // of one peer
	maxTXT      = 255        // RFC 1035, 3.3
	addrPrefix  = "dnsaddr=" // as libp2p spells it
	// lanAsks is the pause before the second question; it doubles up to lanAsksMost.
	lanAsks     = time.Second
	lanAsksMost = time.Minute
	// lanAnswers is the least time between two answers, and lanTries between two dials of one peer.
	lanAnswers = time.Second
	lanTries   = 10 * time.Second
	maxLANSeen = 1024
)

// multicast carries datagrams to everybody on the local network, the sender included.
type multicast interface {
	Send(datagram []byte) error
	// Receive fills the buffer with the next datagram.
	Receive(buffer []byte) (int, error)
	Close() error
}

// joinLAN opens the group of multicast DNS on IPv4. Sending goes by a socket of its own: the one that listens shares its port
// with whatever else speaks multicast DNS on this machine, and does not hear itself.
func joinLAN() (multicast, error) {
	group, err := net.ResolveUDPAddr("udp4", lanAddress)
	if err != nil {
		return nil, fmt.Errorf("join LAN discovery: %w", err)
	}
	in, err := net.ListenMulticastUDP("udp4", nil, group)
	if err != nil {
		return nil, fmt.Errorf("join LAN discovery: %w", err)
	}
	out, err := net.DialUDP("udp4", nil, group)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("join LAN discovery: %w", err), in.Close())
	}
	return &lanSocket{in: in, out: out}, nil
}

type lanSocket struct{ in, out *net.UDPConn }

// Send implements multicast.
func (s *lanSocket) Send(datagram []byte) error {
	_, err := s.out.Write(datagram)
	return err
}

// Receive implements multicast.
func (s *lanSocket) Receive(buffer []byte) (int, error) {
	n, _, err := s.in.ReadFromUDP(buffer)
	return n, err
}

// Close implements multicast.
func (s *lanSocket) Close() error { return errors.Join(s.in.Close(), s.out.Close()) }

// lan finds peers of our network on the local one. What it hears is a rumour: a peer that it dials has to prove its key
// and its network like any other.
type lan struct {
	node    *Node
	service dnsmessage.Name
	self    dnsmessage.Name

	lock     sync.Mutex // owns what follows
	answered time.Time
	tried    map[peer.ID]time.Time
}

func newLAN(n *Node) (*lan, error) {
	service, err := dnsmessage.NewName("_ao-" + n.config.Network + lanDomain)
	if err != nil {
		return nil, fmt.Errorf("name LAN service: %w", err)
	}
	var label [16]byte
	_, _ = rand.Read(label[:]) // never fails
	self, err := dnsmessage.NewName(hex.EncodeToString(label[:]) + "." + service.String())
	if err != nil {
		return nil, fmt.Errorf("name LAN service: %w", err)
	}
	return &lan{node: n, service: service, self: self, tried: make(map[peer.ID]time.Time)}, nil
}

// openLAN starts the search. It is called once the node is ready, since it tells others where we listen.
func (n *Node) openLAN(ctx context.Context, tasks *sync.WaitGroup) error {
	l, err := newLAN(n)
	if err != nil {
		return err
	}
	wire, err := n.config.joinLAN()
	if err != nil {
		return err
	}
	tasks.Go(func() { n.runLAN(ctx, l, wire) })
	return nil
}

// runLAN asks and answers until ctx ends.
func (n *Node) runLAN(ctx context.Context, l *lan, wire multicast) {
	var tasks sync.WaitGroup
	defer wire.Close()
	defer tasks.Wait()
	defer context.AfterFunc(ctx, func() { _ = wire.Close() })()
	tasks.Go(func() { l.ask(ctx, wire) })
	dials := make(chan struct{}, dialsAtOnce)
	buffer := make([]byte, maxDatagram)
	for {
		size, err := wire.Receive(buffer)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			n.log.Warn("LAN discovery ends", "err", err)
			return
		}
		asked, found := l.read(buffer[:size])
		if asked && l.mayAnswer(time.Now()) {
			if err := l.answer(wire); err != nil {
				n.log.Debug("LAN answer not sent", "err", err)
			}
		}
		for _, info := range found {
			if !l.worthADial(info.ID, time.Now()) {
				continue
			}
			select {
			case dials <- struct{}{}:
				tasks.Go(func() {
					defer func() { <-dials }()
					n.log.Debug("found on the LAN", "other", info.ID, "err", n.connect(ctx, info))
				})
			default: // it will be heard of again
			}
		}
	}
}

// ask asks at first often, then once a minute.
func (l *lan) ask(ctx context.Context, wire multicast) {
	question, err := l.question()
	if err != nil {
		l.node.log.Warn("LAN question not built", "err", err)
		return
	}
	for pause := lanAsks; ; pause = min(2*pause, lanAsksMost) {
		if err := wire.Send(question); err != nil && ctx.Err() == nil {
			l.node.log.Debug("LAN question not sent", "err", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (l *lan) question() ([]byte, error) {
	m := dnsmessage.Message{Questions: []dnsmessage.Question{
		{Name: l.service, Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET},
	}}
	return m.Pack()
}

func (l *lan) mayAnswer(now time.Time) bool {
	l.lock.Lock()
	defer l.lock.Unlock()
	if now.Sub(l.answered) < lanAnswers {
		return false
	}
	l.answered = now
	return true
}

// worthADial says no to ourselves, to whom we know or keep away, and to whom we tried just now.
func (l *lan) worthADial(id peer.ID, now time.Time) bool {
	if id == l.node.id || l.node.belongs(id) && len(l.node.host.Network().ConnsToPeer(id)) > 0 || l.node.gated(id) != nil {
		return false
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	if now.Sub(l.tried[id]) < lanTries {
		return false
	}
	if len(l.tried) >= maxLANSeen {
		for other, at := range l.tried {
			if now.Sub(at) >= lanTries {
				delete(l.tried, other)
			}
		}
		if len(l.tried) >= maxLANSeen {
			return false
		}
	}
	l.tried[id] = now
	return true
}

// answer says where we listen.
func (l *lan) answer(wire multicast) error {
	var texts []string
	for _, a := range l.node.Addrs() {
		if text := addrPrefix + a; len(text) <= maxTXT && len(texts) < maxLANAddrs {
			texts = append(texts, text)
		}
	}
	if len(texts) == 0 {
		return nil
	}
	raw, err := l.announcement(texts)
	if err != nil {
		return fmt.Errorf("build LAN answer: %w", err)
	}
	return wire.Send(raw)
}

func (l *lan) announcement(texts []string) ([]byte, error) {
	m := dnsmessage.Message{
		Header: dnsmessage.Header{Response: true, Authoritative: true},
		Answers: []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: l.service, Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET, TTL: lanTTL},
			Body:   &dnsmessage.PTRResource{PTR: l.self},
		}},
		Additionals: []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: l.self, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET, TTL: lanTTL},
			Body:   &dnsmessage.TXTResource{TXT: texts},
		}},
	}
	return m.Pack()
}

// read says whether a datagram asks for our service, and which peers it names as having it. Anything else, and anything
// malformed, is nothing.
func (l *lan) read(datagram []byte) (asked bool, found []peer.AddrInfo) {
	var p dnsmessage.Parser
	head, err := p.Start(datagram)
	if err != nil {
		return false, nil
	}
	for {
		q, err := p.Question()
		if err != nil {
			break
		}
		if !head.Response && q.Type == dnsmessage.TypePTR && strings.EqualFold(q.Name.String(), l.service.String()) {
			asked = true
		}
	}
	if !head.Response {
		return asked, nil
	}
	var texts []string
	take := func(header func() (dnsmessage.ResourceHeader, error), skip func() error) bool {
		h, err := header()
		if err != nil {
			return false
		}
		name := strings.ToLower(h.Name.String())
		if h.Type != dnsmessage.TypeTXT || !strings.HasSuffix(name, "."+l.service.String()) {
			return skip() == nil
		}
		txt, err := p.TXTResource()
		if err != nil {
			return false
		}
		texts = append(texts, txt.TXT...)
		return true
	}
	for take(p.AnswerHeader, p.SkipAnswer) {
	}
	if p.SkipAllAuthorities() == nil {
		for take(p.AdditionalHeader, p.SkipAdditional) {
		}
	}
	return false, lanPeers(texts)
}

// lanPeers reads addresses as a neighbour may announce them: of IP networks, full, and few.
func lanPeers(texts []string) []peer.AddrInfo {
	var addrs []multiaddr.Multiaddr
	for _, text := range texts[:min(len(texts), maxLANAddrs)] {
		a, err := multiaddr.NewMultiaddr(strings.TrimPrefix(text, addrPrefix))
		if err != nil || !strings.HasPrefix(text, addrPrefix) {
			continue
		}
		if _, err := manet.ToIP(a); err == nil {
			addrs = append(addrs, a)
		}
	}
	infos, err := peer.AddrInfosFromP2pAddrs(addrs...)
	if err != nil {
		return nil
	}
	return infos
}
