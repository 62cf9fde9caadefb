package remote

import (
	"errors"
	"net"
	"testing"

	"github.com/aopeer/aopeer/ao"
)

// TestReach dials back the one who asks, where he is, and nobody else's services.
func TestReach(t *testing.T) {
	server, client := pair(t)
	ServeReach(server)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	came := make(chan struct{})
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Close()
			close(came)
		}
	}()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	at, ok, err := Reach(t.Context(), client, server.ID(), port)
	if err != nil || !ok || at != l.Addr().String() {
		t.Fatalf("an open port: %q %t, %v", at, ok, err)
	}
	<-came
	l.Close()
	if at, ok, err := Reach(t.Context(), client, server.ID(), port); err != nil || ok || at == "" {
		t.Errorf("a closed port: %q %t, %v", at, ok, err)
	}
	for _, low := range []uint16{0, 22, 1023} {
		if _, _, err := Reach(t.Context(), client, server.ID(), low); !errors.Is(err, &ao.Refusal{Code: ao.Unsupported}) {
			t.Errorf("port %d: %v", low, err)
		}
	}
}
