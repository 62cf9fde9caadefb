package cu_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
	"github.com/aopeer/aopeer/wasmvm"
)

const network = "cu-test"

// tally is the modelled state machine: it counts what it takes and adds up the bytes of their data.
type tally struct{}

func (tally) Begin(_ wasmvm.Genesis, state []byte) (wasmvm.NativeState, error) {
	s := &tallyState{}
	if len(state) == 16 {
		s.count, s.sum = binary.BigEndian.Uint64(state), binary.BigEndian.Uint64(state[8:])
	}
	return s, nil
}

type tallyState struct{ count, sum uint64 }

func (s *tallyState) Apply(e ao.Entry) (ao.Result, error) {
	data := string(e.Message.Data())
	if data == "fail" {
		return ao.Result{}, errors.New("asked to fail")
	}
	s.count++
	for _, b := range []byte(data) {
		s.sum = s.sum*31 + uint64(b)
	}
	r := map[string]any{"Output": fmt.Sprintf("%d after %s", s.count, data)}
	if data == "big" {
		r["Output"] = strings.Repeat("x", 6<<20)
	}
	if data == "reply" {
		r["Messages"] = []map[string]any{{"Target": e.Message.Owner(), "Data": "hello", "Tags": []map[string]string{{"name": "N", "value": "1"}}}}
		r["Spawns"] = []map[string]any{{"Data": "spawn"}}
		r["Assignments"] = []map[string]any{{"Message": "m", "Processes": []string{"p"}}}
	}
	return wasmvm.Response(r)
}

func (s *tallyState) Tick(m ao.CronMessage) (ao.Result, error) {
	if m.Tags.Get("Action") == "Fail" {
		return ao.Result{}, errors.New("asked to fail")
	}
	s.count++
	s.sum = s.sum*31 + uint64(m.Timestamp)
	return wasmvm.Response(map[string]any{"Output": fmt.Sprintf("%d at %d", s.count, m.Timestamp-unitstest.ChainStart)})
}

func (s *tallyState) Query(q ao.Query, last ao.AssignmentFields) (ao.Result, error) {
	return wasmvm.Response(map[string]any{"Output": fmt.Sprintf("%d %s at %d", s.count, q.Data, last.Nonce)})
}

func (s *tallyState) Encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, s.count), s.sum)
}

// machine is a real host whose steps a test can see, hold and spoil.
type machine struct {
	wasmvm.Machine
	applied atomic.Int64
	ticked  atomic.Int64
	begun   atomic.Int64
	dry     atomic.Int64
	images  atomic.Int64
	tidied  atomic.Int64
	open    atomic.Int64 // states not closed

	noop bool // entries cost nothing and change nothing

	lock   sync.Mutex
	before func(e ao.Entry) error                  // called before an entry is applied
	spoil  func(e ao.Entry, r ao.Result) ao.Result // changes a result
	dryErr error
	dryRun func()                // called before a dry-run
	tidies func()                // called before a state is tidied
	making func(context.Context) // called before a module is prepared

	ticking func(ao.CronMessage) error // called before a tick
	fuel    uint64                     // that a tick burns
	size    int                        // of a tick's output, if not 0
}

type state struct {
	wasmvm.State
	m    *machine
	once sync.Once
}

// Image is the state in a page of memory and, where the host keeps it, in the tail.
func (s *state) Image() (*wasmvm.Image, error) {
	s.m.images.Add(1)
	img, err := s.State.Image()
	if err != nil {
		return nil, err
	}
	page := make([]byte, wasmvm.PageSize)
	copy(page, img.Tail())
	page[len(page)-1] = 1
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		return nil, err
	}
	packed := enc.EncodeAll(page, nil)
	b := []byte("AOPIMG\x00\x01")
	b = binary.LittleEndian.AppendUint64(b, 1<<16)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(img.Tail())))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(packed)))
	b = binary.LittleEndian.AppendUint32(b, 3) // the page's index
	b = append(append(b, img.Tail()...), packed...)
	sum := sha256.Sum256(b)
	return wasmvm.DecodeImage(append(b, sum[:]...), 1<<16)
}

func (s *state) Tidy() error {
	s.m.lock.Lock()
	hook := s.m.tidies
	s.m.lock.Unlock()
	if hook != nil {
		hook()
	}
	s.m.tidied.Add(1)
	return nil
}

func (s *state) Close() { s.once.Do(func() { s.m.open.Add(-1); s.State.Close() }) }

