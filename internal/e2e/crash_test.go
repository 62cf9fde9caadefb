//go:build e2e

package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/internal/crash"
	"github.com/aopeer/aopeer/units"
)

var (
	crashRounds   = flag.Int("rounds", 2, "rounds of kill -9")
	crashMessages = flag.Int("messages", 80, "messages in all rounds together")
	crashSeed     = flag.Uint64("seed", 0, "whom to kill when, to repeat a failure; 0 takes the time")
)

// The processes of the test: starters tell the counter of each message that they get, and it counts whom it heard of what.
const (
	starterLua = `Handlers.add("start", "Start", function(msg) Send({ Target = "%s", Action = "Ping", Data = msg.Data }) end)`
	counterLua = `Handlers.add("ping", "Ping", function(msg) Heard = (Heard or 0) + 1 end)`
)

// siege is a fleet under kill -9, and what its clients were promised.
type siege struct {
	*fleet
	witness *crash.Witness
	rng     *rand.Rand
	victims []string // who is killed next

	counter  ao.ID
	starters []ao.ID
	sent     int

	lock    sync.Mutex
	acked   map[ao.ID]ao.Assignment
	repeats int

	cursors map[ao.ID]*ao.Cursor      // how far the logs have been read
	slots   map[ao.ID][]ao.Assignment // by message
}

// TestCrash kills the scheduler, the computers, the messenger and Arweave at random moments of a stream of messages, and
// finds every acknowledged message in exactly one slot of an unbroken chain, settled once, with one result, and nothing
// signed twice.
func TestCrash(t *testing.T) {
	seed := *crashSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	s := &siege{
		fleet: newFleet(t, func(string, int) []string { return nil }), witness: crash.NewWitness(), rng: rand.New(rand.NewPCG(seed, 1)),
		acked: map[ao.ID]ao.Assignment{}, cursors: map[ao.ID]*ao.Cursor{}, slots: map[ao.ID][]ao.Assignment{},
	}
	s.counter = s.spawn("counter")
	s.eval(s.counter, counterLua)
	for i := range 3 {
		p := s.spawn(fmt.Sprintf("starter %d", i))
		s.eval(p, fmt.Sprintf(starterLua, s.counter))
		s.starters = append(s.starters, p)
	}
	for _, p := range s.processes() {
		c := ao.NewCursor(p)
		s.cursors[p] = &c
	}
	begin := time.Now()
	for round := range *crashRounds {
		n := *crashMessages*(round+1) / *crashRounds - s.sent
		s.round(round, n)
	}
	s.settle(3 * time.Minute)
	s.readLogs()
	s.checkEffects()
	s.checkResults()
	s.checkArweave()
	for _, what := range s.witness.Faults() {
		t.Error(what)
	}
	slots := 0
	for _, c := range s.cursors {
		slots += int(c.Next)
	}
	t.Logf("%d rounds of kill -9, %d messages acknowledged (%d pushed more than once), %d slots, in %v",
		*crashRounds, len(s.acked), s.repeats, slots, time.Since(begin).Round(time.Second))
}

func (s *siege) processes() []ao.ID { return append([]ao.ID{s.counter}, s.starters...) }

// round sends messages, kills somebody meanwhile, and reads what the logs have got.
func (s *siege) round(round, n int) {
	s.t.Helper()
	victims := s.choose()
	// Somewhere in the stream, or in what follows it: effects, results, settling.
	after, delay := min(s.rng.IntN(n*4/3+1), n), time.Duration(s.rng.IntN(50))*time.Millisecond
	if after == n {
		delay = time.Duration(s.rng.IntN(800)) * time.Millisecond
	}
	away := time.Duration(s.rng.IntN(500)) * time.Millisecond
	var messages []ao.Message
	for range n {
		messages = append(messages, s.message(s.starters[s.sent%len(s.starters)], "Start", strconv.Itoa(s.sent)))
		s.sent++
	}
	sent, answered := make(chan struct{}), make(chan struct{}, n)
	go func() {
		defer close(sent)
		each(messages, 8, func(m ao.Message) {
			defer func() { answered <- struct{}{} }()
			a, tries, err := s.push(m, 90*time.Second)
			if err != nil {
				s.t.Error(err)
				return
			}
			s.witness.Assignment(a)
			s.lock.Lock()
			defer s.lock.Unlock()
			s.acked[m.ID()] = a
			if tries > 1 {
				s.repeats++
			}
		})
	}()
	for range after {
		<-answered
	}
	<-time.After(delay)
	s.lock.Lock()
	before := len(s.acked)
	s.lock.Unlock()
	for _, m := range victims {
		m.kill()
	}
	<-time.After(away)
	for _, m := range victims {
		s.start(m)
	}
	for _, m := range victims {
		s.await(m)
	}
	<-sent
	if s.t.Failed() {
		s.t.Fatalf("round %d, killed %v", round, names(victims))
	}
	s.readLogs()
	s.t.Logf("round %d: killed %v %v after %d answers, with %d of %d acknowledged", round, names(victims), delay, after, n-(s.sent-before), n)
}

func names(ms []*member) (out []string) {
	for _, m := range ms {
		out = append(out, m.name)
	}
	return out
}

// choose is whom to kill: everybody in turn, in random order, and now and then all at once, as a power cut does.
func (s *siege) choose() []*member {
	if len(s.victims) == 0 {
		for _, m := range s.members {
			s.victims = append(s.victims, m.name)
		}
		s.rng.Shuffle(len(s.victims), func(i, j int) { s.victims[i], s.victims[j] = s.victims[j], s.victims[i] })
	}
	first := s.victims[0]
	s.victims = s.victims[1:]
	switch s.rng.IntN(8) {
	case 0:
		return s.members
	case 1:
		second := s.members[s.rng.IntN(len(s.members))]
		if second.name != first {
			return []*member{s.member(first), second}
		}
	}
	return []*member{s.member(first)}
}

