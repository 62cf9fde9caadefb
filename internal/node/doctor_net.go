package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/remote"
)

// reading is by how much somebody's clock is ahead of ours.
type reading struct {
	who   string
	ahead time.Duration
}

// checkClock compares with everybody who has told his time; the median counts, because anyone may be wrong.
func (d *Doctor) checkClock() {
	if len(d.clocks) == 0 {
		d.note(LevelWarn, "clock", "nobody was there to compare the clock with", "see gateway and mesh; make sure that a time service runs")
		return
	}
	slices.SortFunc(d.clocks, func(a, b reading) int { return cmp.Compare(a.ahead, b.ahead) })
	middle := d.clocks[len(d.clocks)/2]
	off := -middle.ahead.Round(100 * time.Millisecond)
	how := fmt.Sprintf("%v ahead of", off)
	if off < 0 {
		how = fmt.Sprintf("%v behind", -off)
	}
	found := fmt.Sprintf("the clock is %s %s (compared with %d)", how, middle.who, len(d.clocks))
	const do = "set the clock and run a time service (systemd-timesyncd, chrony): slots carry the time, and others refuse what comes from the future"
	switch off = max(off, -off); {
	case off > clockFail:
		d.note(LevelFail, "clock", found, do)
	case off > clockWarn:
		d.note(LevelWarn, "clock", found, do)
	default:
		d.ok("clock", "within %v of %d others", clockWarn, len(d.clocks))
	}
}

// checkPorts wants a running peer to answer on its ports, and those of one that does not run to be free.
func (d *Doctor) checkPorts(ctx context.Context) {
	switch {
	case d.devnet != nil:
		var addrs []string
		for _, p := range d.devnet.Peers {
			addrs = append(addrs, p.Addrs...)
		}
		d.answers(ctx, addrs)
	case d.running != nil:
		d.answers(ctx, d.running.Addrs)
	case d.isDevnet():
		d.ok("port", "a devnet takes its ports when it starts")
	default:
		d.free(ctx)
	}
}

// answers dials every TCP address.
func (d *Doctor) answers(ctx context.Context, addrs []string) {
	var silent []string
	count := 0
	for _, a := range addrs {
		to, network, ok := socket(a)
		switch {
		case !ok || network != "tcp":
		case dials(ctx, a):
			count++
		default:
			silent = append(silent, to)
		}
	}
	switch {
	case len(silent) > 0:
		d.note(LevelFail, "port", "the peer does not answer on "+strings.Join(silent, ", "), "a firewall on this machine may be in between; else start it again and see its log")
	case count == 0:
		d.note(LevelWarn, "port", "the peer listens on no TCP address", "give --listen, unless nobody is to dial it")
	default:
		d.ok("port", "the peer answers on %s", plural(count, "address", "addresses"))
	}
}

// free takes every port that the config names for a moment.
func (d *Doctor) free(ctx context.Context) {
	type place struct{ network, at, setting string }
	var places []place
	for _, a := range d.Config.Listen {
		if at, network, ok := socket(a); ok {
			places = append(places, place{network, at, "--listen"})
		}
	}
	if d.Config.Admin.Listen != "" {
		places = append(places, place{"tcp", d.Config.Admin.Listen, "--admin"})
	}
	bad, fixed := false, 0
	var config net.ListenConfig
	for _, p := range places {
		var err error
		if p.network == "udp" {
			var c net.PacketConn
			if c, err = config.ListenPacket(ctx, "udp", p.at); err == nil {
				err = c.Close()
			}
		} else {
			var l net.Listener
			if l, err = config.Listen(ctx, "tcp", p.at); err == nil {
				err = l.Close()
			}
		}
		if err != nil {
			bad = true
			d.note(LevelFail, "port", fmt.Sprintf("%s port %s cannot be listened on: %v", strings.ToUpper(p.network), p.at, rootOf(err)),
				"stop what has it (`ss -lntup` shows it), or choose another "+p.setting)
		} else if !strings.HasSuffix(p.at, ":0") {
			fixed++
		}
	}
	switch {
	case bad:
	case fixed == 0:
		d.ok("port", "the system chooses the ports at each start; give --listen for one that others can rely on")
	default:
		d.ok("port", "%s free", plural(fixed, "port is", "ports are"))
	}
}

// socket is the host and port of a multiaddr.
func socket(addr string) (at, network string, ok bool) {
	m, err := multiaddr.NewMultiaddr(addr)
	if err != nil {
		return "", "", false
	}
	host := ""
	for _, c := range []int{multiaddr.P_IP4, multiaddr.P_IP6} {
		if v, err := m.ValueForProtocol(c); err == nil {
			host = v
		}
	}
	for code, network := range map[int]string{multiaddr.P_TCP: "tcp", multiaddr.P_UDP: "udp"} {
		if port, err := m.ValueForProtocol(code); err == nil && host != "" {
			return net.JoinHostPort(host, port), network, true
		}
	}
	return "", "", false
}

