package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

func toJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// liar is what every hostile server of a verb answers, beside its own lies.
func liar(own map[string]func(*p2p.Stream) error) map[string]func(*p2p.Stream) error {
	all := map[string]func(*p2p.Stream) error{
		"nothing":           frames(),
		"an empty frame":    frames(nil),
		"no JSON":           frames([]byte("{")),
		"an oversize frame": frames(bytes.Repeat([]byte{'x'}, 15<<20)),
		"a refusal of garbage": func(*p2p.Stream) error {
			return p2p.Refuse("\x1b[31mboom/\x00", strings.Repeat("\n", 5000))
		},
		"a refusal without words": func(*p2p.Stream) error { return p2p.Refuse("", "") },
		"a reset":                 func(*p2p.Stream) error { return errors.New("anything") },
		"a panic":                 func(*p2p.Stream) error { panic("hostile") },
		"frames of nonsense":      frames([]byte("null"), []byte("null"), []byte("null"), []byte("null")),
	}
	for name, f := range own {
		all[name] = f
	}
	return all
}

// meet calls ask for each of the lies and wants an enumerated refusal each time.
func meet(t *testing.T, verb string, lies map[string]func(*p2p.Stream) error, ask func(t *testing.T, client *p2p.Node, server *p2p.Node) error) {
	t.Helper()
	server, client := pair(t)
	for name, lie := range liar(lies) {
		t.Run(name, func(t *testing.T) {
			raw(server, verb, lie)
			err := ask(t, client, server)
			if err == nil {
				t.Fatal("the lie was taken")
			}
			enumerated(t, err)
		})
	}
}

func TestHostileScheduler(t *testing.T) {
	c := unitstest.MakeChain(t, "log", 3)
	other := unitstest.MakeChain(t, "other", 3).Entries()
	e := c.Entries()[1]
	flipped := bytes.Clone(e.Assignment.Raw())
	flipped[len(flipped)-40] ^= 1
	meet(t, verbSchedule, map[string]func(*p2p.Stream) error{
		"another process":     frames(other[1].Assignment.Raw()),
		"another message":     frames(c.Entries()[2].Assignment.Raw()),
		"a broken assignment": frames(flipped),
		"half of it":          frames(e.Assignment.Raw()[:100]),
		"a message":           frames(e.Message.Raw()),
	}, func(t *testing.T, client, server *p2p.Node) error {
		a, err := Scheduler(client, server.ID()).Schedule(t.Context(), c.Process(), e.Message)
		if err != nil && !a.IsZero() {
			t.Error("half-taken")
		}
		return err
	})
}

func TestHostileMessenger(t *testing.T) {
	c := unitstest.MakeChain(t, "log", 3)
	e := c.Entries()[1]
	lies := map[string]func(*p2p.Stream) error{
		"another process": frames(unitstest.MakeChain(t, "other", 3).Entries()[1].Assignment.Raw()),
		"another message": frames(c.Entries()[2].Assignment.Raw()),
	}
	meet(t, verbPush, lies, func(t *testing.T, client, server *p2p.Node) error {
		_, err := Messenger(client, server.ID()).Push(t.Context(), e.Message)
		return err
	})
}

func TestHostileHops(t *testing.T) {
	server, client := pair(t)
	hops := func() (out []units.Hop, err error) {
		err = Messenger(client, server.ID()).Hops(t.Context(), unitstest.ID("m"), func(h units.Hop) error {
			out = append(out, h)
			return nil
		})
		return out, err
	}
	raw(server, verbHops, frames([]byte("{")))
	_, err := hops()
	enumerated(t, err)
	raw(server, verbHops, frames(nil, toJSON(units.Hop{
		Word: "push\x1b[2J", Peer: strings.Repeat("p", 1000), Note: "line\nbreak \x1b[31m" + strings.Repeat("n", 10_000), Digest: "\x00", Parent: "\r",
	})))
	out, err := hops()
	if err != nil || len(out) != 1 {
		t.Fatalf("%d hops, %v", len(out), err)
	}
	h := out[0]
	if strings.ContainsAny(h.Word+h.Peer+h.Note+h.Digest+h.Parent, "\x1b\n\r\x00") || len(h.Note) > 1000 || len(h.Peer) > 100 {
		t.Errorf("the hop is told as %+v", h)
	}
}