// readLogs goes on reading every log where it stopped: the chain must be unbroken, and what was acknowledged there.
func (s *siege) readLogs() {
	s.t.Helper()
	for _, p := range s.processes() {
		c := s.cursors[p]
		until(s.t, "log", 30*time.Second, func() bool {
			log, err := s.client.Directory.Log(s.t.Context(), p)
			if err != nil {
				return false
			}
			es, err := log.Range(s.t.Context(), p, c.Next, 1000)
			if err != nil {
				return false
			}
			for _, e := range es {
				if err := c.Step(e); err != nil {
					s.t.Fatalf("slot %d of %s: %v", c.Next, p, err)
				}
				s.witness.Assignment(e.Assignment)
				s.slots[e.Message.ID()] = append(s.slots[e.Message.ID()], e.Assignment)
			}
			return len(es) == 0
		})
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	for id, a := range s.acked {
		switch got := s.slots[id]; {
		case len(got) != 1:
			s.t.Fatalf("message %s, acknowledged in slot %d, has %d slots", id, a.Nonce(), len(got))
		case got[0].ID() != a.ID():
			s.t.Fatalf("message %s was acknowledged in slot %d and stands in %d", id, a.Nonce(), got[0].Nonce())
		}
	}
}

// checkEffects: each message to a starter was told to the counter once.
func (s *siege) checkEffects() {
	s.t.Helper()
	log, err := s.client.Directory.Log(s.t.Context(), s.counter)
	if err != nil {
		s.t.Fatal(err)
	}
	heard := map[string]int{}
	for from := ao.Slot(0); from < s.cursors[s.counter].Next; {
		es, err := log.Range(s.t.Context(), s.counter, from, 1000)
		if err != nil || len(es) == 0 {
			s.t.Fatalf("read slot %d: %v", from, err)
		}
		for _, e := range es {
			if e.Message.Tags().Get("Action") == "Ping" {
				heard[string(e.Message.Data())]++
			}
		}
		from += ao.Slot(len(es))
	}
	for i := range s.sent {
		if n := heard[strconv.Itoa(i)]; n != 1 {
			s.t.Errorf("the counter was told %d times of message %d", n, i)
		}
	}
}

// checkResults: both computers have one and the same result for every slot.
func (s *siege) checkResults() {
	s.t.Helper()
	type at struct {
		process ao.ID
		slot    ao.Slot
	}
	var all []at
	for p, c := range s.cursors {
		for slot := range c.Next {
			all = append(all, at{p, slot})
		}
	}
	slices.SortFunc(all, func(a, b at) int { return int(a.slot) - int(b.slot) })
	one, two := s.computer("cu1"), s.computer("cu2")
	each(all, 8, func(a at) {
		x, err := s.compute(one, a.process, a.slot)
		if err != nil {
			s.t.Errorf("slot %d of %s: %v", a.slot, a.process, err)
			return
		}
		y, err := s.compute(two, a.process, a.slot)
		if err != nil {
			s.t.Errorf("slot %d of %s: %v", a.slot, a.process, err)
			return
		}
		s.witness.Claim(x.Claim.Unit(), x.Claim.Claim())
		s.witness.Claim(y.Claim.Unit(), y.Claim.Claim())
		if x.Claim.Unit() == y.Claim.Unit() || x.Claim.Claim().Result != y.Claim.Claim().Result {
			s.t.Errorf("slot %d of %s: the computers do not agree", a.slot, a.process)
		}
	})
}

// compute asks again while the computer is busy: it answers a peer a thousand calls a second, and on a quick machine we make more.
func (s *siege) compute(c units.Computer, process ao.ID, slot ao.Slot) (units.Answer, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for {
		answer, err := c.Compute(ctx, process, slot)
		var refusal *ao.Refusal
		if !errors.As(err, &refusal) || refusal.Code != ao.Busy || ctx.Err() != nil {
			return answer, err
		}
		<-time.After(50 * time.Millisecond)
	}
}

// checkArweave reads all that was ever settled, and verifies every process from there.
func (s *siege) checkArweave() {
	s.t.Helper()
	s.settle(3 * time.Minute) // the claims of the second computer
	client, err := arweave.NewClient(arweave.ClientConfig{Gateways: []string{s.net.Gateway}})
	if err != nil {
		s.t.Fatal(err)
	}
	height, err := client.Height(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for h := range height + 1 {
		block, err := client.Block(s.t.Context(), h)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, tx := range block.Txs {
			if _, err := s.witness.Bundle(fetch(s.t, s.net.Gateway+"/raw/"+tx.String())); err != nil {
				s.t.Errorf("transaction %s: %v", tx, err)
			}
		}
	}
	for id, as := range s.slots {
		for _, id := range []ao.ID{id, as[0].ID()} {
			if n := s.witness.Settled(id); n != 1 {
				s.t.Errorf("slot %d of %s: %s is on Arweave %d times", as[0].Nonce(), as[0].Process(), id, n)
			}
		}
	}
	for _, p := range s.processes() {
		slots := uint64(s.cursors[p].Next)
		r := must[report](s.t, "verify", p.String(), "--home", filepath.Join(s.dir, "user"))
		if !r.OK || r.Slots != slots || r.Claimed != slots || len(r.Disputed) > 0 {
			s.t.Errorf("%s of %d slots: %+v", p, slots, r)
		}
	}
}
