//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units/unitstest"
)

// listenerLua keeps the note that it is assigned, counts what a clock sends it, and tells both.
const listenerLua = `Ticked = 0
ao.addAssignable("note", { Action = "Note" })
Handlers.add("note", "Note", function(m) Noted = tostring(m.Target == ao.id) .. " " .. tostring(m.Data) end)
Handlers.add("tick", "Tick", function() Ticked = Ticked + 1 end)
Handlers.add("ask", "Ask", function(m) m.reply({ Data = tostring(Noted) .. ", " .. Ticked }) end)`

// clockLua sends the listener a tick every second, and counts blocks.
const clockLua = `Blocks = 0
Handlers.add("wake", "Wake", function() Send({ Target = "%s", Action = "Tick" }) end)
Handlers.add("block", "Block", function() Blocks = Blocks + 1 end)`

// useOverHTTP assigns, has a clock monitored, and has both computed once more by a computer that knows nothing of the mesh.
func useOverHTTP(t *testing.T, home, writer string, net devnetFile) {
	t.Helper()
	at := func(args ...string) []string { return append(args, "--home", home) }
	listener := must[spawned](t, at("spawn", "--data", listenerLua)...).Process
	clock := must[spawned](t, at("spawn", "--cron", "1-second", "--cron-tag", "Action=Wake",
		"--tag", "Cron-Interval=1-block", "--tag", "Cron-Tag-Action=Block", "--data", fmt.Sprintf(clockLua, listener))...).Process
	type monitored struct {
		Process, By string
		Monitored   bool
	}
	if m := must[monitored](t, at("monitor", clock)...); m.Process != clock || !m.Monitored || m.By == "" {
		t.Errorf("monitor: %+v", m)
	}
	if o := try(t, at("monitor", listener)...); o.code != 1 || !strings.Contains(o.stderr, "bad-tags") {
		t.Errorf("monitor of a process without a clock: exit %d, %s", o.code, o.stderr)
	}
	reference := newReference(t, net)
	alone := startAlone(t, net, reference)
	assignNotes(t, at, writer, listener, net)
	computeElsewhere(t, alone, reference)

	ticked := func() int {
		_, n, _ := strings.Cut(told(t, net.CU, listener, ""), ", ")
		i, err := strconv.Atoi(n)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	until(t, "two ticks", 60*time.Second, func() bool { return ticked() >= 2 })
	if m := must[monitored](t, at("unmonitor", clock, "--mu", net.MU)...); m.Process != clock || m.Monitored {
		t.Errorf("unmonitor: %+v", m)
	}
	if n := must[reply](t, at("eval", clock, "return Blocks")...).data(t); n == "0" {
		t.Error("no block woke the clock")
	}
	n, since := 0, time.Now()
	until(t, "end of the ticks", 60*time.Second, func() bool {
		if now := ticked(); now != n {
			n, since = now, time.Now()
		}
		return time.Since(since) > 3*time.Second
	})
	compareAlone(t, net.CU, alone, map[string][]logLine{
		listener: logOf(t, home, listener), clock: logOf(t, home, clock),
	})
}

// assignNotes gives the listener messages of the writer, across the mesh and over HTTP.
func assignNotes(t *testing.T, at func(...string) []string, writer, listener string, net devnetFile) {
	t.Helper()
	type assigned struct {
		Assignment, Process, Message, Price string
		Slot                                *uint64
	}
	note := must[reply](t, at("send", writer, "a note", "--action", "Note")...).Message
	a := must[assigned](t, at("assign", listener, note)...)
	if a.Slot == nil || a.Process != listener || a.Message != note {
		t.Fatalf("assign: %+v", a)
	}
	if got := told(t, net.CU, listener, a.Assignment); got != "false a note, 0" {
		t.Errorf("after the assignment it holds %q", got)
	}
	again := must[assigned](t, at("assign", listener, note, "--exclude", "Data")...)
	if again.Assignment != a.Assignment || again.Slot == nil || *again.Slot != *a.Slot {
		t.Errorf("assigned again: %+v, not %+v", again, a)
	}
	secret := must[reply](t, at("send", writer, "a secret", "--action", "Note")...).Message
	b := must[assigned](t, at("assign", listener, secret, "--exclude", "Data,Anchor", "--mu", net.MU)...)
	if len(b.Assignment) != 43 || b.Slot != nil {
		t.Fatalf("assign over HTTP: %+v", b)
	}
	if got := told(t, net.CU, listener, b.Assignment); !strings.HasPrefix(got, "false nil, ") {
		t.Errorf("after an assignment without data it holds %q", got)
	}
	if got := told(t, net.CU, listener, a.Assignment); got != "false a note, 0" {
		t.Errorf("looking back, it held %q", got)
	}
}

// told is what the listener tells a dry-run over HTTP, now or as it stood after a message.
func told(t *testing.T, cu, process, to string) string {
	t.Helper()
	at := cu + "/dry-run?process-id=" + process
	if to != "" {
		at += "&to=" + to
	}
	r, err := http.Post(at, "application/json", strings.NewReader(`{"Tags":[{"name":"Action","value":"Ask"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	var v struct{ Messages []struct{ Data string } }
	if err != nil || json.Unmarshal(raw, &v) != nil || len(v.Messages) != 1 {
		t.Fatalf("dry-run at %s: %d %.500s, %v", at, r.StatusCode, raw, err)
	}
	return v.Messages[0].Data
}

// reference is a scheduler of today's network with a process of two slots. What it does not know, the devnet's is asked.
type reference struct {
	url, process, message string
}

func newReference(t *testing.T, net devnetFile) reference {
	t.Helper()
	su, user := unitstest.NewReference(unitstest.Wallet("scheduler")), unitstest.Wallet("user")
	module, err := ao.ParseID(net.Module)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ao.SignProcess(user, module, su.Address(), nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := ao.SignMessage(user, p.ID(), ao.Tags{{Name: "Action", Value: "Eval"}}, []byte("return 'elsewhere'"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range []ao.Message{p, m} {
		if _, err := su.Put(item.Raw()); err != nil {
			t.Fatal(err)
		}
	}
	other, err := url.Parse(net.SU)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(other)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.RequestURI, p.ID().String()) {
			su.ServeHTTP(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return reference{s.URL, p.ID().String(), m.ID().String()}
}

// startAlone runs a computer that knows a gateway and a scheduler by their URLs, and is its URL.
func startAlone(t *testing.T, net devnetFile, r reference) string {
	t.Helper()
	at := "127.0.0.1:" + strconv.Itoa(freePorts(t))
	start(t, "alone", "run", "--role", "cu", "--gateway", net.Gateway, "--scheduler-url", r.url, "--http", at, "--home", filepath.Join(t.TempDir(), "cu"))
	return "http://" + at
}

// computeElsewhere waits for a computer, which has a process of today's network to compute.
func computeElsewhere(t *testing.T, alone string, r reference) {
	t.Helper()
	until(t, "computer by itself", 60*time.Second, func() bool {
		res, err := http.Get(alone + "/health")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	if got := string(fetch(t, alone+"/result/"+r.message+"?process-id="+r.process)); !strings.Contains(got, `"elsewhere"`) {
		t.Errorf("the result of a process of today's network is %s", got)
	}
}

// compareAlone holds what a computer by itself says of processes against what one of the mesh does.
func compareAlone(t *testing.T, mesh, alone string, logs map[string][]logLine) {
	t.Helper()
	for process, log := range logs {
		until := strconv.FormatInt(log[len(log)-1].Timestamp, 10) // with the ticks before it
		path := "/results/" + process + "?limit=1000&to=" + until
		if want, got := fetch(t, mesh+path), fetch(t, alone+path); !bytes.Equal(got, want) || bytes.Count(got, []byte(`"cursor"`)) < len(log) {
			t.Errorf("by itself it says of %s\n%s\nand on the mesh\n%s", process, got, want)
		}
		for _, l := range []logLine{log[len(log)/2], log[len(log)-1]} {
			path := "/state/" + process + "?to=" + strconv.FormatInt(l.Timestamp, 10)
			if want, got := fetch(t, mesh+path), fetch(t, alone+path); !bytes.Equal(got, want) || len(got) == 0 {
				t.Errorf("the states of %s after slot %d differ, in %d and %d bytes", process, l.Slot, len(got), len(want))
			}
		}
	}
}
