package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
)

// The two processes of the demonstration: alice asks bob, bob answers, alice keeps the answer.
const (
	aliceLua = `
Bob = "%s"
Handlers.add("start", "Start", function(msg)
  Send({ Target = Bob, Action = "Ping", Data = "hello from alice" })
  print("asked bob")
end)
Handlers.add("answer", "Pong", function(msg)
  Answer = msg.Data
  print("bob says: " .. msg.Data)
end)
return "alice is ready"`
	bobLua = `
Handlers.add("ping", "Ping", function(msg)
  Pings = (Pings or 0) + 1
  msg.reply({ Action = "Pong", Data = "pong " .. Pings })
end)
return "bob is ready"`
)

// demonstration is one run of the demo.
type demonstration struct {
	cmd   *cli.Command
	home  node.Home
	cl    *node.Client
	out   io.Writer
	peers map[string]string // names by peer ID
	door  units.Messenger
	hops  []units.Hop
}

// demo runs a message through the whole house and then checks it from Arweave alone.
func demo(ctx context.Context, c *cli.Command, h node.Home, d *node.Devnet) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	cl, err := node.OpenClient(ctx, h, logger(c, false))
	if err != nil {
		return err
	}
	defer cl.Close()
	s := &demonstration{cmd: c, home: h, cl: cl, out: c.Root().Writer, peers: map[string]string{}}
	if c.Bool("json") {
		s.out = io.Discard
	}
	for _, p := range d.File().Peers {
		s.peers[p.ID] = p.Name
		s.say("%-4s  %s", p.Name, p.ID)
	}
	if s.door, err = cl.Messenger(ctx); err != nil {
		return err
	}
	s.say("\nmodule %s (%s) on %s", d.File().Module, "Lua, embedded", d.File().Gateway)
	alice, bob, last, err := s.converse(ctx)
	if err != nil {
		return err
	}
	return s.check(ctx, d, []ao.ID{alice, bob}, last)
}

func (s *demonstration) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// converse spawns the two, gives them their handlers and lets alice start. It returns every slot that was taken.
func (s *demonstration) converse(ctx context.Context) (alice, bob ao.ID, taken []ao.Assignment, err error) {
	run := func(m ao.Message, err error) error {
		if err != nil {
			return err
		}
		a, err := s.push(ctx, m)
		taken = append(taken, a)
		return err
	}
	def, err := s.cl.Choose(market.Scheduler, market.Messenger)
	if err != nil {
		return alice, bob, nil, err
	}
	module, err := ao.ParseID(def.Module)
	if err != nil {
		return alice, bob, nil, err
	}
	spawn := func(name string) (ao.ID, error) {
		s.say("\nspawn %s", name)
		m, err := ao.SignProcess(s.cl.Signer, module, def.Scheduler, ao.Tags{
			{Name: "Name", Value: name}, {Name: "Authority", Value: def.Authority},
		}, nil, newAnchor())
		if err != nil {
			return ao.ID{}, err
		}
		return m.ID(), run(m, nil)
	}
	eval := func(p ao.ID, code string) error {
		return run(ao.SignMessage(s.cl.Signer, p, ao.Tags{{Name: "Action", Value: "Eval"}}, []byte(code), newAnchor()))
	}
	if alice, err = spawn("alice"); err != nil {
		return alice, bob, nil, err
	}
	if bob, err = spawn("bob"); err != nil {
		return alice, bob, nil, err
	}
	s.say("\ninstall handlers")
	if err := errors.Join(eval(bob, bobLua), eval(alice, fmt.Sprintf(aliceLua, bob))); err != nil {
		return alice, bob, nil, err
	}
	s.say("\nsend Start to alice: she asks bob, bob answers")
	s.hops = nil
	err = run(ao.SignMessage(s.cl.Signer, alice, ao.Tags{{Name: "Action", Value: "Start"}}, nil, newAnchor()))
	if err == nil && countHops(s.hops, "compute") != 3 {
		err = fmt.Errorf("expected three results, of Start, Ping and Pong, and saw %d", countHops(s.hops, "compute"))
	}
	return alice, bob, taken, err
}

