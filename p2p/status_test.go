package p2p

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestStatusCounts who is connected and what is open, and has libp2p count where it is told to.
func TestStatusCounts(t *testing.T) {
	config := testConfig("counted")
	registry := prometheus.NewRegistry()
	config.Metrics = registry
	n, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	if s := n.Status(); s != (Status{}) {
		t.Errorf("before it runs it says %+v", s)
	}
	const streams = 16 // more than libp2p has of its own between two peers, which come and go
	hold, held := make(chan struct{}), make(chan string, streams)
	defer close(hold) // or the node does not stop
	n.Handle("hold", "1.0.0", func(_ context.Context, _ Peer, s *Stream) error {
		held <- s.RemoteIP().String()
		<-hold
		return nil
	})
	launch(t, n)
	other := testConfig("caller")
	other.Bootstrap = n.Addrs()
	caller := start(t, other)
	eventually(t, "they are connected", func() bool { return n.Status().Peers == 1 && caller.Status().Peers == 1 })
	for range streams {
		s, err := caller.Open(testContext(t), n.ID(), "hold", "1.0.0")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Write(nil); err != nil {
			t.Fatal(err)
		}
		if ip := <-held; ip != "127.0.0.1" {
			t.Errorf("the caller is at %s", ip)
		}
	}
	eventually(t, "the streams are counted", func() bool {
		return n.Status().StreamsIn >= streams && caller.Status().StreamsOut >= streams
	})
	if in, out := n.Status(), caller.Status(); in.ConnsIn == 0 || out.ConnsOut == 0 {
		t.Errorf("connections: %+v, %+v", in, out)
	}
	found, err := registry.Gather()
	if err != nil || len(found) == 0 {
		t.Errorf("the registry has %d metrics, %v", len(found), err)
	}
}
