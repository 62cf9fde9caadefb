package gateway

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/units/unitstest"
)

// bad is a request that must be refused, and how.
type bad struct {
	name    string
	surface Surface
	method  string
	path    string
	body    string
	headers []string
	status  int
	says    string // a part of {"error"}
}

// item signs an item with these tags by the fixture's owner.
func (f *fixture) item(t *testing.T, target, data string, tags ...string) string {
	t.Helper()
	fields := ans104.Fields{Data: []byte(data)}
	if target != "" {
		id, err := ao.ParseID(target)
		if err != nil {
			t.Fatal(err)
		}
		fields.Target = id[:]
	}
	for i := 0; i+1 < len(tags); i += 2 {
		fields.Tags = append(fields.Tags, ans104.Tag{Name: tags[i], Value: tags[i+1]})
	}
	it, err := ans104.Sign(f.owner, fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(it.Raw())
}

// spoilt is a text with one byte changed.
func spoilt(s string, at int) string {
	b := []byte(s)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 0xFF
	return string(b)
}

// badItems are bodies that are no message or process.
func (f *fixture) badItems(t *testing.T) []bad {
	pid := f.chain.Process().String()
	good := f.item(t, pid, "x", "Data-Protocol", "ao", "Type", "Message")
	stranger := f.item(t, "", "x", "Data-Protocol", "ao", "Type", "Process", "Module", pid, "Scheduler", unitstest.ID("nobody").String())
	var out []bad
	for _, s := range []Surface{Messenger, Scheduler} {
		add := func(name, body string, status int, says string) {
			out = append(out, bad{name: name, surface: s, method: "POST", path: "/", body: body, status: status, says: says})
		}
		add("no body", "", 400, "empty")
		add("text", "hello", 400, "parse item")
		add("json", `{"Target":"x"}`, 400, "parse item")
		add("zeros", strings.Repeat("\x00", 2000), 400, "parse item")
		add("an unknown kind of signature", "\xff\xff"+good[2:], 400, "signature type")
		add("half an item", good[:len(good)/2], 400, "too short")
		add("a spoilt signature", spoilt(good, 10), 400, "signature")
		add("spoilt data", spoilt(good, -1), 400, "signature")
		add("a spoilt presence byte", spoilt(good, 98), 400, "presence")
		add("no protocol", f.item(t, pid, "x", "Type", "Message"), 400, "protocol")
		add("another protocol", f.item(t, pid, "x", "Data-Protocol", "zone", "Type", "Message"), 400, "protocol")
		add("no type", f.item(t, pid, "x", "Data-Protocol", "ao"), 400, "Type")
		add("an unknown type", f.item(t, pid, "x", "Data-Protocol", "ao", "Type", "Assignment"), 400, "Type")
		add("a module", f.item(t, pid, "x", "Data-Protocol", "ao", "Type", "Module"), 400, "Type")
		add("no target", f.item(t, "", "x", "Data-Protocol", "ao", "Type", "Message"), 400, "target")
		add("a process without module", f.item(t, "", "x", "Data-Protocol", "ao", "Type", "Process", "Scheduler", "s"), 400, "Module")
		add("a process with a bad module", f.item(t, "", "x", "Data-Protocol", "ao", "Type", "Process", "Module", "m", "Scheduler", "s"), 400, "Module")
		add("a process without scheduler", f.item(t, "", "x", "Data-Protocol", "ao", "Type", "Process", "Module", pid), 400, "Scheduler")
		add("more than fits", strings.Repeat("x", 1<<16+1), 413, "more than")
	}
	for _, s := range []Surface{Messenger, Scheduler} {
		nobody := unitstest.ID("nobody").String()
		unknown := map[Surface]int{Messenger: 404, Scheduler: 400}[s]
		for query, status := range map[string]int{
			"process-id=" + pid: 400, "assign=" + nobody: 400, "process-id=&assign=" + nobody: 400, "process-id=" + pid + "&assign=short": 400,
			"process-id=" + pid + "&assign=" + nobody: unknown, "process-id=" + nobody + "&assign=" + nobody: unknown,
			"process-id=" + pid + "&assign=" + pid + "&exclude=a+b": 400, "process-id=" + pid + "&assign=" + pid + "&exclude=Data,,Data": 400,
			"process-id=" + pid + "&assign=" + pid + "&exclude=" + strings.Repeat("a,", 40) + "b": 400,
		} {
			out = append(out, bad{name: "half an assignment", surface: s, method: "POST", path: "/?" + query, status: status})
		}
	}
	return append(out,
		bad{name: "a foreign process", surface: Scheduler, method: "POST", path: "/", body: stranger, status: 403, says: "not allowed on this SU"},
		bad{name: "a foreign process", surface: Messenger, method: "POST", path: "/", body: stranger, status: 403, says: "wrong-scheduler"},
		bad{name: "a message to nowhere", surface: Scheduler, method: "POST", path: "/", body: f.item(t, unitstest.ID("nowhere").String(), "x", "Data-Protocol", "ao", "Type", "Message"), status: 400, says: "not found"},
		bad{name: "a message to nowhere", surface: Messenger, method: "POST", path: "/", body: f.item(t, unitstest.ID("nowhere").String(), "x", "Data-Protocol", "ao", "Type", "Message"), status: 404, says: "unknown-process"},
	)
}

// badQuestions are questions that have no answer.
func (f *fixture) badQuestions() []bad {
	pid := f.chain.Process().String()
	nobody := unitstest.ID("nobody").String()
	ask := func(s Surface, path string, status int, says string) bad {
		return bad{name: path, surface: s, method: "GET", path: path, status: status, says: says}
	}
	out := []bad{
		ask(Scheduler, "/short", 400, "no ID"),
		ask(Scheduler, "/"+pid[:42], 400, "no ID"),
		ask(Scheduler, "/"+pid+"x", 400, "no ID"),
		ask(Scheduler, "/"+strings.Repeat("!", 43), 400, "no ID"),
		ask(Scheduler, "/"+nobody, 400, "not found"),
		ask(Scheduler, "/"+nobody+"?process-id="+pid, 400, "not found"),
		ask(Scheduler, "/"+pid+"?process-id=", 400, "process-id"),
		ask(Scheduler, "/"+pid+"?process-id=x", 400, "process-id"),
		ask(Scheduler, "/"+pid+"?process-id="+nobody, 400, "not found"),
		ask(Scheduler, "/"+pid+"?limit=x", 400, "limit"),
		ask(Scheduler, "/"+pid+"?limit=0", 400, "limit"),
		ask(Scheduler, "/"+pid+"?limit=-1", 400, "limit"),
		ask(Scheduler, "/"+pid+"?limit=99999999999999999999", 400, "limit"),
		ask(Scheduler, "/"+pid+"?from=yesterday", 400, "from"),
		ask(Scheduler, "/"+pid+"?from=", 400, "from"),
		ask(Scheduler, "/"+pid+"?to=1e9", 400, "to"),
		ask(Scheduler, "/"+pid+"?from-nonce=x", 400, "from-nonce"),
		ask(Scheduler, "/"+pid+"?to-nonce=0x1", 400, "to-nonce"),
		ask(Scheduler, "/processes/x", 400, "no ID"),
		ask(Scheduler, "/processes/"+nobody, 400, "not found"),
		ask(Scheduler, "/"+nobody+"/latest", 400, "not found"),
		ask(Scheduler, "/x/latest", 400, "no ID"),
		ask(Scheduler, "/"+pid+"/earliest", 404, "no such route"),
		ask(Scheduler, "/"+pid+"/latest/more", 404, "no such route"),
		ask(Scheduler, "/result/"+pid, 404, "no such route"),
		ask(Messenger, "/"+pid, 404, "no such route"),
		ask(Messenger, "/monitor", 404, "no such route"),
		ask(Messenger, "/favicon.ico", 404, "no such route"),
		ask(Computer, "/result/"+pid, 400, "process-id"),
		ask(Computer, "/result/x?process-id="+pid, 400, "no ID"),
		ask(Computer, "/result/"+pid+"?process-id=x", 400, "process-id"),
		ask(Computer, "/result/"+nobody+"?process-id="+pid, 404, "unknown-message"),
		ask(Computer, "/result/"+nobody+"?process-id="+nobody, 404, "unknown-process"),
		ask(Computer, "/result", 404, "no such route"),
		ask(Computer, "/results/x", 400, "no ID"),
		ask(Computer, "/results/"+nobody, 404, "unknown-process"),
		ask(Computer, "/results/"+pid+"?limit=0", 400, "limit"),
		ask(Computer, "/results/"+pid+"?limit=many", 400, "limit"),
		ask(Computer, "/results/"+pid+"?sort=asc", 400, "sort"),
		ask(Computer, "/results/"+pid+"?sort=RANDOM", 400, "sort"),
		ask(Computer, "/cron/x", 400, "no ID"),
		ask(Computer, "/cron/"+nobody, 404, "unknown-process"),
		ask(Computer, "/state/x", 400, "no ID"),
		ask(Computer, "/state/"+pid+"?to=now", 400, "to"),
		ask(Computer, "/state/"+pid, 501, "no states"),
		ask(Computer, "/latest/"+pid, 404, "no such route"),
	}
	for name, c := range map[string]string{
		"no base64": "%%%", "no json": "aGVsbG8=", "a list": enc(`[1,2]`), "a number": enc(`7.5`), "nothing": enc(`{}`),
		"a bad time": enc(`{"timestamp":"soon","ordinate":"1"}`), "a negative time": enc(`{"timestamp":-4}`),
		"a bad order": enc(`{"timestamp":4,"ordinate":"1","sort":"UP"}`), "a bad interval": enc(`{"timestamp":4,"cron":"x-1-second"}`),
		"a fraction": enc(`{"timestamp":1.5}`), "much": strings.Repeat("A", 600), "deep": enc(strings.Repeat("[", 300)),
		"an object as time": enc(`{"timestamp":{},"ordinate":"1"}`),
	} {
		for _, list := range []string{"/results/", "/cron/"} {
			path := list + pid + "?from=" + strings.NewReplacer("%", "%25", "+", "%2B", "=", "%3D").Replace(c)
			out = append(out, bad{name: "a cursor with " + name, surface: Computer, method: "GET", path: path, status: 400, says: "cursor"})
		}
	}
	return out
}

func enc(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// badRuns are dry-runs and requests about ticks that are not served.
func (f *fixture) badRuns(t *testing.T) []bad {
	pid := f.chain.Process().String()
	dry := func(name, query, body string, status int, says string, headers ...string) bad {
		return bad{name: name, surface: Computer, method: "POST", path: "/dry-run" + query, body: body, headers: headers, status: status, says: says}
	}
	known := "?process-id=" + pid
	first := f.chain.Entries()[1].Message.ID().String()
	out := []bad{
		dry("no process", "", `{}`, 400, "process-id"),
		dry("half a process", "?process-id="+pid[:20], `{}`, 400, "process-id"),
		dry("an unknown process", "?process-id="+unitstest.ID("nobody").String(), `{}`, 404, "unknown-process"),
		dry("no body", known, ``, 400, "JSON"),
		dry("no json", known, `Owner=1`, 400, "JSON"),
		dry("a list", known, `[]`, 400, "JSON"),
		dry("null", known, `null`, 400, "JSON"),
		dry("half an object", known, `{"Owner":`, 400, "JSON"),
		dry("an owner that is a number", known, `{"Owner":4}`, 400, "JSON"),
		dry("tags that are an object", known, `{"Tags":{"a":"b"}}`, 400, "JSON"),
		dry("a tag that is a number", known, `{"Tags":[7]}`, 400, "JSON"),
		dry("too many tags", known, `{"Tags":[`+strings.TrimSuffix(strings.Repeat(`{"name":"a","value":"b"},`, 600), ",")+`]}`, 400, "tags"),
		dry("another target", known, `{"Target":"`+first+`"}`, 400, "Target"),
		dry("a state where there are none", known+"&to="+first, `{}`, 501, "no states"),
		dry("an unknown state", known+"&to="+unitstest.ID("nobody").String(), `{}`, 404, "unknown-message"),
		dry("half a state", known+"&to=x", `{}`, 400, "to"),
		dry("a bad age", known, `{}`, 400, "x-max-age", "X-Max-Age", "old"),
		dry("a negative age", known, `{}`, 400, "x-max-age", "X-Max-Age", "-1"),
		dry("more than fits", known, `{"Data":"`+strings.Repeat("x", 1<<16)+`"}`, 413, "more than"),
	}
	for _, method := range []string{"POST", "DELETE"} {
		about := func(name, path, body string, status int, says string) {
			out = append(out, bad{name: name, surface: Messenger, method: method, path: path, body: body, status: status, says: says})
		}
		about("no item", "/monitor/"+pid, "", 400, "parse")
		about("text", "/monitor/"+pid, "hello", 400, "parse")
		about("no process", "/monitor/x", "", 400, "no ID")
		about("another process", "/monitor/"+unitstest.ID("nobody").String(), f.item(t, pid, " "), 400, "target")
		about("an item without target", "/monitor/"+pid, f.item(t, "", " "), 400, "target")
		about("a spoilt item", "/monitor/"+pid, spoilt(f.item(t, pid, " "), -1), 400, "signature")
		about("a large item", "/monitor/"+pid, f.item(t, pid, strings.Repeat("x", 20<<10)), 413, "large")
	}
	return out
}

// badMethods are methods that a path does not have.
func (f *fixture) badMethods() (out []bad) {
	pid := f.chain.Process().String()
	for _, c := range []struct {
		surface Surface
		path    string
		methods []string
	}{
		{Messenger, "/", []string{"PUT", "DELETE", "PATCH", "BREW"}},
		{Messenger, "/monitor/" + pid, []string{"GET", "PUT"}},
		{Scheduler, "/" + pid, []string{"POST", "PUT", "DELETE"}},
		{Scheduler, "/timestamp", []string{"POST"}},
		{Scheduler, "/processes/" + pid, []string{"POST"}},
		{Computer, "/", []string{"POST"}},
		{Computer, "/result/" + pid, []string{"POST", "DELETE"}},
		{Computer, "/results/" + pid, []string{"POST"}},
		{Computer, "/dry-run", []string{"GET", "PUT"}},
		{Computer, "/state/" + pid, []string{"POST"}},
		{Computer, "/health", []string{"POST"}},
	} {
		for _, m := range c.methods {
			out = append(out, bad{name: m + " " + c.path, surface: c.surface, method: m, path: c.path, status: 405, says: "not answered here"})
		}
	}
	return out
}

// TestBadRequests: each is refused with its status and a reason, and leaves nothing behind.
func TestBadRequests(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.cfg.Limits.Body = 1 << 16
		f.cfg.Limits.BodyTime = 200 * time.Millisecond
		for _, s := range Surfaces() {
			f.cfg.Doors = append(f.cfg.Doors, Door{Listen: ":0", Surfaces: []Surface{s}})
		}
	})
	all := append(append(append(f.badItems(t), f.badQuestions()...), f.badRuns(t)...), f.badMethods()...)
	if len(all) < 80 {
		t.Fatalf("%d bad requests, want at least 80", len(all))
	}
	t.Logf("%d bad requests", len(all))
	ctx, stop := context.WithCancel(t.Context())
	goroutines := runtime.NumGoroutine() + 1 + len(f.cfg.Doors) // Run, and one that listens at each door
	ended := make(chan error, 1)
	go func() { ended <- f.gateway.Run(ctx) }()
	<-f.gateway.Ready()
	urls := f.gateway.URLs()
	client := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
	round := func(say func(string, ...any)) {
		for _, b := range all {
			b.send(client, urls[b.surface], say)
		}
		slowBody(t, urls[Messenger])
		halfBody(t, urls[Computer], f.chain.Process().String())
		client.CloseIdleConnections()
	}
	round(t.Errorf)
	memory := inUse()
	for range 3 {
		round(t.Errorf)
	}
	if n := settled(t, goroutines); n > goroutines {
		t.Errorf("%d goroutines, before it were %d", n, goroutines)
	}
	if m := inUse(); m > memory+4<<20 {
		t.Errorf("%d bytes in use, before it were %d", m, memory)
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the gateway ended with %v", err)
	}
}

