package p2p

import (
	"fmt"
	"strings"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// idsPerMessage is how many announced or wanted message IDs cost as much as one message.
	idsPerMessage = 16
	// maxOtherTopics is how many topics that were never declared here other peers may be subscribed to.
	maxOtherTopics = 256
)

// hear drops what a neighbour gossips beyond its rate, before anything of it is looked at. It runs in the event loop of
// gossip and takes no lock of the node's.
func (n *Node) hear(from peer.ID, rpc *pubsub.RPC) error {
	if n.admit.hear(from, min(weigh(rpc), n.config.Limits.GossipBurst), time.Now()) {
		return nil
	}
	n.refuse(from, boundGossip)
	return fmt.Errorf("gossip from %s: %w", from, ErrBusy)
}

// weigh is what one packet of gossip costs, in messages.
func weigh(rpc *pubsub.RPC) int {
	cost := 1 + len(rpc.GetPublish()) + len(rpc.GetSubscriptions())/idsPerMessage
	control := rpc.GetControl()
	ids := 0
	for _, have := range control.GetIhave() {
		ids += 1 + len(have.GetMessageIDs())
	}
	for _, want := range control.GetIwant() {
		ids += 1 + len(want.GetMessageIDs())
	}
	for _, no := range control.GetIdontwant() {
		ids += 1 + len(no.GetMessageIDs())
	}
	return cost + len(control.GetGraft()) + len(control.GetPrune()) + ids/idsPerMessage
}

// subscriptions is which topics other peers may be in: those of our network that were ever declared here, and so many
// more. Every name and every subscriber of it is remembered, so that without a bound whoever makes up names fills the
// memory.
type subscriptions struct {
	prefix string
	refuse func()

	lock     sync.Mutex // owns what follows
	declared map[string]bool
	others   map[string]bool
}

func newSubscriptions(network string, refuse func()) *subscriptions {
	return &subscriptions{
		prefix: "/ao/" + network + "/", refuse: refuse, declared: make(map[string]bool), others: make(map[string]bool),
	}
}

func (s *subscriptions) declare(topic string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.declared[topic] = true
	delete(s.others, topic)
}

// CanSubscribe implements pubsub.SubscriptionFilter.
func (s *subscriptions) CanSubscribe(topic string) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.declared[topic] || s.others[topic] {
		return true
	}
	if !strings.HasPrefix(topic, s.prefix) || len(topic) > len(s.prefix)+2*maxName+1 || len(s.others) >= maxOtherTopics {
		return false
	}
	s.others[topic] = true
	return true
}

// FilterIncomingSubscriptions implements pubsub.SubscriptionFilter.
func (s *subscriptions) FilterIncomingSubscriptions(_ peer.ID, list []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	kept := pubsub.FilterSubscriptions(list, s.CanSubscribe)
	if len(kept) < len(list) {
		s.refuse()
	}
	return kept, nil
}