func TestHostileLog(t *testing.T) {
	c := unitstest.MakeChain(t, "log", 4)
	es := c.Entries()
	head := toJSON(entryHeader{Proof: ao.ProofAssignment})
	entry := func(e ao.Entry) [][]byte { return [][]byte{head, e.Assignment.Raw(), e.Message.Raw()} }
	other := unitstest.MakeChain(t, "other", 4).Entries()
	flipped := bytes.Clone(es[1].Message.Raw())
	flipped[len(flipped)-1] ^= 1
	lies := map[string]func(*p2p.Stream) error{
		"another slot":           frames(entry(es[2])...),
		"another process":        frames(entry(other[1])...),
		"a slot twice":           frames(append(entry(es[1]), entry(es[1])...)...),
		"a gap":                  frames(append(entry(es[1]), entry(es[3])...)...),
		"a cut":                  frames(head, es[1].Assignment.Raw()),
		"a cut after the header": frames(head),
		"an unknown proof":       frames(toJSON(entryHeader{Proof: "block"}), es[1].Assignment.Raw(), es[1].Message.Raw()),
		"a broken message":       frames(head, es[1].Assignment.Raw(), flipped),
		"a message for a slot":   frames(head, es[1].Message.Raw(), es[1].Message.Raw()),
	}
	meet(t, verbLog, lies, func(t *testing.T, client, server *p2p.Node) error {
		log := Log(client, server.ID())
		got, err := log.Range(t.Context(), c.Process(), 1, 10)
		if err == nil && len(got) == 0 {
			return ao.Refuse("log", ao.NotYet, "an empty answer is an empty page")
		}
		if len(got) > 0 && err != nil {
			t.Error("half-taken")
		}
		return err
	})
	// A follower takes what is good and stops at the lie; what only broke off is asked for again.
	server, client := pair(t)
	calls := 0
	server.Handle(verbLog, Version, func(_ context.Context, _ p2p.Peer, s *p2p.Stream) error {
		calls++
		switch calls {
		case 1:
			return frames(append(entry(es[0]), nil, head)...)(s) // a heartbeat, and then cut
		case 2:
			return frames(entry(es[1])...)(s)
		}
		return frames(entry(es[1])...)(s)
	})
	var seen []ao.Slot
	err := Log(client, server.ID()).Follow(t.Context(), c.Process(), 0, func(e ao.Entry) error {
		seen = append(seen, e.Assignment.Nonce())
		return nil
	})
	if calls == 1 { // a stream that is cut inside an entry is malformed, and that is final
		enumerated(t, err)
	} else {
		unitstest.WantRefusal(t, err, ao.BadLog)
	}
	if len(seen) == 0 || seen[0] != 0 {
		t.Errorf("seen %v", seen)
	}
}

func TestVisitorsRefusalEndsAFollow(t *testing.T) {
	server, client := pair(t)
	s := unitstest.NewMemory(unitstest.Signer("unit"))
	c := unitstest.MakeChain(t, "log", 4)
	s.Load(c)
	ServeLog(server, s)
	visits := 0
	err := Log(client, server.ID()).Follow(t.Context(), c.Process(), 0, func(ao.Entry) error {
		visits++
		return ao.Refuse("compute", ao.Unreachable, "the visitor's own")
	})
	unitstest.WantRefusal(t, err, ao.Unreachable)
	if visits != 1 {
		t.Errorf("%d visits, want 1", visits)
	}
}

