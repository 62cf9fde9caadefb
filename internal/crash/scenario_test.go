package crash

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units/unitstest"
)

// pause lets virtual time pass.
func pause(d time.Duration) { time.Sleep(d) }

// outcome is what a scenario left.
type outcome struct {
	writes  map[string]int // of each peer
	effects []string       // what the messages did, in a fixed order
	crashes int
}

// play lives through the scenario with one fault and checks what must hold afterwards. want is the clean run's effects,
// nil for the clean run itself.
func play(t *testing.T, w *world, victim string, f fault, want []string) (out outcome) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		x := newTown(t, w, victim, f)
		defer x.stop()
		u := &user{town: x, acked: map[slot]ao.Assignment{}}
		for _, p := range x.peers() {
			p.await()
		}
		u.scenario()
		x.settle()
		out.writes = map[string]int{}
		for _, p := range x.peers() { // what is looked at from here on must stay as it is
			out.writes[p.name] = p.spare()
		}
		x.settle() // somebody may have gone down just then
		for _, p := range x.peers() {
			out.crashes += p.crashes()
		}
		out.effects = x.check(u.acked)
		if want != nil {
			x.sameEffects(out.effects, want)
		}
	})
	return out
}

// scenario is a conversation with everything in it: spawns by a user and by a process, messages there and back,
// assignments by a process and by a user, mail to a wallet, callers at once, repetitions, and a restart of every peer in the middle.
func (u *user) scenario() {
	alice, bob := u.process("alice"), u.process("bob")
	a, b := alice.ID(), bob.ID()
	shared := u.message(a, "shared")
	first := u.message(a, respond(map[string]any{
		"Messages": []any{draft(b, send(draft(a, "back"))), draft(unitstest.ID("wallet"), "mail")},
		"Spawns": []any{map[string]any{"Data": "child", "Tags": []map[string]string{
			{"name": "Module", "value": u.module.ID().String()},
			{"name": "Name", "value": "carol"},
			{"name": "Authority", "value": unitstest.Address(u.world.mu)},
		}}},
		"Assignments": []any{map[string]any{"Message": shared.ID().String(), "Processes": []string{b.String()}, "Exclude": []string{"Data"}}},
	}))
	u.together(alice, bob)
	u.push(shared)
	u.together(first, u.message(a, "one"), u.message(b, "two"), u.message(b, "three"))
	pause(45 * time.Second) // the first bundles are on their way
	for _, p := range u.peers() {
		p.restart()
	}
	u.together(first, u.message(b, send(draft(a, "again"))), u.message(a, "four"))
	two := u.message(b, send(draft(a, "from whoever is assigned it")))
	u.push(two)
	u.assign(a, two.ID(), "Anchor")
	u.push(u.message(a, "five"))
}

// together pushes messages at once.
func (u *user) together(ms ...ao.Message) {
	var all sync.WaitGroup
	for _, m := range ms {
		all.Go(func() { u.push(m) })
	}
	all.Wait()
}

func (u *user) process(name string) ao.Message {
	u.t.Helper()
	m, err := ao.SignProcess(u.world.user, u.module.ID(), unitstest.Address(u.world.su), ao.Tags{
		{Name: "Name", Value: name}, {Name: "Authority", Value: unitstest.Address(u.world.mu)},
	}, nil, nil)
	if err != nil {
		u.t.Fatal(err)
	}
	return m
}

func (u *user) message(target ao.ID, data string) ao.Message {
	u.t.Helper()
	return unitstest.Message(u.t, u.world.user, target, data)
}

// respond spells a response as a message's data.
func respond(parts map[string]any) string {
	b, err := json.Marshal(map[string]any{"ok": true, "response": parts})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func draft(target ao.ID, data string) map[string]any {
	return map[string]any{
		"Target": target.String(), "Data": data, "Anchor": "00000000000000000000000000000000",
		"Tags": []map[string]string{{"name": "Action", "value": "Test"}},
	}
}

func send(drafts ...map[string]any) string { return respond(map[string]any{"Messages": drafts}) }

// settle waits until nothing is left to push, to compute or to settle.
func (x *town) settle() {
	x.t.Helper()
	left := ""
	for quiet, looks := 0, 0; looks < 1000; looks++ {
		if left = x.left(); left != "" {
			quiet = 0
		} else if quiet++; quiet == 5 { // what one hands to another must not hide between two looks
			return
		}
		pause(10 * time.Second)
	}
	x.t.Fatalf("not settled: %s", left)
}

// left says what there is still to do.
func (x *town) left() string {
	for _, p := range x.peers() {
		if _, _, ok := p.current(); !ok {
			return p.name + " is down"
		}
	}
	door := func(p *peer) any { d, _, _ := p.current(); return d }
	s, _ := door(x.su).(schedulerPeer)
	c, _ := door(x.cu).(computerPeer)
	m, _ := door(x.mu).(messengerPeer)
	if s.Unit == nil || c.Unit == nil || m.Unit == nil {
		return "a peer went down"
	}
	if open := m.Status().Open; open > 0 {
		return fmt.Sprintf("%d pushes", open)
	}
	if n := s.Status().Unsettled; n > 0 {
		return fmt.Sprintf("%d entries", n)
	}
	if n := c.Status().Unsettled; n > 0 {
		return fmt.Sprintf("claims of %d processes", n)
	}
	for name, b := range map[string]backlogger{"su": s.bundler, "cu": c.bundler, "mu": m.bundler} {
		log, err := b.Backlog()
		if err != nil {
			return fmt.Sprintf("%s: %v", name, err)
		}
		if log.Items+log.InFlight > 0 {
			return fmt.Sprintf("%s: %d items, %d transactions", name, log.Items, log.InFlight)
		}
	}
	return ""
}
