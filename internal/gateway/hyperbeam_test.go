package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

// recorded is what a HyperBEAM node posts with a slot: header-cased names, values that are no texts, a padded height.
const recorded = `{"page_info":{"process":"P","has_next_page":false,"timestamp":"1755000009000","block-height":"1700001","block-hash":"H"},"edges":[{"cursor":4,"node":{` +
	`"message":{"Id":"M","Anchor":"","Owner":"O","From":"O","Tags":[{"name":"Action","value":"Eval"},{"name":"Count","value":7}],"Target":"P","Data":"return 1","Signature":"S"},` +
	`"assignment":{"Id":"A","Anchor":"","Owner":"N","From":"N","Tags":[{"name":"Block-Hash","value":"H"},{"name":"Block-Height","value":"000001700000"},` +
	`{"name":"Block-Timestamp","value":1755000000},{"name":"Data-Protocol","value":"ao"},{"name":"Epoch","value":"0"},{"name":"Hash-Chain","value":"H"},` +
	`{"name":"Path","value":"compute"},{"name":"Process","value":"P"},{"name":"Slot","value":4},{"name":"Timestamp","value":1755000003000},` +
	`{"name":"Type","value":"Assignment"},{"name":"Variant","value":"ao.N.1"}],"Target":"","Data":"","Signature":"S"}}}]}`

// named puts IDs in the places of the letters.
func named(raw string) string {
	for _, letter := range []string{"P", "M", "A", "H", "N", "O", "S"} {
		raw = strings.ReplaceAll(raw, `"`+letter+`"`, `"`+unitstest.ID(letter).String()+`"`)
	}
	return raw
}

// beside is a node's computer, which notes what is handed to it.
type beside struct {
	units.Computer
	units.Log
	handed *ao.Entry
	err    error
}

func (b *beside) Compute(ctx context.Context, process ao.ID, slot ao.Slot) (units.Answer, error) {
	if e, ok := units.Handed(ctx, process, slot); ok {
		b.handed = &e
	}
	r, err := ao.ParseResponse([]byte(`{"ok":true,"response":{"Output":{"data":"1"},"Messages":[{"Target":"t"}],"Patches":[{"x":1}]}}`))
	if b.err != nil {
		err = b.err
	}
	return units.Answer{Slot: slot, Result: r}, err
}

func (b *beside) Range(_ context.Context, _ ao.ID, from ao.Slot, _ int) ([]ao.Entry, error) {
	p, err := ao.ParseTold([]byte(strings.Replace(named(recorded), `"Slot","value":4`, `"Slot","value":`+from.String(), 1)))
	return p.Entries, err
}

func newBeside(t *testing.T) (*fixture, *beside, http.Handler) {
	t.Helper()
	b := &beside{}
	f := newFixture(t, func(f *fixture) {
		b.Computer, b.Log = f.computer, f.scheduler
		f.cfg.Computer, f.cfg.Directory = b, network{log: b, computer: b}
		f.cfg.Standing = func(ao.ID) (units.Standing, error) { return units.Standing{Recorded: 4, Next: 2}, nil }
		f.cfg.Save = func(_ context.Context, p ao.ID) (ao.AssignmentFields, error) {
			if p != unitstest.ID("P") {
				return ao.AssignmentFields{}, ao.Refuse("compute", ao.UnknownProcess, "not in memory")
			}
			return ao.AssignmentFields{Process: p, Nonce: 6, Timestamp: 7, BlockHeight: 8}, nil
		}
	})
	return f, b, f.gateway.Handler(Computer, HyperBEAM)
}