// checkMesh joins the network as a guest, and from there looks at the peer as others do.
func (d *Doctor) checkMesh(ctx context.Context) {
	if !d.keys {
		d.note(LevelWarn, "mesh", "not looked at without its keys", "see key and wallet")
		return
	}
	joining, cancel := context.WithTimeout(ctx, examination)
	defer cancel()
	cl, err := openClient(joining, d.Home, d.Config, d.Log)
	switch {
	case err != nil && d.running == nil && d.devnet == nil && d.isDevnet():
		d.ok("mesh", "the devnet does not run: start it with `aopeer devnet --home %s`", d.Home)
		return
	case err != nil && d.running == nil && len(d.Config.Bootstrap)+len(d.network.Bootstrap) == 0:
		d.note(LevelWarn, "mesh", "nobody to meet the mesh through is known", "give --bootstrap, unless this is the first peer of its network")
		return
	case err != nil:
		d.note(LevelFail, "mesh", err.Error(), "check --bootstrap and the network; the first peer of a network must run for others to join")
		return
	}
	defer cl.Close()
	all := cl.Mesh.Roster.With("")
	var roles []string
	for _, r := range unitRoles() {
		roles = append(roles, fmt.Sprintf("%d %s", len(cl.Mesh.Roster.With(r)), r))
	}
	d.ok("mesh", "%s known: %s", plural(len(all), "unit is", "units are"), strings.Join(roles, ", "))
	d.readClocks(ctx, cl, all)
	d.checkTwin(ctx, cl)
	d.checkReach(ctx, cl, all)
	d.checkPush(ctx, cl)
}

// readClocks asks a few units for their time.
func (d *Doctor) readClocks(ctx context.Context, cl *Client, all []remote.Unit) {
	ctx, cancel := context.WithTimeout(ctx, examination)
	defer cancel()
	for _, u := range all[:min(len(all), 8)] {
		before := time.Now()
		raw, err := remote.Status(ctx, cl.P2P, u.Peer)
		if err != nil {
			continue // whom we cannot reach is not asked for the time
		}
		took := time.Since(before)
		var s struct{ Time time.Time }
		if json.Unmarshal(raw, &s) == nil && !s.Time.IsZero() {
			d.clocks = append(d.clocks, reading{"peer " + cmp.Or(u.Name, u.Address), s.Time.Sub(d.Clock().Add(-took / 2))})
		}
	}
}

// checkTwin looks for another peer that uses this home's key: two would sign for one unit.
func (d *Doctor) checkTwin(ctx context.Context, cl *Client) {
	if d.isDevnet() {
		return
	}
	key, err := d.Home.LoadKey()
	if err != nil {
		return // told already
	}
	u, ok := cl.Mesh.Roster.Get(Address(key))
	if !ok {
		return
	}
	elsewhere := slices.DeleteFunc(slices.Clone(u.Addrs), func(a string) bool {
		return d.running != nil && slices.Contains(d.running.Addrs, a)
	})
	if len(elsewhere) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, examination/2)
	defer cancel()
	if d.running == nil {
		if _, err := remote.Status(ctx, cl.P2P, u.Peer); err != nil {
			return // it ran a moment ago
		}
	} else if len(elsewhere) < len(u.Addrs) || !slices.ContainsFunc(elsewhere, func(a string) bool { return dials(ctx, a) }) {
		return // it is the one that runs here, with addresses that it has learnt of since, or had before
	}
	d.note(LevelFail, "instance", "another peer runs with this home's key, at "+strings.Join(elsewhere, ", "),
		"stop one of the two at once: two that sign with one key contradict each other, for which a unit can be held liable")
}

