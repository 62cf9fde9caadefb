package p2p

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"
)

// seat is a node with what outlives its restarts.
type seat struct {
	config Config
	node   *Node
	topic  *Topic
	stop   func()
}

func (s *seat) open(t *testing.T) {
	t.Helper()
	n, err := New(s.config)
	if err != nil {
		t.Fatal(err)
	}
	if s.topic, err = n.Topic("news", "1", nil); err != nil {
		t.Fatal(err)
	}
	n.Handle("echo", "1.0.0", echo)
	s.node, s.stop = n, launch(t, n)
}

// sees says whether a node is connected to all of others but itself.
func (s *seat) sees(others []*seat) bool {
	peers := s.node.Peers()
	return !slices.ContainsFunc(others, func(o *seat) bool {
		return o != s && !slices.ContainsFunc(peers, func(p PeerInfo) bool { return p.ID == o.node.ID() })
	})
}

// snapshot copies a datastore, and gives what is remembered in it of peers.
func snapshot(t *testing.T, from datastore.Batching) (to datastore.Batching, known string) {
	t.Helper()
	ctx := testContext(t)
	to = dssync.MutexWrap(datastore.NewMapDatastore())
	results, err := from.Query(ctx, query.Query{})
	if err != nil {
		t.Fatal(err)
	}
	defer results.Close()
	for r := range results.Next() {
		if strings.HasPrefix(r.Key, rosterPrefix) {
			known += string(r.Value)
		}
		if err := to.Put(ctx, datastore.NewKey(r.Key), r.Value); err != nil {
			t.Fatal(err)
		}
	}
	return to, known
}

// TestEachRestartedInTurnFindsTheMesh is five nodes whose only bootstrap peer is gone. A restarted node listens elsewhere,
// so that it must find the others and not they it.
func TestEachRestartedInTurnFindsTheMesh(t *testing.T) {
	bootstrap := testConfig("bootstrap")
	first, err := New(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	stopFirst := launch(t, first)
	var seats []*seat
	for i := range 5 {
		s := &seat{config: testConfig("seat-" + string(rune('a'+i)))}
		s.config.Datastore = dssync.MutexWrap(datastore.NewMapDatastore())
		s.config.Bootstrap = first.Addrs()
		s.open(t)
		seats = append(seats, s)
	}
	all := func() bool { return !slices.ContainsFunc(seats, func(s *seat) bool { return !s.sees(seats) }) }
	eventually(t, "the mesh forms", all)
	stopFirst()
	for round := range 2 {
		for i, s := range seats {
			var left datastore.Batching
			eventually(t, "the others are remembered where they are now", func() bool {
				var text string
				left, text = snapshot(t, s.config.Datastore)
				return !slices.ContainsFunc(seats, func(o *seat) bool {
					return o != s && !strings.Contains(text, strings.Split(o.node.Addrs()[0], "/p2p/")[0]+`"`)
				})
			})
			s.stop()
			s.config.Datastore = left // as after a kill: nothing that stopping in good order wrote
			begin := time.Now()
			s.open(t)
			eventually(t, "the restarted node is back among all others", all)
			t.Logf("round %d, node %d: %v", round+1, i+1, time.Since(begin))
			other := seats[(i+1)%len(seats)]
			answer, err := s.node.Call(testContext(t), other.node.ID(), "echo", "1.0.0", []byte("hi"))
			if err != nil || string(answer) != "hi" {
				t.Fatalf("call: %q, %v", answer, err)
			}
			eventually(t, "it is in the topic again", func() bool {
				return len(s.topic.Peers()) == len(seats)-1 && slices.Contains(other.topic.Peers(), s.node.ID())
			})
		}
	}
}

// TestAllRestartedAtOnceFindEachOther is a power cut: nobody is alive to be found, but everybody is where he was.
func TestAllRestartedAtOnceFindEachOther(t *testing.T) {
	first := start(t, testConfig("bootstrap"))
	var seats []*seat
	for i := range 5 {
		s := &seat{config: testConfig("seat-" + string(rune('a'+i)))}
		s.config.Datastore = dssync.MutexWrap(datastore.NewMapDatastore())
		s.config.Bootstrap = first.Addrs()
		s.open(t)
		seats = append(seats, s)
	}
	all := func() bool { return !slices.ContainsFunc(seats, func(s *seat) bool { return !s.sees(seats) }) }
	eventually(t, "the mesh forms", all)
	for _, s := range seats {
		s.config.Listen = nil
		for _, a := range s.node.Addrs() {
			s.config.Listen = append(s.config.Listen, strings.Split(a, "/p2p/")[0])
		}
		s.config.Bootstrap = nil
		s.stop()
	}
	_ = first.host.Close()
	for _, s := range seats {
		s.open(t)
	}
	eventually(t, "the mesh forms again", all)
}
