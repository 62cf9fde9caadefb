package mu

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

const network = "mu-test"

// town is everything that a messenger meets: a directory, schedulers, a computer whose results the messages' data
// spell out, and an archive. It counts its calls and fails them when told to.
type town struct {
	t       testing.TB
	su      *unitstest.Memory
	other   *unitstest.Memory // a second scheduler
	journal *unitstest.Echo   // of the computer
	cu      ans104.Signer
	user    ans104.Signer
	mu      ans104.Signer

	lock   sync.Mutex
	calls  map[string]int
	given  map[ao.ID]ao.Entry                   // handed to the computer, by message
	fail   func(call string, n int) error       // asked before each call; n counts from 1
	assign func(a ao.Assignment) ao.Assignment  // what schedulers answer
	answer func(a units.Answer) units.Answer    // what the computer answers
	held   map[ao.ID]*ans104.Item               // the archive
	drafts func(m ao.Message) (ao.Result, bool) // results that data cannot spell
	hosts  func(p units.SignaturePolicy) units.SignaturePolicy
	ticks  map[ao.ID][]units.CronResult // that the computer knows
}

func newTown(t testing.TB) *town {
	w := &town{
		t: t, su: unitstest.NewMemory(unitstest.Signer("su")), other: unitstest.NewMemory(unitstest.Signer("other su")),
		cu: unitstest.Signer("cu"), user: unitstest.Signer("user"), mu: unitstest.Signer("mu"),
		calls: map[string]int{}, given: map[ao.ID]ao.Entry{}, held: map[ao.ID]*ans104.Item{}, ticks: map[ao.ID][]units.CronResult{},
	}
	w.journal = unitstest.NewEcho(network, w.cu, w.su)
	return w
}

// set changes how the town behaves.
func (w *town) set(change func()) {
	w.lock.Lock()
	defer w.lock.Unlock()
	change()
}

func (w *town) call(name string) error {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.calls[name]++
	if w.fail == nil {
		return nil
	}
	return w.fail(name, w.calls[name])
}

func (w *town) count(name string) int {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.calls[name]
}

// spawn starts a process that trusts the messenger.
func (w *town) spawn(name string, tags ...ao.Tag) ao.ID {
	w.t.Helper()
	p := unitstest.Spawn(w.t, w.user, w.su.Address(), name, append(tags, ao.Tag{Name: "Authority", Value: unitstest.Address(w.mu)})...)
	if _, err := w.su.Schedule(w.t.Context(), p.ID(), p); err != nil {
		w.t.Fatal(err)
	}
	return p.ID()
}

// message is a user's message whose result is spelt by data.
func (w *town) message(target ao.ID, data string, tags ...ao.Tag) ao.Message {
	w.t.Helper()
	return unitstest.Message(w.t, w.user, target, data, tags...)
}