// dials says whether something takes TCP connections at a multiaddr.
func dials(ctx context.Context, addr string) bool {
	to, network, ok := socket(addr)
	if !ok || network != "tcp" {
		return false
	}
	dialer := net.Dialer{Timeout: 3 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", to)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// checkReach asks other peers to dial the running peer back.
func (d *Doctor) checkReach(ctx context.Context, cl *Client, all []remote.Unit) {
	if d.running == nil {
		if d.devnet == nil {
			d.ok("reach", "nothing runs that others could dial")
		} else {
			d.ok("reach", "a devnet is for this machine alone")
		}
		return
	}
	port := tcpPort(d.running.Addrs)
	if port == 0 {
		d.note(LevelWarn, "reach", "the peer has no TCP port that could be dialled", "give --listen with a TCP address")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, examination)
	defer cancel()
	asked, seen := 0, ""
	for _, u := range all {
		if u.Peer.String() == d.running.ID || asked == 3 {
			continue
		}
		at, reachable, err := remote.Reach(ctx, cl.P2P, u.Peer, port)
		if err != nil {
			continue
		}
		asked++
		if seen = at; reachable {
			d.ok("reach", "peer %s dialled this machine back at %s", cmp.Or(u.Name, u.Address), at)
			return
		}
	}
	if asked == 0 {
		d.note(LevelWarn, "reach", "nobody was there to dial this peer back", "it is the only one, or the others are older than this check")
		return
	}
	d.note(LevelWarn, "reach", fmt.Sprintf("%s tried, and could not dial this peer at %s", plural(asked, "peer", "peers"), seen),
		fmt.Sprintf("let TCP and UDP port %d through the firewall, or forward it on the router; until then the peer works only for those it dials", port))
}

// tcpPort is the first TCP port of addresses.
func tcpPort(addrs []string) uint16 {
	for _, a := range addrs {
		if at, network, ok := socket(a); ok && network == "tcp" {
			if to, err := netip.ParseAddrPort(at); err == nil {
				return to.Port()
			}
		}
	}
	return 0
}

// errand is what the doctor keeps of its own process, so that each examination pushes one message and spawns nothing.
type errand struct {
	Network string `json:"network"`
	Process string `json:"process"`
}

// checkPush pushes a message to a process of the doctor's own, as a user would, and waits for its result.
func (d *Doctor) checkPush(ctx context.Context, cl *Client) {
	switch {
	case d.NoPush:
		return
	case d.running == nil && d.devnet == nil:
		d.ok("push", "nothing runs that could be pushed through")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // a module may have to be compiled
	defer cancel()
	begin := time.Now()
	slot, err := d.push(ctx, cl)
	if err != nil {
		d.note(LevelFail, "push", fmt.Sprintf("a message did not get through: %v", err), "see the other findings, and the logs of the units that it names")
		return
	}
	d.ok("push", "a message got slot %d and its result in %d ms", slot, time.Since(begin).Milliseconds())
}

func (d *Doctor) push(ctx context.Context, cl *Client) (ao.Slot, error) {
	door, err := d.messenger(ctx, cl)
	if err != nil {
		return 0, err
	}
	process, err := d.process(ctx, cl, door)
	if err != nil {
		return 0, err
	}
	m, err := ao.SignMessage(cl.Signer, process, ao.Tags{{Name: "Action", Value: "Eval"}}, []byte("return 1 + 1"),
		[]byte(strconv.FormatInt(time.Now().UnixNano(), 10) + strings.Repeat("0", 32))[:32])
	if err != nil {
		return 0, err
	}
	a, err := door.Push(ctx, m)
	if err != nil {
		return 0, err
	}
	return a.Nonce(), d.result(ctx, cl, process, a.Nonce())
}

// messenger is the running peer's own, if it has that role.
func (d *Doctor) messenger(ctx context.Context, cl *Client) (units.Messenger, error) {
	if d.running != nil && slices.Contains(d.running.Roles, remote.RoleMessenger) {
		id, err := peer.Decode(d.running.ID)
		if err != nil {
			return nil, fmt.Errorf("read peer.json: %w", err)
		}
		return remote.Messenger(cl.P2P, id), nil
	}
	return cl.Messenger(ctx)
}

// process is that of an earlier examination, or a new one.
func (d *Doctor) process(ctx context.Context, cl *Client, door units.Messenger) (ao.ID, error) {
	file := filepath.Join(string(d.Home), "doctor.json")
	var e errand
	if raw, err := readBounded(file, 4096); err == nil && json.Unmarshal(raw, &e) == nil && e.Network == d.network.ID {
		if id, err := ao.ParseID(e.Process); err == nil {
			if _, err := cl.Directory.Process(ctx, id); err == nil {
				return id, nil
			}
		}
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return ao.ID{}, err
	}
	def := cl.Defaults()
	if d.running != nil && slices.Contains(d.running.Roles, remote.RoleScheduler) {
		def.Scheduler = d.running.Address
	}
	module, err := ao.ParseID(def.Module)
	if err != nil {
		return ao.ID{}, errors.New("the network names no default module to spawn a process with")
	}
	tags := ao.Tags{{Name: "Name", Value: "doctor"}}
	if def.Authority != "" {
		tags = append(tags, ao.Tag{Name: "Authority", Value: def.Authority})
	}
	m, err := ao.SignProcess(cl.Signer, module, def.Scheduler, tags, nil, nil)
	if err != nil {
		return ao.ID{}, err
	}
	if _, err := door.Push(ctx, m); err != nil {
		return ao.ID{}, err
	}
	return m.ID(), writeJSON(file, errand{Network: d.network.ID, Process: m.ID().String()})
}

// result waits until somebody has computed the slot.
func (d *Doctor) result(ctx context.Context, cl *Client, process ao.ID, slot ao.Slot) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		door, err := cl.Directory.Computer(ctx, process)
		if err == nil {
			var a units.Answer
			if a, err = door.Compute(ctx, process, slot); err == nil {
				return a.Check(d.network.ID, process, slot)
			}
		}
		var r *ao.Refusal
		if !errors.As(err, &r) || !slices.Contains([]ao.Code{
			ao.NotYet, ao.Busy, ao.Unreachable, ao.Deadline, ao.UnknownProcess, ao.UnknownModule, ao.ArchiveDown,
		}, r.Code) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}
