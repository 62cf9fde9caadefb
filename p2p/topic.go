package p2p

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Verdict is a validator's judgement of a gossip message.
type Verdict int

// The verdicts. Reject is only for what the neighbour that sent it answers for (a bad signature, bytes that do not
// parse); whatever is stale, unknown, or depends on our own state is Ignore, because a node that rejects for reasons
// of its own cuts itself off from its network.
const (
	Accept Verdict = iota // deliver it and pass it on
	Ignore                // drop it
	Reject                // drop it; the neighbour that sent it should have known
)

// Validator judges a message before it is delivered or passed on; from is the neighbour that it came from, or this
// node itself for what it publishes. It runs beside others of its topic, away from the event loop, and must return
// when ctx ends.
type Validator func(ctx context.Context, from peer.ID, data []byte) Verdict

// topicBuffer is how many accepted messages wait for Next; later ones are dropped.
const topicBuffer = 1024

// Topic is a gossip topic that this node has joined.
type Topic struct {
	node     *Node
	name     string
	validate Validator

	left   chan struct{} // closed by Close
	joined chan struct{} // closed once the fields below are set
	topic  *pubsub.Topic
	sub    *pubsub.Subscription
}

// openPubsub starts gossip under a protocol of our own, unsigned: what is inside is signed, and doing it twice costs
// 30 %. Messages are told apart by their content, so a repeated publication of the same bytes goes nowhere.
func (n *Node) openPubsub(ctx context.Context, undo *closers) error {
	name, err := n.wireName("meshsub", WireVersion)
	if err != nil {
		return err
	}
	own := protocol.ID(name)
	gossip, stop := context.WithCancel(context.WithoutCancel(ctx))
	undo.add(stop)
	limits := n.config.Limits
	n.pubsub, err = pubsub.NewGossipSub(gossip, n.host,
		pubsub.WithGossipSubProtocols([]protocol.ID{own}, func(feature pubsub.GossipSubFeature, p protocol.ID) bool {
			return p == own && feature != pubsub.GossipSubFeatureExtensions
		}),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		// What is published before the mesh has formed would reach nobody otherwise.
		pubsub.WithFloodPublish(true),
		pubsub.WithMessageIdFn(messageID),
		pubsub.WithMaxMessageSize(limits.MaxMessage+1024),
		pubsub.WithPeerOutboundQueueSize(256),
		pubsub.WithValidateQueueSize(limits.ValidationQueue),
		pubsub.WithValidateThrottle(16*limits.Validations),
		pubsub.WithPeerScore(scoring()),
		pubsub.WithAppSpecificRpcInspector(n.hear),
		pubsub.WithSubscriptionFilter(n.others),
	)
	if err != nil {
		return fmt.Errorf("start gossip: %w", err)
	}
	n.lock.Lock()
	defer n.lock.Unlock()
	for _, t := range n.topics {
		if err := t.join(); err != nil {
			return err
		}
	}
	return nil
}

// messageID is the hash of topic and content: there is no author or sequence number to go by.
func messageID(m *pb.Message) string {
	digest := sha256.New()
	digest.Write([]byte(m.GetTopic()))
	digest.Write([]byte{0})
	digest.Write(m.GetData())
	return string(digest.Sum(nil))
}

// Topic joins the topic /ao/<network>/<name>/<version>, whose every message validate judges first; nil accepts all.
// It may be called before the node runs. A topic can be joined once at a time.
func (n *Node) Topic(name, version string, validate Validator) (*Topic, error) {
	full, err := n.wireName(name, version)
	if err != nil {
		return nil, err
	}
	if validate == nil {
		validate = func(context.Context, peer.ID, []byte) Verdict { return Accept }
	}
	n.others.declare(full)
	n.lock.Lock()
	defer n.lock.Unlock()
	if _, ok := n.topics[full]; ok {
		return nil, fmt.Errorf("%w: topic %s is joined already", ErrName, full)
	}
	t := &Topic{node: n, name: full, validate: validate, left: make(chan struct{}), joined: make(chan struct{})}
	if n.running {
		if err := t.join(); err != nil {
			return nil, err
		}
	}
	n.topics[full] = t
	return t, nil
}