// answers makes the frames of a computer's answer.
func answers(a computeAnswer, claim []byte, parts ...[]byte) func(*p2p.Stream) error {
	return frames(append([][]byte{toJSON(a), claim}, parts...)...)
}

func TestHostileComputer(t *testing.T) {
	s := unitstest.NewMemory(unitstest.Signer("unit"))
	c, other := unitstest.MakeChain(t, "log", 4), unitstest.MakeChain(t, "other", 4)
	s.Load(c)
	s.Load(other)
	echo := unitstest.NewEcho(network, unitstest.Signer("computer"), s)
	compute := func(e *unitstest.Echo, p ao.ID, slot ao.Slot) units.Answer {
		a, err := e.Compute(t.Context(), p, slot)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	good, next, strange := compute(echo, c.Process(), 1), compute(echo, c.Process(), 2), compute(echo, other.Process(), 1)
	foreign := compute(unitstest.NewEcho("other-network", unitstest.Signer("computer"), s), c.Process(), 1)
	flipped := bytes.Clone(good.Claim.Raw())
	flipped[len(flipped)-1] ^= 1
	one := computeAnswer{Slot: 1, Parts: 1}
	result := good.Result.Encode()
	lied := ao.Result{Output: []byte(`"a lie"`)}
	lies := map[string]func(*p2p.Stream) error{
		"another slot":           answers(one, next.Claim.Raw(), next.Result.Encode()),
		"another slot's header":  answers(computeAnswer{Slot: 2, Parts: 1}, good.Claim.Raw(), result),
		"another process":        answers(one, strange.Claim.Raw(), strange.Result.Encode()),
		"another network":        answers(one, foreign.Claim.Raw(), foreign.Result.Encode()),
		"another result":         answers(one, good.Claim.Raw(), lied.Encode()),
		"a broken claim":         answers(one, flipped, result),
		"no claim":               answers(one, nil, result),
		"a message for a claim":  answers(one, c.Entries()[1].Message.Raw(), result),
		"no result":              answers(one, good.Claim.Raw()),
		"half a result":          answers(one, good.Claim.Raw(), result[:len(result)/2]),
		"a result and more":      answers(one, good.Claim.Raw(), append(bytes.Clone(result), 0)),
		"parts that do not come": answers(computeAnswer{Slot: 1, Parts: 2}, good.Claim.Raw(), result),
		"no parts":               answers(computeAnswer{Slot: 1}, good.Claim.Raw(), result),
		"negative parts":         answers(computeAnswer{Slot: 1, Parts: -1}, good.Claim.Raw(), result),
		"endless empty parts": func(s *p2p.Stream) error {
			err := answers(computeAnswer{Slot: 1, Parts: 1 << 60}, good.Claim.Raw())(s)
			for err == nil {
				err = s.Write(nil)
			}
			return err
		},
		"a part beyond the limit": answers(one, good.Claim.Raw(), make([]byte, maxPart+1)),
	}
	meet(t, verbCompute, lies, func(t *testing.T, client, server *p2p.Node) error {
		a, err := Computer(client, network, server.ID()).Compute(t.Context(), c.Process(), 1)
		if err != nil && (!a.Claim.IsZero() || a.Result.Output != nil) {
			t.Error("half-taken")
		}
		return err
	})
	// The same frames, unspoilt, are an answer.
	server, client := pair(t)
	raw(server, verbCompute, answers(computeAnswer{Slot: 1, Parts: 2}, good.Claim.Raw(), result[:3], result[3:]))
	a, err := Computer(client, network, server.ID()).Compute(t.Context(), c.Process(), 1)
	if err != nil || attest.ResultDigest(a.Result) != attest.ResultDigest(good.Result) {
		t.Errorf("the good answer: %v", err)
	}
}

func TestStalledPeers(t *testing.T) {
	server, client := func() (*p2p.Node, *p2p.Node) {
		server, _ := node(t, "server")
		client, _ := node(t, "client", hasty)
		connect(t, client, server)
		return server, client
	}()
	freed := make(chan struct{})
	t.Cleanup(func() { close(freed) })
	stall := func(s *p2p.Stream) error {
		select {
		case <-freed:
		case <-time.After(time.Minute): // ends a test that hangs
		}
		return nil
	}
	for _, verb := range []string{verbSchedule, verbLog, verbCompute, verbPush, verbHops, verbStatus, verbUnits} {
		raw(server, verb, stall)
	}
	m := unitstest.MakeChain(t, "log", 2).Entries()[1].Message
	for name, ask := range map[string]func(ctx context.Context) error{
		"schedule": func(ctx context.Context) error {
			_, err := Scheduler(client, server.ID()).Schedule(ctx, m.Target(), m)
			return err
		},
		"log": func(ctx context.Context) error {
			_, err := Log(client, server.ID()).Range(ctx, m.Target(), 0, 1)
			return err
		},
		"next": func(ctx context.Context) error {
			_, err := Log(client, server.ID()).Next(ctx, m.Target())
			return err
		},
		"status": func(ctx context.Context) error {
			_, err := Status(ctx, client, server.ID())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			unitstest.WantRefusal(t, ask(t.Context()), ao.Deadline)
		})
	}
	for name, ask := range map[string]func(ctx context.Context) error{
		"compute": func(ctx context.Context) error {
			_, err := Computer(client, network, server.ID()).Compute(ctx, m.Target(), 0)
			return err
		},
		"dry-run": func(ctx context.Context) error {
			_, err := Computer(client, network, server.ID()).DryRun(ctx, m.Target(), ao.Query{})
			return err
		},
		"hops": func(ctx context.Context) error {
			return Messenger(client, server.ID()).Hops(ctx, m.ID(), nil)
		},
		"push": func(ctx context.Context) error {
			_, err := Messenger(client, server.ID()).Push(ctx, m)
			return err
		},
	} {
		t.Run(name+" until the caller gives up", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer time.AfterFunc(50*time.Millisecond, cancel).Stop()
			unitstest.WantRefusal(t, ask(ctx), ao.Deadline)
		})
	}
}