func (m *machine) Begin(ctx context.Context, g wasmvm.Genesis, img *wasmvm.Image) (wasmvm.State, error) {
	s, err := m.Machine.Begin(ctx, g, img)
	if err != nil {
		return nil, err
	}
	m.begun.Add(1)
	m.open.Add(1)
	return &state{State: s, m: m}, nil
}

func (m *machine) Apply(ctx context.Context, s wasmvm.State, e ao.Entry) (wasmvm.State, ao.Result, error) {
	if m.noop {
		return s, ao.Result{Output: []byte(`"done"`)}, nil
	}
	m.lock.Lock()
	before, spoil := m.before, m.spoil
	m.lock.Unlock()
	if before != nil {
		if err := before(e); err != nil {
			s.Close()
			return nil, ao.Result{}, err
		}
	}
	m.applied.Add(1)
	mine := s.(*state)
	_, r, err := m.Machine.Apply(ctx, mine.State, e)
	if spoil != nil {
		r = spoil(e, r)
	}
	return mine, r, err
}

func (m *machine) Tick(ctx context.Context, s wasmvm.State, c ao.CronMessage) (wasmvm.State, ao.Result, error) {
	m.ticked.Add(1)
	m.lock.Lock()
	hook := m.ticking
	m.lock.Unlock()
	if hook != nil {
		if err := hook(c); err != nil {
			s.Close()
			return nil, ao.Result{}, err
		}
	}
	mine := s.(*state)
	_, r, err := m.Machine.Tick(ctx, mine.State, c)
	if r.GasUsed = m.fuel; m.size > 0 {
		r.Output = []byte(`"` + strings.Repeat("x", m.size) + `"`)
	}
	return mine, r, err
}

func (m *machine) DryRun(ctx context.Context, s wasmvm.State, q ao.Query, last ao.AssignmentFields) (ao.Result, error) {
	m.dry.Add(1)
	m.lock.Lock()
	err, hook := m.dryErr, m.dryRun
	m.lock.Unlock()
	if err != nil {
		return ao.Result{}, err
	}
	if hook != nil {
		hook()
	}
	return m.Machine.DryRun(ctx, s.(*state).State, q, last)
}

func (m *machine) Prepare(ctx context.Context, mod ao.Module) error {
	m.lock.Lock()
	hook := m.making
	m.lock.Unlock()
	if hook != nil {
		if hook(ctx); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return m.Machine.Prepare(ctx, mod)
}

func (m *machine) hook(before func(ao.Entry) error, spoil func(ao.Entry, ao.Result) ao.Result) {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.before, m.spoil = before, spoil
}

// directory knows the test's processes and serves whatever logs the test puts there, sound or not.
type directory struct {
	module    ao.Module
	scheduler string

	lock   sync.Mutex
	logs   map[ao.ID][]ao.Entry
	faults map[ao.Slot]error // what Range says at a slot
	listed ao.Slot           // what Next says, if not 0
	reads  int
	before func(ao.Slot) error // called by Range, if not nil
	asked  func()              // called by Next, if not nil
}

func (d *directory) put(entries []ao.Entry) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.logs[entries[0].Message.ID()] = entries
}

func (d *directory) Process(_ context.Context, id ao.ID) (ao.Process, error) {
	d.lock.Lock()
	defer d.lock.Unlock()
	if log, ok := d.logs[id]; ok {
		return log[0].Message.Process()
	}
	return ao.Process{}, ao.Refuse("find", ao.UnknownProcess, "%s", id)
}

func (d *directory) Module(context.Context, ao.ID) (ao.Module, error) { return d.module, nil }

func (d *directory) HostAt(context.Context, ao.ID, ao.Slot) (units.SignaturePolicy, error) {
	return units.SignaturePolicy{Keys: []string{d.scheduler}, Threshold: 1}, nil
}

func (d *directory) Log(context.Context, ao.ID) (units.Log, error) { return d, nil }

func (d *directory) Scheduler(context.Context, string) (units.Scheduler, error) {
	return nil, ao.Refuse("find", ao.UnknownUnit, "none")
}

func (d *directory) Computer(context.Context, ao.ID) (units.Computer, error) {
	return nil, ao.Refuse("find", ao.UnknownUnit, "none")
}