func countHops(hops []units.Hop, word string) int {
	n := 0
	for _, h := range hops {
		if h.Word == word {
			n++
		}
	}
	return n
}

// push pushes one message and prints its hops as they happen, until nothing is left to push.
func (s *demonstration) push(ctx context.Context, m ao.Message) (ao.Assignment, error) {
	p := startProgress(s.cmd, "pushing (a module is compiled at its first use)")
	defer p.end()
	a, err := s.door.Push(ctx, m)
	if err != nil {
		return a, err
	}
	return a, s.door.Hops(ctx, m.ID(), func(h units.Hop) error {
		s.hops = append(s.hops, h)
		s.say("  %s", s.describe(h))
		if h.Word == "drop" {
			return fmt.Errorf("dropped: %s", h.Note)
		}
		return nil
	})
}

func (s *demonstration) describe(h units.Hop) string {
	name := s.peers[h.Peer]
	line := fmt.Sprintf("%-8s by %-4s …%s  message %s", h.Word, name, h.Peer[max(0, len(h.Peer)-6):], short(h.Message.String()))
	if h.Word != "push" {
		line += fmt.Sprintf("  slot %d of %s", h.Slot, short(h.Process.String()))
	}
	if h.Digest != "" {
		line += fmt.Sprintf("  digest %s  outbox %d", short(h.Digest), h.Outbox)
	}
	if h.Took > 0 {
		line += fmt.Sprintf("  %.1f ms", float64(h.Took.Microseconds())/1000)
	}
	line += boughtText(h)
	if h.Note != "" {
		line += "  (" + oneLine(plain(h.Note)) + ")"
	}
	return line
}

// demoReport is what the demo prints with --json.
type demoReport struct {
	Hops    []units.Hop `json:"hops"`
	Reports []cu.Report `json:"reports"`
}

// check waits for settlement and verifies both processes from the gateway alone, with every slot claimed.
func (s *demonstration) check(ctx context.Context, d *node.Devnet, processes []ao.ID, taken []ao.Assignment) error {
	start := time.Now()
	for _, a := range taken {
		if _, err := settled(ctx, s.cl, a); err != nil {
			return err
		}
	}
	s.say("\nsettled on Arweave in %.1f s", time.Since(start).Seconds())
	out := demoReport{Hops: s.hops}
	for _, p := range processes {
		log, err := s.cl.Directory.Log(ctx, p)
		if err != nil {
			return err
		}
		head, err := log.Next(ctx, p)
		if err != nil {
			return err
		}
		v := cu.VerifyConfig{Process: p, Network: s.cl.Network.ID}
		for _, peer := range d.File().Peers {
			v.Units = append(v.Units, peer.Address)
		}
		r, err := verifyArchive(ctx, s.cmd, string(s.home), []string{d.File().Gateway}, v, head)
		if err != nil {
			return err
		}
		s.say("verify %s from Arweave alone: slots %d, claimed %d, state %s, ok %v", short(r.Process), r.Slots, r.Claimed,
			r.StateDigest[:min(16, len(r.StateDigest))], r.OK)
		if !r.OK || r.Slots != uint64(head) || r.Claimed != r.Slots || len(r.Disputed) > 0 {
			return fmt.Errorf("verify %s: %d of %d slots, %d claimed, %d disputed: %s", p, r.Slots, head, r.Claimed, len(r.Disputed), r.Reason)
		}
		out.Reports = append(out.Reports, r)
	}
	var seen []string
	for _, h := range s.hops {
		if !slices.Contains(seen, h.Peer) {
			seen = append(seen, h.Peer)
		}
	}
	s.say("the message passed through %d peers; everything above can be checked again by anybody", len(seen))
	if s.cmd.Bool("json") {
		return json.NewEncoder(s.cmd.Root().Writer).Encode(out)
	}
	return nil
}