func TestHostileRequests(t *testing.T) {
	server, client := pair(t)
	s := unitstest.NewMemory(unitstest.Signer("unit"))
	c := unitstest.MakeChain(t, "log", 4)
	s.Load(c)
	echo := unitstest.NewEcho(network, unitstest.Signer("computer"), s)
	ServeScheduler(server, s)
	ServeLog(server, s)
	ServeComputer(server, echo)
	ServeMessenger(server, unitstest.NewCourier(s, echo))
	ServeStatus(server, func(context.Context) (any, error) { return nil, errors.New("a secret") })
	item := c.Entries()[1].Message.Raw()
	flipped := bytes.Clone(item)
	flipped[len(flipped)-1] ^= 1
	for _, verb := range []string{verbSchedule, verbLog, verbCompute, verbPush, verbHops, verbStatus} {
		for i, req := range [][][]byte{
			{},
			{nil},
			{[]byte("{")},
			{[]byte("[]")},
			{[]byte(`{"process":"x","message":"x","op":7}`)},
			{[]byte(`{"op":"nonsense"}`)},
			{bytes.Repeat([]byte{'x'}, maxHeader+1)},
			{[]byte(`{"patience":-9223372036854775808,"op":"dry-run"}`)},
			{[]byte(`{"patience":9223372036854775807,"op":"range","limit":-5,"from":"18446744073709551615"}`), []byte("junk")},
			{[]byte(`{"op":"dry-run"}`), flipped},
			{[]byte(`{"op":"dry-run"}`), item[:50]},
			{[]byte(`{"op":"dry-run"}`), make([]byte, ao.MaxItem+1)},
		} {
			t.Run(fmt.Sprintf("%s %d", verb, i), func(t *testing.T) {
				st, err := client.Open(t.Context(), server.ID(), verb, Version)
				if err != nil {
					t.Fatal(err)
				}
				defer st.Close()
				for _, f := range req {
					if err := st.Write(f); err != nil {
						enumerated(t, Refusal(verb, err))
						return
					}
				}
				_ = st.CloseWrite() // the other side may have refused already
				if answer, err := st.Read(0); err == nil {
					t.Errorf("answered with %q", answer)
				} else if strings.Contains(err.Error(), "secret") {
					t.Errorf("told %v", err)
				}
			})
		}
	}
	if es, err := s.Range(t.Context(), c.Process(), 0, 100); err != nil || len(es) != 4 {
		t.Errorf("the log has %d slots afterwards, %v", len(es), err)
	}
}