// join is called with the node's lock held and gossip running.
func (t *Topic) join() error {
	gossip, limits := t.node.pubsub, t.node.config.Limits
	err := gossip.RegisterTopicValidator(t.name, t.judge,
		pubsub.WithValidatorConcurrency(limits.Validations), pubsub.WithValidatorTimeout(limits.Timeout))
	if err != nil {
		return fmt.Errorf("join topic %s: %w", t.name, err)
	}
	if t.topic, err = gossip.Join(t.name); err == nil {
		t.sub, err = t.topic.Subscribe(pubsub.WithBufferSize(topicBuffer))
	}
	if err == nil {
		err = t.topic.SetScoreParams(topicScoring())
	}
	if err != nil {
		_ = gossip.UnregisterTopicValidator(t.name)
		return fmt.Errorf("join topic %s: %w", t.name, err)
	}
	close(t.joined)
	return nil
}

// judge runs the validator. One that panics says nothing about the sender.
func (t *Topic) judge(ctx context.Context, from peer.ID, m *pubsub.Message) (result pubsub.ValidationResult) {
	defer func() {
		if p := recover(); p != nil {
			t.node.log.Error("validator panicked", "topic", t.name, "from", from, "panic", p)
			result = pubsub.ValidationIgnore
		}
	}()
	if len(m.Data) > t.node.config.Limits.MaxMessage {
		return pubsub.ValidationReject
	}
	switch t.validate(ctx, from, m.Data) {
	case Accept:
		return pubsub.ValidationAccept
	case Reject:
		return pubsub.ValidationReject
	}
	return pubsub.ValidationIgnore
}

// Publish sends data to everybody in the topic, after our own validator. The error is ErrRefused when that did not
// accept it. The same bytes published again within two minutes are silently not sent.
func (t *Topic) Publish(ctx context.Context, data []byte) error {
	if err := t.usable(); err != nil {
		return fmt.Errorf("publish to %s: %w", t.name, err)
	}
	if len(data) > t.node.config.Limits.MaxMessage {
		return fmt.Errorf("publish to %s: %w: %d bytes, limit %d", t.name, ErrTooLarge, len(data),
			t.node.config.Limits.MaxMessage)
	}
	err := t.topic.Publish(ctx, data)
	var invalid pubsub.ValidationError
	if errors.As(err, &invalid) {
		return fmt.Errorf("publish to %s: %w: %w", t.name, ErrRefused, err)
	}
	if err != nil {
		return fmt.Errorf("publish to %s: %w", t.name, err)
	}
	return nil
}

// Next gives the next accepted message and the neighbour that it came from (this node for its own), waiting for
// the node to be ready and for a message. The neighbour is not the author: who that is, only the bytes can say.
func (t *Topic) Next(ctx context.Context) ([]byte, peer.ID, error) {
	select {
	case <-t.joined:
	case <-t.left:
		return nil, "", fmt.Errorf("next of %s: %w", t.name, ErrClosed)
	case <-t.node.gone:
		return nil, "", t.node.closed()
	case <-ctx.Done():
		return nil, "", fmt.Errorf("next of %s: %w", t.name, ctx.Err())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.node.ctx, func() { cancel(ErrClosed) })()
	m, err := t.sub.Next(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		} else {
			err = fmt.Errorf("%w: %w", ErrClosed, err)
		}
		return nil, "", fmt.Errorf("next of %s: %w", t.name, err)
	}
	return m.Data, m.ReceivedFrom, nil
}

// usable says whether the topic is joined right now.
func (t *Topic) usable() error {
	select {
	case <-t.left:
		return ErrClosed
	default:
		return t.node.up()
	}
}

// Peers lists the neighbours known to be in the topic.
func (t *Topic) Peers() []peer.ID {
	if t.usable() != nil {
		return nil
	}
	return t.topic.ListPeers()
}

// Close leaves the topic. Whoever waits in Next gets ErrClosed.
func (t *Topic) Close() error {
	n := t.node
	n.lock.Lock()
	defer n.lock.Unlock()
	if n.topics[t.name] != t {
		return nil
	}
	delete(n.topics, t.name)
	close(t.left)
	if !n.running {
		return nil
	}
	t.sub.Cancel()
	err := n.pubsub.UnregisterTopicValidator(t.name)
	return errors.Join(err, t.topic.Close())
}
