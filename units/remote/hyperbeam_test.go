package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

// beside is a HyperBEAM node with a process of ten slots, and the client of it.
type beside struct {
	node    *unitstest.HyperBEAM
	archive *fakeArchive
	logs    *HyperBEAM
	process ao.ID
}

func newBeside(t *testing.T, h http.Handler, node *unitstest.HyperBEAM) *beside {
	t.Helper()
	b := &beside{node: node, archive: newFakeArchive()}
	b.process = node.Spawn("p", unitstest.ID("module"), ao.ChainedSince)
	for i := 1; i < 10; i++ {
		node.Add(b.process, fmt.Sprint("message ", i), fmt.Sprint("data ", i), nil)
	}
	var err error
	if b.logs, err = NewHyperBEAM(serveHTTP(t, h)+"/", b.archive); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *beside) slots(t *testing.T, from ao.Slot, limit int) (out []string) {
	t.Helper()
	es, err := b.logs.Range(t.Context(), b.process, from, limit)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		out = append(out, e.Assignment.Nonce().String()+" "+string(e.Message.Data()))
	}
	return out
}

// TestHyperBEAMLog: the log of a node is read as the node's own computer reads it.
func TestHyperBEAMLog(t *testing.T) {
	for name, most := range map[string]int{"as it is": 0, "in a text, three at a time": 3} {
		t.Run(name, func(t *testing.T) {
			node := unitstest.NewHyperBEAM()
			if most > 0 {
				node.Quote(most)
			}
			b := newBeside(t, node, node)
			if got := b.slots(t, 4, 2); !slices.Equal(got, []string{"4 data 4", "5 data 5"}) {
				t.Errorf("%q", got)
			}
			want := "accept=application%2Faos-2&from=4&limit=2&target=" + b.process.String() + "&to=5"
			if asked := node.Asked(); !slices.Equal(asked, []string{want}) {
				t.Errorf("asked %q, want %q", asked, want)
			}
			for range 2 {
				if n, err := b.logs.Next(t.Context(), b.process); err != nil || n != 10 {
					t.Errorf("it ends at %d, %v", n, err)
				}
			}
			before := len(node.Asked())
			node.Add(b.process, "another", "more", nil)
			if n, err := b.logs.Next(t.Context(), b.process); err != nil || n != 11 || len(node.Asked()) != before+1 {
				t.Errorf("it ends at %d after %d more questions, %v", n, len(node.Asked())-before, err)
			}
			if got := b.slots(t, 11, 5); len(got) != 0 {
				t.Errorf("past the end %q", got)
			}
			var followed []ao.Slot
			stop := errors.New("enough")
			err := b.logs.Follow(t.Context(), b.process, 3, func(e ao.Entry) error {
				if followed = append(followed, e.Assignment.Nonce()); len(followed) == 8 {
					return stop
				}
				return nil
			})
			if !errors.Is(err, stop) || followed[0] != 3 || followed[7] != 10 {
				t.Errorf("followed %v, %v", followed, err)
			}
		})
	}
}

// TestHyperBEAMDirectory: a process is what its node says or, where an old log begins with a message, what Arweave has.
func TestHyperBEAMDirectory(t *testing.T) {
	node := unitstest.NewHyperBEAM()
	b := newBeside(t, node, node)
	dir := NewDirectory("test", "", nil, nil, b.archive, memory(t), quiet()).Told(b.logs)
	ctx := t.Context()
	p, err := dir.Process(ctx, b.process)
	if err != nil || p.ID() != b.process || p.Module() != unitstest.ID("module") {
		t.Errorf("%+v, %v", p, err)
	}
	if log, err := dir.Log(ctx, b.process); err != nil || log != units.Log(b.logs) {
		t.Errorf("%v, %v", log, err)
	}
	if _, err := dir.Process(ctx, unitstest.ID("x")); !errors.Is(err, &ao.Refusal{Code: ao.UnknownProcess}) {
		t.Errorf("of a stranger: %v", err)
	}
	if n, err := b.logs.Find(ctx, b.process, b.process); err != nil || n != 0 {
		t.Errorf("found at %d, %v", n, err)
	}
	if _, err := b.logs.Find(ctx, b.process, unitstest.ID("message 1")); !errors.Is(err, &ao.Refusal{Code: ao.UnknownMessage}) {
		t.Errorf("a message: %v", err)
	}
	if _, err := NewHyperBEAM("nowhere", b.archive); err == nil {
		t.Error("no URL is taken")
	}

	signed := unitstest.Spawn(t, unitstest.Wallet("owner"), unitstest.ID("su").String(), "old")
	b.archive.set(func() { b.archive.items[signed.ID()] = signed.Item() })
	old := httpFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := strings.ReplaceAll(node.Body(b.process, 1), b.process.String(), signed.ID().String())
		_, _ = w.Write([]byte(strings.Replace(rec, `"Slot","value":1`, `"Slot","value":0`, 1)))
	})
	logs, err := NewHyperBEAM(serveHTTP(t, old), b.archive)
	if err != nil {
		t.Fatal(err)
	}
	dir = NewDirectory("test", "", nil, nil, b.archive, memory(t), quiet()).Told(logs)
	if p, err := dir.Process(ctx, signed.ID()); err != nil || p.Message().Item() == nil {
		t.Errorf("an old process: %v", err)
	}
}

