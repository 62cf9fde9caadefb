package mu

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

func TestHopsOfAnUnknownPush(t *testing.T) {
	u := newTown(t).started()
	unitstest.WantRefusal(t, u.Hops(t.Context(), unitstest.ID("nothing"), nil), ao.UnknownMessage)
}

func TestHopsLiveUntilTheContextEnds(t *testing.T) {
	w := newTown(t)
	a := w.spawn("a")
	w.set(func() { w.fail = refuseAll("compute", ao.NotYet) })
	u := w.started()
	m := w.message(a, "hello")
	if _, err := u.Push(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := u.Hops(ctx, m.ID(), func(h units.Hop) error {
		if h.Word == "schedule" {
			cancel() // while it would wait for more
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("hops ended with %v", err)
	}
}

// A hop that is written late must not be passed over by a reader that has seen a later one.
func TestNoHopIsPassedOver(t *testing.T) {
	w := newTown(t)
	a, b, c := w.spawn("a"), w.spawn("b"), w.spawn("c")
	fault := &store.Faulty{Store: memory(t)}
	var lock sync.Mutex
	n := 0
	free := make(chan struct{})
	seen := make(chan struct{})
	// Commits: the push, its slot, its result; then the slots of the two replies, of which the first is held up until the
	// second has been followed to its end and a reader has had every chance to go past it.
	fault.Before = func(*store.Batch) error {
		lock.Lock()
		n++
		mine := n
		lock.Unlock()
		if mine == 4 {
			<-free
		}
		return nil
	}
	fault.After = func(*store.Batch) error {
		lock.Lock()
		defer lock.Unlock()
		if n == 6 {
			select {
			case <-seen:
			default:
				close(seen)
			}
		}
		return nil
	}
	u := w.unit(fault)
	run(t, u)
	m := w.message(a, send(draft(b, "one"), draft(c, "two")))
	if _, err := u.Push(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	told := make(chan []units.Hop)
	go func() { told <- hopsOf(t, u, m.ID()) }()
	<-seen
	if err := u.tellsNothingPast(m.ID()); err != nil {
		t.Error(err)
	}
	close(free)
	live := <-told
	after := hopsOf(t, u, m.ID())
	if len(live) != 9 || !slices.Equal(words(live), words(after)) {
		t.Errorf("live %v, afterwards %v", words(live), words(after))
	}
}

// tellsNothingPast says whether a reader would now go past a hop that is being written.
func (u *Unit) tellsNothingPast(message ao.ID) error {
	u.lock.Lock()
	defer u.lock.Unlock()
	if r := u.roots[message]; r == nil || len(r.writing) == 0 {
		return errors.New("no hop is held up: the test shows nothing")
	}
	return nil
}

func TestHopsKeepTheirOrderWhenTheClockIsSetBack(t *testing.T) {
	w := newTown(t)
	a := w.spawn("a")
	st := memory(t)
	w.set(func() { w.fail = refuseAll("compute", ao.NotYet) })
	later := func() time.Time { return time.Now().Add(time.Hour) }
	u := w.unit(st, func(c *Config) { c.Now = later })
	stop := run(t, u)
	m := w.message(a, "hello")
	if _, err := u.Push(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	_ = stop()
	w.set(func() { w.fail = nil })
	u = w.unit(st)
	run(t, u)
	if want, got := []string{"push", "schedule", "compute", "done"}, words(hopsOf(t, u, m.ID())); !slices.Equal(got, want) {
		t.Errorf("the hops are %v, want %v", got, want)
	}
}

func TestDamagedRecordsAreNamed(t *testing.T) {
	w := newTown(t)
	a := w.spawn("a")
	m := w.message(a, "hello")
	good := &task{Root: m.ID(), Process: a, Message: m.ID(), Stage: stageSchedule, message: m}
	var b store.Batch
	if err := good.put(&b); err != nil {
		t.Fatal(err)
	}
	st := memory(t)
	if err := st.Commit(&b); err != nil {
		t.Fatal(err)
	}
	raw, err := st.Get(keyTask + good.key())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parseTask(raw); err != nil || got.key() != good.key() || string(got.raw()) != string(m.Raw()) {
		t.Fatalf("read back %+v, %v", got, err)
	}
	swapped := *good
	swapped.Message = unitstest.ID("another")
	v, _ := json.Marshal(swapped)
	for name, damage := range map[string]struct {
		key   string
		value []byte
	}{
		"empty":           {keyTask + good.key(), nil},
		"cut":             {keyTask + good.key(), raw[:len(raw)/2]},
		"a byte flipped":  {keyTask + good.key(), append(append([]byte(nil), raw[:len(raw)-1]...), raw[len(raw)-1]^1)},
		"length too long": {keyTask + good.key(), []byte{255, 255, 255, 255, 255, 255, 255, 255, 127}},
		"another message": {keyTask + good.key(), append(append([]byte{byte(len(v)&0x7f | 0x80), byte(len(v) >> 7)}, v...), m.Raw()...)},
		"another key":     {keyTask + "x/y", raw},
		"clock":           {keyClock, []byte("x")},
	} {
		st := memory(t)
		var b store.Batch
		b.Put(damage.key, damage.value)
		if err := st.Commit(&b); err != nil {
			t.Fatal(err)
		}
		_, err := New(Config{Store: st, Signer: w.mu, Network: network, Directory: w, Archive: archive{town: w}})
		if !errors.Is(err, errTask) {
			t.Errorf("%s: %v, want that it is damaged", name, err)
		}
	}
}

func FuzzParseTask(f *testing.F) {
	w := newTown(f)
	m := unitstest.Message(f, w.user, unitstest.ID("a"), "hello")
	good := &task{Root: m.ID(), Process: m.Target(), Message: m.ID(), Stage: stageCompute, Slot: 7, message: m}
	st := memory(f)
	var b store.Batch
	if err := errors.Join(good.put(&b), st.Commit(&b)); err != nil {
		f.Fatal(err)
	}
	raw, err := st.Get(keyTask + good.key())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{0})
	f.Add([]byte{2, '{', '}'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parseTask(b); err == nil && !p.message.IsZero() && p.message.ID() != p.Message {
			t.Errorf("took a record of %s with the message %s", p.Message, p.message.ID())
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("an empty config was taken")
	}
}

func BenchmarkPush(b *testing.B) {
	w := newTown(b)
	a := w.spawn("a")
	u := w.started()
	msgs := make([]ao.Message, b.N)
	for i := range msgs {
		msgs[i] = w.message(a, time.Duration(i).String())
	}
	b.ResetTimer()
	for _, m := range msgs {
		if _, err := u.Push(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
}
