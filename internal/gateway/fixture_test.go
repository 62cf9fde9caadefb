package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

// network is the directory of the tests: one scheduler and one computer.
type network struct {
	units.Directory
	log      units.Log
	computer units.Computer
}

func (n network) Log(context.Context, ao.ID) (units.Log, error) { return n.log, nil }

func (n network) Process(ctx context.Context, id ao.ID) (ao.Process, error) {
	es, err := n.log.Range(ctx, id, 0, 1)
	if err != nil {
		return ao.Process{}, err
	}
	return es[0].Message.Process()
}

// fixture is a gateway on units in memory, with a log of ten slots.
type fixture struct {
	scheduler *unitstest.Memory
	computer  *unitstest.Echo
	messenger *unitstest.Courier
	owner     ans104.Signer
	chain     *unitstest.Chain
	cfg       Config
	gateway   *Gateway
	handlers  map[Surface]http.Handler
	all       http.Handler
}

// now is the clock of the tests.
func now() time.Time { return time.UnixMilli(unitstest.ChainStart + 1_000_000) }

func newFixture(t *testing.T, change ...func(*fixture)) *fixture {
	t.Helper()
	signer := unitstest.Signer("gateway/scheduler")
	f := &fixture{scheduler: unitstest.NewMemory(signer), owner: unitstest.Signer("gateway/owner"), handlers: map[Surface]http.Handler{}}
	f.computer = unitstest.NewEcho("test", unitstest.Signer("gateway/computer"), f.scheduler)
	f.messenger = unitstest.NewCourier(f.scheduler, f.computer)
	f.chain = unitstest.NewChain(t, signer, unitstest.Spawn(t, f.owner, unitstest.Address(signer), "gateway"))
	for i := 1; i < 10; i++ {
		f.chain.Add(t, unitstest.Message(t, f.owner, f.chain.Process(), "message "+ao.Slot(i).String(), ao.Tag{Name: "Number", Value: ao.Slot(i).String()}))
	}
	f.scheduler.Load(f.chain)
	f.cfg = Config{
		Address: f.scheduler.Address(), Messenger: f.messenger, Scheduler: f.scheduler, Computer: f.computer,
		Directory: network{log: f.scheduler, computer: f.computer}, Height: func() (uint64, bool) { return 1_522_873, true },
		Status: func() (any, error) { return map[string]any{"name": "test"}, nil }, Now: now,
	}
	for _, c := range change {
		c(f)
	}
	var err error
	if f.gateway, err = New(f.cfg); err != nil {
		t.Fatal(err)
	}
	for _, s := range Surfaces() {
		f.handlers[s] = f.gateway.Handler(s)
	}
	f.all = f.gateway.Handler(Surfaces()...)
	return f
}

// other is a second process, with a log of one slot.
func (f *fixture) other(t *testing.T) ao.ID {
	t.Helper()
	signer := unitstest.Signer("gateway/scheduler")
	c := unitstest.NewChain(t, signer, unitstest.Spawn(t, f.owner, unitstest.Address(signer), "other"))
	f.scheduler.Load(c)
	return c.Process()
}

// ask sends a request to a surface.
func (f *fixture) ask(s Surface, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	f.handlers[s].ServeHTTP(w, r)
	return w
}

// get is the JSON of a GET that must be answered.
func get[T any](t *testing.T, f *fixture, s Surface, path string) (v T) {
	t.Helper()
	w := f.ask(s, "GET", path, "")
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s: %d %s", path, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("GET %s: %v in %s", path, err, w.Body)
	}
	return v
}
