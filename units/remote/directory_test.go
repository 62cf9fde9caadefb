package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

// place is a directory with all that it asks: a peer of its own and a mesh that a test fills by hand.
type place struct {
	*Directory
	archive *fakeArchive
	mesh    *Mesh
	node    *p2p.Node
}

func newPlace(t *testing.T) place {
	t.Helper()
	n, _ := node(t, "directory", hasty)
	signer := ans104.NewEd25519Signer(keyOf("directory"))
	m, err := NewMesh(n, network, signer, "", nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	a := newFakeArchive()
	return place{NewDirectory(network, unitstest.Address(signer), n, m, a, memory(t), quiet()), a, m, n}
}

// announce makes a unit with that key known.
func (d place) announce(t *testing.T, name string, roles ...string) Unit {
	t.Helper()
	return d.announceUntil(t, name, time.Now().Add(time.Minute), roles...)
}

func (d place) announceUntil(t *testing.T, name string, end time.Time, roles ...string) Unit {
	t.Helper()
	raw, err := SignUnit(ans104.NewEd25519Signer(keyOf(name)), network, Unit{Name: name, Roles: roles, Sequence: time.Now().UnixMilli(), Expires: end})
	if err != nil {
		t.Fatal(err)
	}
	u, v := d.mesh.Roster.Add(raw)
	if v != p2p.Accept {
		t.Fatalf("announcement of %s: verdict %d", name, v)
	}
	return u
}

// unit is a node that is connected to the place and announced.
func (d place) unit(t *testing.T, name string, roles ...string) (*p2p.Node, Unit) {
	t.Helper()
	n, _ := node(t, name)
	connect(t, d.node, n)
	return n, d.announce(t, name, roles...)
}

func TestProcessIsLookedForInOrder(t *testing.T) {
	d := newPlace(t)
	id := unitstest.ID("nobody")
	_, err := d.Process(t.Context(), id)
	unitstest.WantRefusal(t, err, ao.UnknownProcess)
	_, err = d.HostAt(t.Context(), id, 0)
	unitstest.WantRefusal(t, err, ao.UnknownProcess)
	d.archive.set(func() { d.archive.fail = arweave.ErrUnavailable })
	_, err = d.Process(t.Context(), id)
	unitstest.WantRefusal(t, err, ao.ArchiveDown)
	d.archive.set(func() { d.archive.fail = nil })

	// Arweave.
	settled := unitstest.MakeChain(t, "settled", 2)
	d.archive.settle(settled.Entries()[0], 1)
	p, err := d.Process(t.Context(), settled.Process())
	if err != nil || p.ID() != settled.Process() {
		t.Fatalf("from arweave: %v", err)
	}
	gets := d.archive.gets
	if _, err := d.Process(t.Context(), settled.Process()); err != nil || d.archive.gets != gets {
		t.Errorf("asked again: %v", err)
	}
	other := NewDirectory(network, "", nil, nil, d.archive, d.store, quiet())
	if _, err := other.Process(t.Context(), settled.Process()); err != nil || d.archive.gets != gets {
		t.Errorf("after a restart it is not in the store: %v", err)
	}

	// A scheduler of the mesh, before Arweave; one that lies and one that is away stand in the way.
	c := unitstest.MakeChain(t, "of the mesh", 2)
	s := unitstest.NewMemory(unitstest.Signer("su"))
	s.Load(c)
	liar, _ := d.unit(t, "liar", RoleScheduler)
	wrong := settled.Entries()[0]
	raw(liar, verbLog, frames(toJSON(entryHeader{Proof: ao.ProofAssignment}), wrong.Assignment.Raw(), wrong.Message.Raw()))
	d.announce(t, "away", RoleScheduler)
	su, _ := d.unit(t, "su", RoleScheduler)
	ServeLog(su, s)
	if p, err = d.Process(t.Context(), c.Process()); err != nil || p.ID() != c.Process() || d.archive.gets != gets {
		t.Errorf("from the mesh: %v, %d Gets", err, d.archive.gets-gets)
	}

	// Our own log, before all others.
	own := unitstest.NewMemory(unitstest.Signer("own"))
	mine := unitstest.MakeChain(t, "mine", 1)
	own.Load(mine)
	d.SetDoors(Doors{Scheduler: own, Log: own})
	if p, err = d.Process(t.Context(), mine.Process()); err != nil || p.ID() != mine.Process() || d.archive.gets != gets {
		t.Errorf("from our own: %v", err)
	}

	// What nobody has may be with the one that is away.
	_, err = d.Process(t.Context(), id)
	unitstest.WantRefusal(t, err, ao.Unreachable)
}

func TestWrongThingsAreNoProcess(t *testing.T) {
	d := newPlace(t)
	c := unitstest.MakeChain(t, "log", 2)
	m := c.Entries()[1].Message
	d.archive.items[m.ID()] = m.Item()
	_, err := d.Process(t.Context(), m.ID())
	unitstest.WantRefusal(t, err, ao.WrongType)
	d.archive.items[unitstest.ID("asked")] = c.Entries()[0].Message.Item()
	_, err = d.Process(t.Context(), unitstest.ID("asked"))
	unitstest.WantRefusal(t, err, ao.BadLog)
}

func TestModuleIsKeptAndFetchedAgainWhenDamaged(t *testing.T) {
	d := newPlace(t)
	code := bytes.Repeat([]byte("code"), 1000)
	m, err := ao.SignModule(unitstest.Signer("publisher"), "native", "64-mb", "1000", code)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Module(t.Context(), m.ID())
	unitstest.WantRefusal(t, err, ao.UnknownModule)
	d.archive.items[m.ID()] = m.Item()
	for range 2 {
		got, err := d.Module(t.Context(), m.ID())
		if err != nil || !bytes.Equal(got.Code(), code) {
			t.Fatal(err)
		}
	}
	files, err := d.store.ListFiles("modules/")
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	gets := d.archive.gets
	again := func() *Directory { return NewDirectory(network, "", nil, nil, d.archive, d.store, quiet()) }
	if _, err := again().Module(t.Context(), m.ID()); err != nil || d.archive.gets != gets {
		t.Errorf("after a restart it was fetched again: %v", err)
	}
	for name, b := range map[string][]byte{
		"a byte flipped": func() []byte { b := bytes.Clone(m.Item().Raw()); b[len(b)-1] ^= 1; return b }(),
		"cut":            m.Item().Raw()[:500],
		"empty":          nil,
		"another item":   unitstest.Spawn(t, unitstest.Signer("x"), "x", "x").Raw(),
	} {
		if err := d.store.PutFile(files[0].Name, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		if got, err := again().Module(t.Context(), m.ID()); err != nil || !bytes.Equal(got.Code(), code) {
			t.Errorf("%s: %v", name, err)
		}
		f, err := d.store.OpenFile(files[0].Name)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(f); err != nil || !bytes.Equal(b, m.Item().Raw()) {
			t.Errorf("%s: the file is still damaged, %v", name, err)
		}
		_ = f.Close()
	}
	if d.archive.gets != gets+4 {
		t.Errorf("%d Gets, want 4", d.archive.gets-gets)
	}
	spawn := unitstest.Spawn(t, unitstest.Signer("x"), "x", "x")
	d.archive.items[spawn.ID()] = spawn.Item()
	_, err = d.Module(t.Context(), spawn.ID())
	unitstest.WantRefusal(t, err, ao.BadModule)
	d.archive.set(func() { d.archive.fail = arweave.ErrCorrupt })
	_, err = d.Module(t.Context(), unitstest.ID("x"))
	unitstest.WantRefusal(t, err, ao.Corrupt)
}

func TestLogIsOursThenTheSchedulersThenArweaves(t *testing.T) {
	d := newPlace(t)
	signer := ans104.NewEd25519Signer(keyOf("su"))
	spawn := unitstest.Spawn(t, unitstest.Signer("owner"), unitstest.Address(signer), "p")
	c := unitstest.NewChain(t, signer, spawn)
	d.archive.settle(c.Entries()[0], 1)
	log, err := d.Log(t.Context(), spawn.ID())
	if err != nil || log != d.settled {
		t.Errorf("with nobody there it is %T, %v", log, err)
	}
	_, err = d.Scheduler(t.Context(), unitstest.Address(signer))
	unitstest.WantRefusal(t, err, ao.UnknownUnit)
	su := d.announce(t, "su", RoleScheduler)
	if log, err = d.Log(t.Context(), spawn.ID()); err != nil || units.PeerOf(log) != su.Peer.String() {
		t.Errorf("with its scheduler there it is at %q, %v", units.PeerOf(log), err)
	}
	if s, err := d.Scheduler(t.Context(), su.Address); err != nil || units.PeerOf(s) != su.Peer.String() {
		t.Errorf("the scheduler is at %q, %v", units.PeerOf(s), err)
	}
	own := unitstest.NewMemory(ans104.NewEd25519Signer(keyOf("directory")))
	mine := unitstest.Spawn(t, unitstest.Signer("owner"), own.Address(), "mine")
	if _, err := own.Schedule(t.Context(), mine.ID(), mine); err != nil {
		t.Fatal(err)
	}
	d.SetDoors(Doors{Scheduler: own, Log: own})
	if log, err = d.Log(t.Context(), mine.ID()); err != nil || log != units.Log(own) {
		t.Errorf("our own is %T, %v", log, err)
	}
	if s, err := d.Scheduler(t.Context(), d.address); err != nil || s != units.Scheduler(own) {
		t.Errorf("our own is %T, %v", s, err)
	}
}

func TestUnitsThatNobodyKnows(t *testing.T) {
	d := newPlace(t)
	_, err := d.Computer(t.Context(), unitstest.ID("p"))
	unitstest.WantRefusal(t, err, ao.UnknownUnit)
	_, _, err = d.Messenger()
	unitstest.WantRefusal(t, err, ao.UnknownUnit)
	mu := d.announce(t, "mu", RoleMessenger)
	if m, u, err := d.Messenger(); err != nil || u.Address != mu.Address || units.PeerOf(m) != mu.Peer.String() {
		t.Errorf("the messenger is %+v, %v", u, err)
	}
}

func TestProcessesAreSharedOutAndStay(t *testing.T) {
	d := newPlace(t)
	for _, name := range []string{"cu1", "cu2", "cu3"} {
		d.announce(t, name, RoleComputer)
	}
	first := func(p ao.ID) string {
		us := d.mesh.Roster.With(RoleComputer)
		d.rank(p, us)
		return us[0].Address
	}
	got := map[string]int{}
	home := map[int]string{}
	for i := range 30 {
		home[i] = first(unitstest.ID(ao.Slot(i).String()))
		got[home[i]]++
	}
	for a, n := range got {
		if n != 10 {
			t.Errorf("%s has %d of 30 processes", a, n)
		}
	}
	for i := range 30 {
		if first(unitstest.ID(ao.Slot(i).String())) != home[i] {
			t.Errorf("process %d moved", i)
		}
	}
	// One that is gone loses its processes, to the others and for good.
	gone := home[0]
	moved := ""
	for range 3 {
		us := slices.DeleteFunc(d.mesh.Roster.With(RoleComputer), func(u Unit) bool { return u.Address == gone })
		d.rank(unitstest.ID("0"), us)
		if us[0].Address == gone || (moved != "" && us[0].Address != moved) {
			t.Errorf("it went to %s, before to %s", us[0].Address, moved)
		}
		moved = us[0].Address
	}
	if now := first(unitstest.ID("0")); now != moved {
		t.Errorf("it went back to %s", now)
	}
	total := 0
	for _, n := range d.given {
		total += n
	}
	if total != 30 || len(d.chosen) != 30 {
		t.Errorf("%d given, %d chosen, want 30", total, len(d.chosen))
	}
}

// door is a computer that answers with an error, or not at all.
type door struct {
	units.Computer
	err   error
	calls int
}

func (c *door) Compute(context.Context, ao.ID, ao.Slot) (units.Answer, error) {
	c.calls++
	return units.Answer{Slot: 7}, c.err
}

func (c *door) State(context.Context, ao.ID) (units.StateInfo, error) {
	return units.StateInfo{Slot: 7}, c.err
}

func (c *door) DryRun(context.Context, ao.ID, ao.Query) (ao.Result, error) {
	return ao.Result{}, c.err
}

func (c *door) Peer() string { return "peer" }

func TestFailover(t *testing.T) {
	refuse := func(c ao.Code) error { return ao.Refuse("compute", c, "") }
	for _, c := range []struct {
		first, second error
		code          ao.Code // "" is an answer
		asked         int
	}{
		{nil, nil, "", 1},
		{refuse(ao.Unreachable), nil, "", 2},
		{refuse(ao.Busy), nil, "", 2},
		{refuse(ao.Deadline), nil, "", 2},
		{refuse(ao.Contradiction), nil, "", 2},
		{refuse(ao.BadResult), nil, "", 2}, // a liar is passed over
		{refuse(ao.BadClaim), nil, "", 2},
		{refuse(ao.BadSignature), nil, "", 2},
		{refuse(ao.Malformed), nil, "", 2},
		{refuse(ao.Internal), nil, "", 2},
		{refuse(ao.BadFormat), nil, "", 2},
		{errors.New("anything"), nil, "", 2},
		{refuse(ao.NotYet), nil, ao.NotYet, 1},
		{refuse(ao.UnknownProcess), nil, ao.UnknownProcess, 1},
		{refuse(ao.UnknownModule), nil, ao.UnknownModule, 1},
		{refuse(ao.BadModule), refuse(ao.Unreachable), ao.BadModule, 2},
		{refuse(ao.Unreachable), refuse(ao.BadModule), ao.BadModule, 2},
		{refuse(ao.Busy), refuse(ao.Unreachable), ao.Unreachable, 2},
	} {
		one, two := &door{err: c.first}, &door{err: c.second}
		f := &failover{doors: []units.Computer{one, two}}
		a, err := f.Compute(t.Context(), ao.ID{}, 7)
		if one.calls+two.calls != c.asked {
			t.Errorf("%v, %v: %d were asked, want %d", c.first, c.second, one.calls+two.calls, c.asked)
		}
		_, stateErr := f.State(t.Context(), ao.ID{})
		_, dryErr := f.DryRun(t.Context(), ao.ID{}, ao.Query{})
		for _, err := range []error{err, stateErr, dryErr} {
			if c.code == "" && err != nil {
				t.Errorf("%v, %v: %v", c.first, c.second, err)
			}
			if c.code != "" {
				unitstest.WantRefusal(t, err, c.code)
			}
		}
		if c.code == "" && (a.Slot != 7 || f.Peer() != "peer") {
			t.Errorf("%v, %v: answered by %q", c.first, c.second, f.Peer())
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	one, two := &door{err: refuse(ao.Deadline)}, &door{}
	_, err := (&failover{doors: []units.Computer{one, two}}).Compute(gone, ao.ID{}, 7)
	unitstest.WantRefusal(t, err, ao.Deadline)
	if two.calls != 0 {
		t.Error("asked on for a caller that is gone")
	}
}

// noting is a computer that notes what entries it is handed.
type noting struct {
	units.Computer
	handed chan ao.ID
}

func (n noting) Compute(ctx context.Context, process ao.ID, slot ao.Slot) (units.Answer, error) {
	id := ao.ID{}
	if e, ok := units.Handed(ctx, process, slot); ok {
		id = e.Message.ID()
	}
	n.handed <- id
	return n.Computer.Compute(ctx, process, slot)
}

func callerOf(node *p2p.Node, to peer.ID) client { return client{node: node, to: to} }

func TestEntryIsHandedOver(t *testing.T) {
	server, client := pair(t)
	s := unitstest.NewMemory(unitstest.Signer("su"))
	c := unitstest.MakeChain(t, "log", 3)
	s.Load(c)
	n := noting{unitstest.NewEcho(network, unitstest.Signer("computer"), s), make(chan ao.ID, 1)}
	ServeComputer(server, n)
	all := c.Entries()
	for name, q := range map[string]struct {
		handed ao.Entry
		want   ao.ID
	}{
		"of the slot": {all[1], all[1].Message.ID()}, "of another slot": {all[2], ao.ID{}}, "none": {ao.Entry{}, ao.ID{}},
	} {
		ctx := t.Context()
		if name != "none" {
			ctx = units.Hand(ctx, q.handed)
		}
		a, err := Computer(client, network, server.ID()).Compute(ctx, c.Process(), 1)
		if err != nil || a.Check(network, c.Process(), 1) != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := <-n.handed; got != q.want {
			t.Errorf("%s: %s was handed over", name, got)
		}
	}
	// What is handed over and does not verify is refused, and the computer not bothered.
	call, err := callerOf(client, server.ID()).open(t.Context(), verbCompute,
		computeRequest{Op: "compute", Process: c.Process(), Slot: 1, Handed: true}, all[1].Assignment.Raw(), []byte("no item"))
	if err != nil {
		t.Fatal(err)
	}
	defer call.close()
	var h computeAnswer
	unitstest.WantRefusal(t, call.header(&h), ao.Malformed)
	if len(n.handed) > 0 {
		t.Error("the computer was asked")
	}
}

func TestLyingComputerIsPassedOver(t *testing.T) {
	d := newPlace(t)
	s := unitstest.NewMemory(unitstest.Signer("su"))
	c := unitstest.MakeChain(t, "log", 3)
	s.Load(c)
	honest, _ := d.unit(t, "honest", RoleComputer)
	ServeComputer(honest, unitstest.NewEcho(network, unitstest.Signer("computer"), s))
	liar, lu := d.unit(t, "liar", RoleComputer)
	// Its claims are for another network: well signed, and worth nothing here.
	ServeComputer(liar, unitstest.NewEcho("other-network", unitstest.Signer("liar"), s))
	d.chosen[c.Process()] = lu.Address // the liar has the process
	door, err := d.Computer(t.Context(), c.Process())
	if err != nil {
		t.Fatal(err)
	}
	a, err := door.Compute(t.Context(), c.Process(), 1)
	if err != nil || a.Check(network, c.Process(), 1) != nil || units.PeerOf(door) != honest.ID().String() {
		t.Errorf("answered by %s: %v", units.PeerOf(door), err)
	}
	own := unitstest.NewEcho(network, unitstest.Signer("own"), s)
	d.SetDoors(Doors{Computer: own})
	if door, err = d.Computer(t.Context(), c.Process()); err != nil || door != units.Computer(own) {
		t.Errorf("our own is %T, %v", door, err)
	}
}
