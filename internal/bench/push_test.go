package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/units"
)

// What a push of two hops cannot do without: a hop is queued, scheduled and computed, each durably and each signed or
// checked, and each asked of another peer.
const (
	pushWrites     = 2 * 3
	pushSignatures = 2 * 3
	pushTrips      = 2*2 + 1
)

// pushRows runs a devnet in this process and pushes a message whose result is pushed to a second process.
func pushRows(t *testing.T) []Row {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	home := node.Home(filepath.Join(t.TempDir(), "devnet"))
	d, err := node.NewDevnet(home, node.DevnetConfig{Computers: 1})
	must(err)
	defer func() { _ = d.Close() }()
	life, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- d.Run(life) }()
	defer func() { stop(); <-done }()
	select {
	case <-d.Ready():
	case err := <-done:
		t.Fatalf("the devnet ended: %v", err)
	}
	c, err := node.OpenClient(ctx, home, discard())
	must(err)
	defer c.Close()
	door, err := c.Messenger(ctx)
	must(err)
	push := func(m ao.Message) (hops int) {
		_, err := door.Push(ctx, m)
		must(err)
		must(door.Hops(ctx, m.ID(), func(h units.Hop) error {
			if h.Word == "compute" {
				hops++
			}
			if h.Word == "drop" {
				return fmt.Errorf("dropped: %s", h.Note)
			}
			return nil
		}))
		return hops
	}
	spawn := func(name, lua string) ao.ID {
		g := c.Defaults()
		module, err := ao.ParseID(g.Module)
		must(err)
		m, err := ao.SignProcess(c.Guest, module, g.Scheduler, ao.Tags{{Name: "Name", Value: name}, {Name: "Authority", Value: g.Authority}}, nil, nil)
		must(err)
		push(m)
		e, err := ao.SignMessage(c.Guest, m.ID(), ao.Tags{{Name: "Action", Value: "Eval"}}, []byte(lua), nil)
		must(err)
		push(e)
		return m.ID()
	}
	bob := spawn("bob", `Handlers.add("ping", "Ping", function(msg) Pings = (Pings or 0) + 1 end)`)
	alice := spawn("alice", fmt.Sprintf(`Handlers.add("start", "Start", function(msg) Send({ Target = "%s", Action = "Ping" }) end)`, bob))
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	must(err)
	defer f.Close()
	trip, hangUp := roundTrips()
	defer hangUp()
	key, record := voiKey(1), make([]byte, itemSize)
	ours, primitive := pair{
		rounds: 5, n: 20, clock: wallTime(),
		ours: func(round, n int) work {
			var ms []ao.Message
			for i := range n {
				tags := ao.Tags{{Name: "Action", Value: "Start"}, {Name: "Number", Value: fmt.Sprintf("%d/%d", round, i)}}
				m, err := ao.SignMessage(c.Guest, alice, tags, nil, nil)
				must(err)
				ms = append(ms, m)
			}
			return func(int) {
				for _, m := range ms {
					if hops := push(m); hops != 2 {
						panic(fmt.Sprintf("%d hops", hops))
					}
				}
			}
		},
		primitive: func(int, int) work {
			return func(n int) {
				for range n {
					for range pushWrites {
						writeSynced(f, record)
					}
					for range pushSignatures {
						signOne(key, record)
					}
					for range pushTrips {
						trip(record)
					}
				}
			}
		},
	}.compare(t)
	return []Row{makeRow("push of two hops over loopback (compute included)", float64(ours)/1e6, float64(primitive)/1e6, "ms", 0)}
}

// roundTrips is a call to and fro over a TCP connection on this machine.
func roundTrips() (trip func(record []byte), hangUp func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		buf := make([]byte, itemSize)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	must(err)
	buf := make([]byte, itemSize)
	return func(record []byte) {
			_, err := c.Write(record)
			must(err)
			for got := 0; got < len(record); {
				n, err := c.Read(buf)
				must(err)
				got += n
			}
		}, func() {
			_ = c.Close()
			_ = l.Close()
		}
}