func TestLargePagesAreCut(t *testing.T) {
	server, client := pair(t)
	s := unitstest.NewMemory(unitstest.Signer("unit"))
	c := unitstest.MakeChain(t, "log", 1)
	for i := range 5 {
		c.Add(t, unitstest.Message(t, unitstest.Signer("user"), c.Process(), strings.Repeat(fmt.Sprint(i), 6<<20)))
	}
	s.Load(c)
	ServeLog(server, s)
	log := Log(client, server.ID())
	first, err := log.Range(t.Context(), c.Process(), 0, 100)
	if err != nil || len(first) != 3 {
		t.Fatalf("the first page has %d entries, %v; want 3 within %d bytes", len(first), err, maxPageBytes)
	}
	rest, err := log.Range(t.Context(), c.Process(), 3, 100)
	if err != nil || len(rest) == 0 {
		t.Fatalf("the next page has %d entries, %v", len(rest), err)
	}
}

// ours counts the goroutines that run code of this package, beside the test's own.
func ours() int {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	n := 0
	for _, g := range strings.Split(string(stacks), "\n\n") {
		if strings.Contains(g, "/units/remote.") && !strings.Contains(g, "testing.tRunner") {
			n++
		}
	}
	return n
}

func TestNothingIsLeftRunning(t *testing.T) {
	server, client := pair(t)
	s := unitstest.NewMemory(unitstest.Signer("unit"))
	c := unitstest.MakeChain(t, "log", 4)
	s.Load(c)
	ServeLog(server, s)
	raw(server, verbCompute, frames([]byte("{")))
	until(t, "what other tests left is gone", func() bool { return ours() <= 2 }) // the nodes' own Run
	before := ours()
	enough := errors.New("enough")
	for range 20 {
		err := Log(client, server.ID()).Follow(t.Context(), c.Process(), 0, func(ao.Entry) error { return enough })
		if !errors.Is(err, enough) {
			t.Fatal(err)
		}
		_, err = Computer(client, network, server.ID()).Compute(t.Context(), c.Process(), 0)
		enumerated(t, err)
	}
	if ours() == before {
		t.Log("the server noticed at once")
	}
	until(t, "the calls leave nothing behind", func() bool { return ours() <= before }) // at the next heartbeat
}

