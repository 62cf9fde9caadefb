package wasmvm

import (
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strconv"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// tally is a native state machine that counts its messages and refuses those that ask for it.
type tally struct{}

type tallyState struct{ n uint64 }

func (tally) Begin(_ Genesis, state []byte) (NativeState, error) {
	s := &tallyState{}
	if len(state) == 8 {
		s.n = binary.BigEndian.Uint64(state)
	}
	return s, nil
}

func (s *tallyState) Apply(e ao.Entry) (ao.Result, error) {
	if e.Message.Tags().Get("Action") == "Fail" {
		return ao.Result{}, errors.New("as you wish")
	}
	s.n++
	switch e.Message.Tags().Get("Action") {
	case "Panic":
		panic("as you wish")
	case "Answer with an error":
		return ao.Failed("after a change"), nil
	}
	return Response(map[string]any{"Output": map[string]any{"data": s.n}})
}

func (s *tallyState) Tick(m ao.CronMessage) (ao.Result, error) {
	s.n++
	if m.Tags.Get("Action") == "Panic" {
		panic("as you wish")
	}
	return Response(map[string]any{"Output": map[string]any{"data": s.n}})
}

// deaf takes no ticks.
type deaf struct{ NativeState }

func (deaf) Begin(g Genesis, state []byte) (NativeState, error) {
	s, err := tally{}.Begin(g, state)
	return deaf{s}, err
}

func (s *tallyState) Query(q ao.Query, _ ao.AssignmentFields) (ao.Result, error) {
	if string(q.Data) == "panic" {
		s.n = 1000
		panic("as you wish")
	}
	return Response(map[string]any{"Output": s.n})
}

func (s *tallyState) Encode() []byte { return binary.BigEndian.AppendUint64(nil, s.n) }

func testSigner(tb testing.TB, seed byte) ans104.Signer {
	tb.Helper()
	key := make([]byte, ed25519.SeedSize)
	key[0] = seed
	return ans104.NewEd25519Signer(ed25519.NewKeyFromSeed(key))
}

// testEntry is the next entry of a process's log.
func testEntry(tb testing.TB, c *ao.Cursor, m ao.Message) ao.Entry {
	tb.Helper()
	a, err := ao.SignAssignment(testSigner(tb, 9), ao.AssignmentFields{
		Process: c.Process, Nonce: c.Next, HashChain: c.Link, BlockHeight: 1, Timestamp: c.Timestamp + 1, Message: m.ID(),
	})
	if err != nil {
		tb.Fatal(err)
	}
	e := ao.Entry{Proof: ao.ProofAssignment, Assignment: a, Message: m}
	if err := c.Step(e); err != nil {
		tb.Fatal(err)
	}
	return e
}

func TestNative(t *testing.T) {
	h, err := NewHost(Config{Natives: map[string]Native{"tally@1": tally{}}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	user := testSigner(t, 1)
	module, err := ao.SignModule(user, FormatNative, "1-mb", "1", []byte("tally@1"))
	if err != nil {
		t.Fatal(err)
	}
	spawn, err := ao.SignProcess(user, module.ID(), "scheduler", nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	process, err := spawn.Process()
	if err != nil {
		t.Fatal(err)
	}
	g := Genesis{Process: process, Module: module}
	if err := h.Prepare(t.Context(), module); err != nil {
		t.Fatal(err)
	}
	if got, want := h.Profile(g), "native;tally@1"; got != want {
		t.Fatalf("profile %q, want %q", got, want)
	}
	s, err := h.Begin(t.Context(), g, nil)
	if err != nil {
		t.Fatal(err)
	}
	cursor := ao.NewCursor(process.ID())
	say := func(action string, m ao.Message) ao.Result {
		t.Helper()
		if action != "" {
			if m, err = ao.SignMessage(user, process.ID(), ao.Tags{{Name: "Action", Value: action}}, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		var r ao.Result
		if s, r, err = h.Apply(t.Context(), s, testEntry(t, &cursor, m)); err != nil {
			t.Fatal(err)
		}
		return r
	}
	say("", spawn)
	if r := say("Fail", ao.Message{}); string(r.Error) != `"as you wish"` || r.Output != nil {
		t.Fatalf("a refusal became %+v", r)
	}
	for range maxRedo - 2 { // a snapshot is taken on the way, and then entries are applied again
		say("Count", ao.Message{})
		if r := say("Panic", ao.Message{}); string(r.Error) != `"native module panicked"` || r.Output != nil {
			t.Fatalf("a panic became %+v", r)
		}
		if r := say("Answer with an error", ao.Message{}); string(r.Error) != `"after a change"` {
			t.Fatalf("an error became %+v", r)
		}
	}
	say("Count", ao.Message{})
	tick := func(action string) (r ao.Result) {
		t.Helper()
		m := process.CronMessage(ao.CronInterval{Tags: ao.Tags{{Name: "Action", Value: action}}}, ao.Tick{Timestamp: 1000}, 1)
		if s, r, err = h.Tick(t.Context(), s, m); err != nil {
			t.Fatal(err)
		}
		return r
	}
	tick("Count") // is applied again too
	if r := tick("Panic"); string(r.Error) != `"native module panicked"` || r.Output != nil {
		t.Fatalf("a tick's panic became %+v", r)
	}
	say("Panic", ao.Message{})
	if r, err := h.DryRun(t.Context(), s, ao.Query{Data: []byte("panic")}, ao.AssignmentFields{}); err != nil || r.Error == nil {
		t.Fatalf("a query's panic became %+v, %v", r, err)
	}
	count := maxRedo + 1 // the spawn too

	// Rest, and wake elsewhere.
	img, err := DecodeImage(encoded(t, s), 0)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = h.Begin(t.Context(), g, img); err != nil {
		t.Fatal(err)
	}
	q, err := h.DryRun(t.Context(), s, ao.Query{}, ao.AssignmentFields{})
	if err != nil || string(q.Output) != strconv.Itoa(count) {
		t.Fatalf("dry-run: %s, %v", q.Output, err)
	}
	var out struct{ Data int }
	if err := json.Unmarshal(say("Again", ao.Message{}).Output, &out); err != nil || out.Data != count+1 {
		t.Fatalf("after the restore it counts %d (%v), want %d", out.Data, err, count+1)
	}
	if s, err = (&Host{cfg: Config{Natives: map[string]Native{"tally@1": deaf{}}}}).beginNative(g, img); err != nil {
		t.Fatal(err)
	}
	if r := tick("Count"); string(r.Error) != `"native module takes no ticks"` {
		t.Fatalf("a tick that is not taken became %+v", r)
	}
	other, err := ao.SignModule(user, FormatNative, "1-mb", "1", []byte("tally@2"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Prepare(t.Context(), other); !errors.Is(err, ErrFormat) {
		t.Fatalf("an unknown native module: %v", err)
	}
}