func askOf(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestHyperBEAMAsks: a recorded request of a HyperBEAM node is answered as its own computer answers it.
func TestHyperBEAMAsks(t *testing.T) {
	f, b, h := newBeside(t)
	pid := unitstest.ID("P").String()
	w := askOf(h, "POST", "/result/4?process-id="+pid, named(recorded), "Content-Type", "application/json")
	if w.Code != http.StatusOK || w.Body.String() != `{"Messages":[{"Target":"t"}],"Assignments":[],"Spawns":[],"Output":{"data":"1"},"Patches":[{"x":1}]}` {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if b.handed == nil || string(b.handed.Message.Data()) != "return 1" || b.handed.Message.Owner() != unitstest.ID("O").String() {
		t.Errorf("handed over: %+v", b.handed)
	}
	for name, want := range map[string]string{
		"Message": unitstest.ID("M").String(), "timestamp": "1755000003000", "block-height": "1700000", "slot": "4", "cold-start": "false",
		"cu-cached": "false", "eval-stream-length": "3", "Content-Type": "application/json",
		"ao-types": "timestamp=integer,block-height=integer,slot=integer,cold-start=atom,cu-cached=atom,eval-stream-length=integer",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	b.handed = nil
	w = askOf(h, "GET", "/result/3?process-id="+pid, "")
	if w.Code != http.StatusOK || w.Header().Get("slot") != "3" || w.Header().Get("cu-cached") != "true" || w.Header().Get("eval-stream-length") != "0" || b.handed != nil {
		t.Errorf("without a body: %d %s %v", w.Code, w.Body, w.Header())
	}
	edge := recorded[strings.Index(recorded, `{"cursor"`):strings.LastIndex(recorded, `]}`)]
	for name, text := range map[string]string{
		"another slot": strings.Replace(recorded, `"Slot","value":4`, `"Slot","value":5`, 1), "two": strings.Replace(recorded, edge, edge+","+edge, 1),
		"none": strings.Replace(recorded, edge, "", 1), "another process": strings.Replace(recorded, `"Process","value":"P"`, `"Process","value":"M"`, 1),
		"an ID alone": recorded[:strings.Index(recorded, `,"Anchor"`)] + "}," + recorded[strings.Index(recorded, `"assignment"`):], "no body": "",
	} {
		if w := askOf(h, "POST", "/result/4?process-id="+pid, named(text)); w.Code != http.StatusOK || b.handed != nil {
			t.Errorf("%s: %d %s; handed over: %+v", name, w.Code, w.Body, b.handed)
		}
	}
	dry := `{"Id":"","Anchor":"","Owner":"","From":"","Target":"","Data":null,"Signature":"","Tags":[{"name":"Action","value":"Info"},{"name":"Count","value":7}]}`
	if w := askOf(h, "POST", "/dry-run?process-id="+f.chain.Process().String(), dry); w.Code != http.StatusOK {
		t.Errorf("dry-run: %d %s", w.Code, w.Body)
	}
	if w := askOf(h, "POST", "/dry-run?process-id="+f.chain.Process().String(), strings.Replace(dry, `7`, `[7]`, 1)); w.Code != http.StatusBadRequest {
		t.Errorf("dry-run with a list in a tag: %d %s", w.Code, w.Body)
	}
	for _, path := range []string{"/status", "/"} {
		if w := askOf(h, "GET", path, ""); w.Code != http.StatusOK || !json.Valid(w.Body.Bytes()) {
			t.Errorf("GET %s: %d %s", path, w.Code, w.Body)
		}
	}
}

// TestHyperBEAMIsRefused: what the door does not take, and from whom.
func TestHyperBEAMIsRefused(t *testing.T) {
	_, b, h := newBeside(t)
	pid := unitstest.ID("P").String()
	good := "/result/4?process-id=" + pid
	for name, c := range map[string]struct {
		method, path, body string
		headers            []string
		status             int
	}{
		"a page of the web":      {"POST", good, named(recorded), []string{"Origin", "https://example.org"}, 403},
		"no page":                {"POST", good, "[]", nil, 400},
		"a message, no slot":     {"POST", "/result/" + pid + "?process-id=" + pid, named(recorded), nil, 400},
		"a slot that is none":    {"GET", "/result/04?process-id=" + pid, "", nil, 400},
		"no process":             {"POST", "/result/4", named(recorded), nil, 400},
		"too much":               {"POST", good, strings.Repeat("x", ao.MaxTold+1), nil, 413},
		"another method":         {"PUT", good, "", nil, 405},
		"no state":               {"POST", "/snapshot/" + unitstest.ID("x").String(), "{}", nil, 404},
		"a process that is none": {"POST", "/snapshot/x", "{}", nil, 400},
	} {
		if w := askOf(h, c.method, c.path, c.body, c.headers...); w.Code != c.status || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: %d %.200s, want %d", name, w.Code, w.Body, c.status)
		}
	}
	b.err = ao.Refuse("compute", ao.BadLog, "slot 4: broken")
	if w := askOf(h, "POST", good, named(recorded)); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "broken") {
		t.Errorf("a bad log: %d %s", w.Code, w.Body)
	}
}

// TestSnapshot: a checkpoint is written, and the answer says of what.
func TestSnapshot(t *testing.T) {
	f, _, _ := newBeside(t)
	f.cfg.Directory = network{log: f.scheduler, computer: f.computer}
	pid := f.chain.Process()
	f.cfg.Save = func(context.Context, ao.ID) (ao.AssignmentFields, error) {
		return ao.AssignmentFields{Process: pid, Nonce: 6, Timestamp: 7, BlockHeight: 8}, nil
	}
	g, err := New(f.cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := askOf(g.Handler(HyperBEAM), "POST", "/snapshot/"+pid.String(), "{}")
	var out snapshotInfo
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != http.StatusOK || !out.Success || out.At.Nonce != "6" || out.At.Height != 8 {
		t.Fatalf("%d %s, %v", w.Code, w.Body, err)
	}
	for name, want := range map[string]string{"nonce": "6", "ordinate": "6", "timestamp": "7", "block-height": "8", "epoch": "0", "module-id": out.At.Module} {
		if got := w.Header().Get("snapshot-" + name); got != want || got == "" {
			t.Errorf("snapshot-%s: %q, want %q", name, got, want)
		}
	}
	f.cfg.Save = func(context.Context, ao.ID) (ao.AssignmentFields, error) {
		return ao.AssignmentFields{}, errors.New("disk")
	}
	if g, err = New(f.cfg); err != nil {
		t.Fatal(err)
	}
	if w := askOf(g.Handler(HyperBEAM), "POST", "/snapshot/"+pid.String(), "{}"); w.Code != http.StatusInternalServerError {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	f.cfg.Save = nil
	if g, err = New(f.cfg); err != nil {
		t.Fatal(err)
	}
	if w := askOf(g.Handler(HyperBEAM), "POST", "/snapshot/"+pid.String(), "{}"); w.Code != http.StatusNotFound {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestHyperBEAMOnLoopback: the door is not for others than this machine.
func TestHyperBEAMOnLoopback(t *testing.T) {
	f := newFixture(t)
	for at, ok := range map[string]bool{
		":6363": true, "127.0.0.1:6363": true, "[::1]:6363": true, "localhost:6363": true, "0.0.0.0:6363": false, "192.0.2.1:6363": false, "example.org:6363": false,
	} {
		f.cfg.Doors = []Door{{Listen: at, Surfaces: []Surface{Computer, HyperBEAM}}}
		if _, err := New(f.cfg); (err == nil) != ok {
			t.Errorf("%s: %v", at, err)
		}
		f.cfg.Doors[0].Surfaces = f.cfg.Doors[0].Surfaces[:1]
		if _, err := New(f.cfg); err != nil {
			t.Errorf("%s, without what a HyperBEAM node asks: %v", at, err)
		}
	}
}