// send asks, and holds the refusal to what it should be.
func (b bad) send(client *http.Client, url string, say func(string, ...any)) {
	r, err := http.NewRequest(b.method, url+b.path, strings.NewReader(b.body))
	if err != nil {
		say("%s: %v", b.name, err)
		return
	}
	for i := 0; i+1 < len(b.headers); i += 2 {
		r.Header.Set(b.headers[i], b.headers[i+1])
	}
	w, err := client.Do(r)
	if err != nil {
		say("%s: %v", b.name, err)
		return
	}
	defer w.Body.Close()
	if why := b.check(w); why != "" {
		say("%s (%s %s %.80s): %s", b.name, b.surface, b.method, b.path, why)
	}
}

func (b bad) check(w *http.Response) string {
	raw, err := io.ReadAll(w.Body)
	if err != nil {
		return err.Error()
	}
	var body map[string]string
	switch {
	case w.StatusCode != b.status:
		return fmt.Sprintf("%d %s, want %d", w.StatusCode, raw, b.status)
	case json.Unmarshal(raw, &body) != nil || len(body) != 1 || body["error"] == "":
		return fmt.Sprintf("it says %s", raw)
	case !strings.Contains(body["error"], b.says):
		return fmt.Sprintf("it says %q, want %q in it", body["error"], b.says)
	case w.Header.Get("Content-Type") != kindJSON || w.Header.Get("Access-Control-Allow-Origin") != "*":
		return fmt.Sprintf("its headers are %v", w.Header)
	case b.status == http.StatusMethodNotAllowed && w.Header.Get("Allow") == "":
		return "it does not say which methods there are"
	}
	return ""
}