// TestAnswerBeforeTheEndOfTheRequest: a peer that answers and stops reading before it has heard that the request is over
// has answered.
func TestAnswerBeforeTheEndOfTheRequest(t *testing.T) {
	quic := func(c *p2p.Config) { c.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"} }
	server, _ := node(t, "server", quic)
	client, _ := node(t, "client", quic)
	connect(t, client, server)
	raw(server, verbStatus, frames([]byte(`{}`)))
	for range 200 {
		var calls sync.WaitGroup
		for range 8 {
			calls.Go(func() {
				if _, err := Status(t.Context(), client, server.ID()); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		if t.Failed() {
			return
		}
	}
}

func TestHostileTicks(t *testing.T) {
	result := ao.Result{Output: []byte(`"x"`)}.Encode()
	tick := func(at int64, interval, parts int) [][]byte {
		c := cronTick{CronCursor: units.CronCursor{Tick: ao.Tick{Timestamp: at, Interval: interval}}, Every: "1-second", Parts: parts}
		return [][]byte{toJSON(c), result}
	}
	some := func(n int, ticks ...[][]byte) func(*p2p.Stream) error {
		all := [][]byte{toJSON(cronAnswer{Ticks: &n})}
		for _, t := range ticks {
			all = append(all, t...)
		}
		return frames(all...)
	}
	huge := func() func(*p2p.Stream) error {
		big := ao.Result{Output: []byte(`"` + strings.Repeat("x", units.MaxCronBytes/2) + `"`)}.Encode()
		var ticks [][][]byte
		for i := range 4 {
			ticks = append(ticks, [][]byte{tick(int64(2000+i), 0, 1)[0], big})
		}
		return some(4, ticks...)
	}
	meet(t, verbCompute, map[string]func(*p2p.Stream) error{
		"more than asked":     some(6),
		"fewer than nothing":  some(-1),
		"fewer than said":     some(2, tick(2000, 0, 1)),
		"one that was known":  some(1, tick(1000, 3, 1)),
		"one before":          some(1, tick(999, 9, 1)),
		"one twice":           some(2, tick(2000, 0, 1), tick(2000, 0, 1)),
		"a negative interval": some(1, tick(2000, -1, 1)),
		"no parts":            some(1, tick(2000, 0, 0)),
		"too many parts":      some(1, tick(2000, 0, 1<<30)),
		"no result":           some(1, [][]byte{tick(2000, 0, 1)[0], []byte("result")}),
		"too much in all":     huge(),
	}, func(t *testing.T, client, server *p2p.Node) error {
		from := units.CronCursor{Tick: ao.Tick{Timestamp: 1000, Interval: 3}}
		out, err := Computer(client, network, server.ID()).Cron(t.Context(), unitstest.ID("p"), from, 5)
		if err != nil && out != nil {
			t.Error("half-taken")
		}
		return err
	})
}

func TestHostileMonitor(t *testing.T) {
	r, err := ao.SignRequest(unitstest.Signer("user"), unitstest.ID("p"))
	if err != nil {
		t.Fatal(err)
	}
	meet(t, verbMonitor, map[string]func(*p2p.Stream) error{
		"another process": frames(toJSON(monitorAnswer{Process: unitstest.ID("other")})),
	}, func(t *testing.T, client, server *p2p.Node) error {
		return Messenger(client, server.ID()).Monitor(t.Context(), r)
	})
}

// TestHostileMonitorRequests: what comes to a messenger is judged before the unit sees it.
func TestHostileMonitorRequests(t *testing.T) {
	server, client := pair(t)
	ServeMessenger(server, unitstest.NewCourier(nil, nil))
	r, err := ao.SignRequest(unitstest.Signer("user"), unitstest.ID("p"))
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(r.Raw())
	flipped[len(flipped)-1] ^= 1
	c := unitstest.MakeChain(t, "log", 2)
	for name, q := range map[string]struct {
		op    string
		frame []byte
	}{
		"a broken signature":   {"monitor", flipped},
		"no item":              {"unmonitor", []byte("item")},
		"an item to nobody":    {"monitor", c.Entries()[0].Message.Raw()},
		"too large":            {"monitor", make([]byte, ao.MaxRequest+1)},
		"an unknown operation": {"watch", r.Raw()},
	} {
		call, err := newClient(client, server).open(t.Context(), verbMonitor, monitorRequest{Op: q.op}, q.frame)
		if err == nil {
			var h monitorAnswer
			err = call.header(&h)
		}
		t.Run(name, func(t *testing.T) { enumerated(t, err) })
	}
}

func newClient(from, to *p2p.Node) client { return client{node: from, to: to.ID()} }