type httpFunc = http.HandlerFunc

// TestHyperBEAMNames: a message of which only the ID is told is fetched and verified.
func TestHyperBEAMNames(t *testing.T) {
	node := unitstest.NewHyperBEAM()
	b := newBeside(t, node, node)
	m := unitstest.Message(t, unitstest.Wallet("user"), unitstest.ID("elsewhere"), "on Arweave")
	bare := func(message, _ map[string]any) {
		clear(message)
		message["Id"] = m.ID().String()
	}
	node.Add(b.process, "named", "", bare)
	if _, err := b.logs.Range(t.Context(), b.process, 10, 1); !errors.Is(err, &ao.Refusal{Code: ao.Corrupt}) {
		t.Errorf("it is not there: %v", err)
	}
	if got := b.slots(t, 9, 2); !slices.Equal(got, []string{"9 data 9"}) {
		t.Errorf("before it: %q", got)
	}
	b.archive.set(func() { b.archive.items[m.ID()] = m.Item() })
	if got := b.slots(t, 9, 2); !slices.Equal(got, []string{"9 data 9", "10 on Arweave"}) {
		t.Errorf("%q", got)
	}
}

// TestHyperBEAMAnswersBadly: what is no schedule is refused, with the slot.
func TestHyperBEAMAnswersBadly(t *testing.T) {
	node := unitstest.NewHyperBEAM()
	pid := node.Spawn("q", unitstest.ID("module"), 1)
	node.Add(pid, "one", "", nil)
	for name, c := range map[string]struct {
		answer httpFunc
		code   ao.Code
	}{
		"no JSON":      {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, ao.BadLog},
		"another slot": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, node.Body(pid, 1)) }, ao.BadLog},
		"of another": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, strings.ReplaceAll(node.Body(pid, 0), pid.String(), unitstest.ID("x").String()))
		}, ao.BadLog},
		"nothing of it":  {http.NotFound, ao.UnknownProcess},
		"trouble":        {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, ao.Unreachable},
		"too much to do": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, ao.Busy},
		"somewhere else": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, ao.Unreachable},
		"an empty page": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"page_info":{"has_next_page":true},"edges":[]}`)
		}, ao.UnknownProcess},
		"an endless page": {func(w http.ResponseWriter, _ *http.Request) { endless(w) }, ao.TooLarge},
	} {
		logs, err := NewHyperBEAM(serveHTTP(t, c.answer), newFakeArchive())
		if err != nil {
			t.Fatal(err)
		}
		_, err = logs.Next(t.Context(), pid)
		if !errors.Is(err, &ao.Refusal{Code: c.code}) {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	logs, err := NewHyperBEAM("http://127.0.0.1:1", newFakeArchive())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := logs.Range(ctx, pid, 0, 1); !errors.Is(err, &ao.Refusal{Code: ao.Deadline}) {
		t.Errorf("nobody there: %v", err)
	}
}

// endless writes more than any page may have.
func endless(w http.ResponseWriter) {
	block := make([]byte, 1<<20)
	for range ao.MaxTold>>20 + 2 {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}