func (d *directory) Next(_ context.Context, id ao.ID) (ao.Slot, error) {
	d.lock.Lock()
	hook := d.asked
	d.lock.Unlock()
	if hook != nil {
		hook()
	}
	d.lock.Lock()
	defer d.lock.Unlock()
	log, ok := d.logs[id]
	if !ok {
		return 0, ao.Refuse("log", ao.UnknownProcess, "%s", id)
	}
	if d.listed != 0 {
		return d.listed, nil
	}
	return ao.Slot(len(log)), nil
}

func (d *directory) Range(ctx context.Context, id ao.ID, from ao.Slot, limit int) ([]ao.Entry, error) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.reads++
	if d.before != nil {
		if err := d.before(from); err != nil {
			return nil, err
		}
	}
	log, ok := d.logs[id]
	if !ok {
		return nil, ao.Refuse("log", ao.UnknownProcess, "%s", id)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var out []ao.Entry
	for at := from; at < ao.Slot(len(log)) && len(out) < limit; at++ {
		if err := d.faults[at]; err != nil {
			return nil, err
		}
		out = append(out, log[at])
	}
	return out, nil
}

func (d *directory) Find(context.Context, ao.ID, ao.ID) (ao.Slot, error) {
	return 0, ao.Refuse("log", ao.UnknownMessage, "not here")
}