// slowBody begins a body and does not go on: it is told so, and cut off.
func slowBody(t *testing.T, url string) {
	w, raw := sendRaw(t, url, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nonly this")
	if w.StatusCode != http.StatusRequestTimeout || !strings.Contains(raw, `{"error":"the body did not come`) {
		t.Errorf("a slow body: %d %s", w.StatusCode, raw)
	}
}

// halfBody announces more than may be sent, and is refused before it sends any of it.
func halfBody(t *testing.T, url, pid string) {
	w, raw := sendRaw(t, url, "POST /dry-run?process-id="+pid+" HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
	if w.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(raw, `{"error":`) {
		t.Errorf("a body of 100 GB: %d %s", w.StatusCode, raw)
	}
}

func sendRaw(t *testing.T, url, request string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	w, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	raw, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w, string(raw)
}

// settled waits until there are no more goroutines than that, or long enough; it returns how many there are.
func settled(t *testing.T, most int) int {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	patience := time.After(20 * time.Second)
	for runtime.NumGoroutine() > most {
		select {
		case <-tick.C:
		case <-patience:
			return runtime.NumGoroutine()
		case <-t.Context().Done():
			return runtime.NumGoroutine()
		}
	}
	return runtime.NumGoroutine()
}

// inUse is the memory that is left once what is not needed is gone.
func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