// log is the messages' data of a process from slot 1 on, in order.
func (w *town) log(s *unitstest.Memory, process ao.ID) []ao.Message {
	w.t.Helper()
	es, err := s.Range(context.Background(), process, 1, 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []ao.Message
	for _, e := range es {
		out = append(out, e.Message)
	}
	return out
}

// outboxOf spells a result with messages: data that makes the computer answer with that outbox.
func outboxOf(parts map[string]any) string {
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

func send(drafts ...map[string]any) string { return outboxOf(map[string]any{"Messages": drafts}) }

// The directory.

func (w *town) Process(_ context.Context, id ao.ID) (ao.Process, error) {
	for _, s := range []*unitstest.Memory{w.su, w.other} {
		if es, err := s.Range(context.Background(), id, 0, 1); err == nil && len(es) == 1 {
			return es[0].Message.Process()
		}
	}
	return ao.Process{}, ao.Refuse("schedule", ao.UnknownProcess, "%s", id)
}

func (w *town) Module(context.Context, ao.ID) (ao.Module, error) {
	return ao.Module{}, errors.New("a messenger needs no module")
}

func (w *town) HostAt(ctx context.Context, process ao.ID, _ ao.Slot) (units.SignaturePolicy, error) {
	if err := w.call("host"); err != nil {
		return units.SignaturePolicy{}, err
	}
	p, err := w.Process(ctx, process)
	if err != nil {
		return units.SignaturePolicy{}, err
	}
	policy := units.SignaturePolicy{Keys: []string{p.Scheduler()}, Threshold: 1}
	w.lock.Lock()
	defer w.lock.Unlock()
	if w.hosts != nil {
		policy = w.hosts(policy)
	}
	return policy, nil
}

func (w *town) Scheduler(_ context.Context, address string) (units.Scheduler, error) {
	for _, s := range []*unitstest.Memory{w.su, w.other} {
		if s.Address() == address {
			if s == w.other {
				return away{scheduler{w, s}}, nil
			}
			return scheduler{w, s}, nil
		}
	}
	return nil, ao.Refuse("schedule", ao.UnknownUnit, "%s", address)
}

func (w *town) Log(_ context.Context, process ao.ID) (units.Log, error) {
	if _, err := w.other.Next(context.Background(), process); err == nil {
		return w.other, nil
	}
	return w.su, nil
}

func (w *town) Computer(context.Context, ao.ID) (units.Computer, error) { return computer{w}, nil }

type scheduler struct {
	*town
	units.Scheduler
}

// away is the town's second scheduler, which is none of the mesh.
type away struct{ scheduler }

func (away) IsElsewhere() bool { return true }

func (s scheduler) Peer() string { return "peer of the scheduler" }

func (s scheduler) Schedule(ctx context.Context, process ao.ID, m ao.Message) (ao.Assignment, error) {
	if err := s.call("schedule"); err != nil {
		return ao.Assignment{}, err
	}
	a, err := s.Scheduler.Schedule(ctx, process, m)
	s.lock.Lock()
	defer s.lock.Unlock()
	if err == nil && s.assign != nil {
		a = s.assign(a)
	}
	return a, err
}

func (s scheduler) Assign(ctx context.Context, process, message ao.ID, how ao.AssignOptions) (ao.Assignment, error) {
	if err := s.call("schedule"); err != nil {
		return ao.Assignment{}, err
	}
	a, err := s.Scheduler.Assign(ctx, process, message, how)
	s.lock.Lock()
	defer s.lock.Unlock()
	if err == nil && s.assign != nil {
		a = s.assign(a)
	}
	return a, err
}

type computer struct{ *town }

func (c computer) Peer() string { return "peer of the computer" }

func (c computer) Compute(ctx context.Context, process ao.ID, slot ao.Slot) (units.Answer, error) {
	if e, ok := units.Handed(ctx, process, slot); ok {
		c.set(func() { c.given[e.Message.ID()] = e })
	}
	if err := c.call("compute"); err != nil {
		return units.Answer{}, err
	}
	log, _ := c.Log(ctx, process)
	es, err := log.Range(ctx, process, slot, 1)
	if err != nil || len(es) != 1 {
		return units.Answer{}, ao.Refuse("compute", ao.NotYet, "slot %d", slot)
	}
	r, err := ao.ParseResponse(es[0].Message.Data())
	if err != nil {
		r = ao.Result{}
	}
	c.lock.Lock()
	drafts, answer := c.drafts, c.answer
	c.lock.Unlock()
	if drafts != nil {
		if special, ok := drafts(es[0].Message); ok {
			r = special
		}
	}
	claim, err := attest.Sign(c.journal, c.cu, attest.Claim{
		Network: network, Process: process, Nonce: slot, Message: es[0].Message.ID(), Head: es[0].Assignment.Link(),
		Result: attest.ResultDigest(r), Profile: "test",
	})
	if err != nil {
		return units.Answer{}, err
	}
	a := units.Answer{Slot: slot, Result: r, Claim: claim}
	if answer != nil {
		a = answer(a)
	}
	return a, nil
}

func (c computer) State(context.Context, ao.ID) (units.StateInfo, error) {
	return units.StateInfo{}, errors.New("a messenger asks for no state")
}

func (c computer) DryRun(context.Context, ao.ID, ao.Query) (ao.Result, error) {
	return ao.Result{}, errors.New("a messenger asks for no dry-run")
}

func (c computer) Cron(_ context.Context, process ao.ID, from units.CronCursor, limit int) (out []units.CronResult, err error) {
	if err := c.call("cron"); err != nil {
		return nil, err
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	for _, r := range c.ticks[process] {
		if r.Cursor.Compare(from.Tick) > 0 && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, nil
}

// archive is the part of Arweave that a messenger uses.
type archive struct {
	arweave.Archive
	*town
}

func (a archive) Put(_ context.Context, items ...*ans104.Item) error {
	if err := a.call("put"); err != nil {
		return err
	}
	a.lock.Lock()
	defer a.lock.Unlock()
	for _, it := range items {
		a.held[it.ID()] = it
	}
	return nil
}

func (a archive) Get(_ context.Context, id ans104.ID) (*ans104.Item, error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	if it := a.held[id]; it != nil {
		return it, nil
	}
	return nil, arweave.ErrNotFound
}

// unit builds a messenger of this town over a store.
func (w *town) unit(st store.Store, change ...func(*Config)) *Unit {
	w.t.Helper()
	cfg := Config{
		Store: st, Signer: w.mu, Network: network, Peer: "peer of the messenger", Directory: w, Archive: archive{town: w},
		Retry: time.Millisecond, RetryMax: 4 * time.Millisecond,
	}
	for _, c := range change {
		c(&cfg)
	}
	u, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

// memory is a store that is closed with the test.
func memory(t testing.TB) store.Store {
	t.Helper()
	st := store.NewMemory()
	t.Cleanup(func() { _ = st.Close() }) // a test may have closed it
	return st
}

// run lets a messenger work until stop is called, or the test ends; stop gives what Run returned.
func run(t testing.TB, u *Unit) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- u.Run(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-ended })
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

// started is a messenger at work, over a store in memory.
func (w *town) started(change ...func(*Config)) *Unit {
	w.t.Helper()
	u := w.unit(memory(w.t), change...)
	run(w.t, u)
	return u
}

// tooLong ends what hangs in virtual time.
const tooLong = 1000 * time.Hour

// push pushes a message and follows it to the end.
func push(t testing.TB, u *Unit, m ao.Message) (ao.Assignment, []units.Hop) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), tooLong)
	defer cancel()
	a, err := u.Push(ctx, m)
	if err != nil {
		t.Fatalf("push: %v", err)
	}
	return a, hopsOf(t, u, m.ID())
}

// hopsOf is all hops of a push that ends.
func hopsOf(t testing.TB, u *Unit, message ao.ID) []units.Hop {
	t.Helper()
	var out []units.Hop
	ctx, cancel := context.WithTimeout(t.Context(), tooLong)
	defer cancel()
	err := u.Hops(ctx, message, func(h units.Hop) error {
		out = append(out, h)
		return nil
	})
	if err != nil {
		t.Fatalf("hops: %v", err)
	}
	return out
}

// words is what the hops are, in order.
func words(hops []units.Hop) (out []string) {
	for _, h := range hops {
		out = append(out, h.Word)
	}
	return out
}

// noted is the first hop of that word, for its note.
func noted(t testing.TB, hops []units.Hop, word string) units.Hop {
	t.Helper()
	for _, h := range hops {
		if h.Word == word {
			return h
		}
	}
	t.Fatalf("no hop %s among %v", word, words(hops))
	return units.Hop{}
}

// idle fails the test unless the messenger has nothing left: no task, no watcher, nobody waiting.
func idle(t testing.TB, u *Unit) {
	t.Helper()
	u.lock.Lock()
	defer u.lock.Unlock()
	if len(u.open) != 0 || len(u.roots) != 0 || len(u.waiters) != 0 || len(u.ready) != 0 {
		t.Errorf("left: %d tasks, %d pushes, %d waiters, %d steps", len(u.open), len(u.roots), len(u.waiters), len(u.ready))
	}
	if pairs, err := u.cfg.Store.Scan(keyTask, "", 1); err != nil || len(pairs) != 0 {
		t.Errorf("left on disk: %d tasks, %v", len(pairs), err)
	}
}