func (d *directory) Follow(ctx context.Context, _ ao.ID, _ ao.Slot, _ func(ao.Entry) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// archive holds settled items in memory; failing, it loses what it is given or the answer.
type archive struct {
	arweave.Archive // the rest is not used

	lock  sync.Mutex
	items []*ans104.Item
	fail  func(stored bool) error
	puts  int
	lost  map[ans104.ID]error // what Get says instead

	served map[ans104.ID][]byte // what the gateway serves instead
	parsed map[ans104.ID]attest.Batch
}

func (a *archive) Put(_ context.Context, items ...*ans104.Item) error {
	a.lock.Lock()
	defer a.lock.Unlock()
	a.puts++
	if a.fail != nil {
		if err := a.fail(false); err != nil {
			return err
		}
	}
	a.items = append(a.items, items...)
	if a.fail != nil {
		return a.fail(true)
	}
	return nil
}

func (a *archive) Get(_ context.Context, id ans104.ID) (*ans104.Item, error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	if err := a.lost[id]; err != nil {
		return nil, err
	}
	if raw, ok := a.served[id]; ok { // judged as a client judges what a gateway serves
		it, err := ans104.Parse(raw)
		if err != nil || it.ID() != id || it.Verify() != nil {
			return nil, fmt.Errorf("get %s: %w", id, arweave.ErrCorrupt)
		}
		return it, nil
	}
	for _, it := range a.items {
		if it.ID() == id {
			return it, nil
		}
	}
	return nil, arweave.ErrNotFound
}

func (a *archive) Query(_ context.Context, q arweave.Query) (arweave.Page, error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	var page arweave.Page
	past := q.After == ""
	for i, it := range a.items {
		cursor := fmt.Sprint(i)
		match := true
		for _, f := range q.Tags {
			v, ok := it.Tag(f.Name)
			match = match && ok && v == f.Values[0]
		}
		match = match && (len(q.Owners) == 0 || slices.Contains(q.Owners, it.OwnerAddress()))
		if past && match {
			if len(page.Found) == 2 { // small pages
				page.HasNext = true
				return page, nil
			}
			page.Found = append(page.Found, arweave.Found{ID: it.ID(), Owner: it.OwnerAddress(), Tags: it.Tags(), Height: 1, Cursor: cursor})
		}
		past = past || cursor == q.After
	}
	return page, nil
}

func (a *archive) put(it *ans104.Item) {
	a.lock.Lock()
	defer a.lock.Unlock()
	a.items = append(a.items, it)
}

// batch parses an item once.
func (a *archive) batch(t testing.TB, it *ans104.Item) attest.Batch {
	t.Helper()
	a.lock.Lock()
	defer a.lock.Unlock()
	if b, ok := a.parsed[it.ID()]; ok {
		return b
	}
	b, err := attest.ParseBatch(it.Raw())
	if err != nil {
		t.Fatal(err)
	}
	if a.parsed == nil {
		a.parsed = map[ans104.ID]attest.Batch{}
	}
	a.parsed[it.ID()] = b
	return b
}

func (a *archive) batches() []*ans104.Item {
	a.lock.Lock()
	defer a.lock.Unlock()
	return append([]*ans104.Item(nil), a.items...)
}

// world is everything around a unit.
type world struct {
	store     store.Store
	machine   *machine
	directory *directory
	archive   *archive
	scheduler ans104.Signer
	owner     ans104.Signer
	messenger ans104.Signer
	unit      ans104.Signer
	module    ao.Module
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		store:     store.NewMemory(),
		archive:   &archive{lost: map[ans104.ID]error{}},
		scheduler: unitstest.Signer("scheduler"),
		owner:     unitstest.Signer("owner"),
		messenger: unitstest.Signer("messenger"),
		unit:      unitstest.Signer("unit"),
	}
	t.Cleanup(func() { w.store.Close() })
	var err error
	w.module, err = ao.SignModule(w.owner, wasmvm.FormatNative, "1-mb", "1000000", []byte("tally@1"))
	if err != nil {
		t.Fatal(err)
	}
	w.directory = &directory{
		module: w.module, scheduler: unitstest.Address(w.scheduler),
		logs: map[ao.ID][]ao.Entry{}, faults: map[ao.Slot]error{},
	}
	w.machine = newMachine(t)
	return w
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	host, err := wasmvm.NewHost(wasmvm.Config{Natives: map[string]wasmvm.Native{"tally@1": tally{}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	return &machine{Machine: host}
}

// standing is a clock by which nothing is slow, however busy the machine.
func standing() time.Time { return time.Unix(0, 0) }

func (w *world) config() cu.Config {
	return cu.Config{
		Store: w.store, Signer: w.unit, Network: network, Machine: w.machine, Directory: w.directory,
		CheckpointEvery: 5, PageSize: 4,
	}
}

// spawn is a process that trusts the messenger.
func (w *world) spawn(t testing.TB, name string) ao.Message {
	t.Helper()
	m, err := ao.SignProcess(w.owner, w.module.ID(), unitstest.Address(w.scheduler),
		ao.Tags{{Name: "Name", Value: name}, {Name: "Authority", Value: unitstest.Address(w.messenger)}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// chain is a sound log of n slots, not yet served.
func (w *world) chain(t testing.TB, name string, n int) *unitstest.Chain {
	t.Helper()
	c := unitstest.NewChain(t, w.scheduler, w.spawn(t, name))
	for i := 1; i < n; i++ {
		w.add(t, c, fmt.Sprintf("message %d", i))
	}
	return c
}

func (w *world) add(t testing.TB, c *unitstest.Chain, data string) ao.Entry {
	t.Helper()
	return c.Add(t, unitstest.Message(t, w.owner, c.Process(), data))
}

// serve makes a log of n slots and puts it where the unit reads.
func (w *world) serve(t testing.TB, name string, n int) ao.ID {
	t.Helper()
	c := w.chain(t, name, n)
	w.directory.put(c.Entries())
	return c.Process()
}

// running is a unit at work; stop ends it and waits. ended is closed when it has ended by itself or otherwise.
type running struct {
	*cu.Unit
	stop  func()
	ended chan struct{}
	err   error // what Run returned
}

func (w *world) run(t testing.TB, change ...func(*cu.Config)) *running {
	t.Helper()
	cfg := w.config()
	for _, c := range change {
		c(&cfg)
	}
	u, err := cu.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Unit: u, ended: make(chan struct{})}
	go func() { r.err = u.Run(ctx); close(r.ended) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if <-r.ended; r.err != nil && !errors.Is(r.err, store.ErrBroken) {
			t.Errorf("run: %v", r.err)
		}
		if n := w.machine.open.Load(); n != 0 {
			t.Errorf("%d states are left open", n)
		}
	})
	t.Cleanup(r.stop)
	return r
}

func compute(t testing.TB, u units.Computer, process ao.ID, slot ao.Slot) units.Answer {
	t.Helper()
	a, err := u.Compute(unitstest.Context(t), process, slot)
	if err != nil {
		t.Fatalf("compute slot %d: %v", slot, err)
	}
	if err := a.Check(network, process, slot); err != nil {
		t.Fatalf("answer for slot %d: %v", slot, err)
	}
	return a
}

func stateOf(t testing.TB, u units.Computer, process ao.ID) units.StateInfo {
	t.Helper()
	s, err := u.State(unitstest.Context(t), process)
	if err != nil {
		t.Fatalf("state: %v", err)
	}
	return s
}

// await polls until a condition of another goroutine's holds.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx := unitstest.Context(t)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		case <-again.C:
		}
	}
}
