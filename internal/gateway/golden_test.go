package gateway

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/units/unitstest"
)

// TestExactAnswers holds whole answers to what stock clients read: the names, the order and the types of every field.
func TestExactAnswers(t *testing.T) {
	f := newFixture(t)
	pid := f.chain.Process().String()
	first := f.chain.Entries()[1]
	other := f.other(t)
	query := `{"Id":"1234","Target":"` + pid + `","Owner":"1234","Anchor":"0","Data":"<&>","Tags":[{"name":"Action","value":"Ask"},{"name":"Data-Protocol","value":"ao"}]}`
	for _, c := range []struct {
		name, method, path, body string
		surface                  Surface
		status                   int
	}{
		{"mu-root", "GET", "/", "", Messenger, 200},
		{"mu-push", "POST", "/", string(unitstest.Message(t, f.owner, f.chain.Process(), "new").Raw()), Messenger, 202},
		{"su-root", "GET", "/?process-id=" + pid, "", Scheduler, 200},
		{"su-timestamp", "GET", "/timestamp?process-id=" + pid, "", Scheduler, 200},
		{"su-page", "GET", "/" + pid + "?process-id=" + pid + "&limit=2", "", Scheduler, 200},
		{"su-page-nonces", "GET", "/" + pid + "?process-id=" + pid + "&from-nonce=8&to-nonce=9&show-anchor", "", Scheduler, 200},
		{"su-message", "GET", "/" + first.Message.ID().String() + "?process-id=" + pid, "", Scheduler, 200},
		{"su-process", "GET", "/processes/" + pid, "", Scheduler, 200},
		{"su-schedule", "POST", "/", string(unitstest.Message(t, f.owner, f.chain.Process(), "newer").Raw()), Scheduler, 200},
		{"su-assign", "POST", "/?process-id=" + other.String() + "&assign=" + first.Message.ID().String() + "&exclude=Data,Anchor", "", Scheduler, 200},
		{"su-assigned", "GET", "/" + other.String() + "/latest", "", Scheduler, 200},
		{"mu-assign", "POST", "/?process-id=" + other.String() + "&assign=" + f.chain.Entries()[2].Message.ID().String(), "", Messenger, 202},
		{"cu-root", "GET", "/", "", Computer, 200},
		{"cu-result", "GET", "/result/" + first.Assignment.ID().String() + "?process-id=" + pid, "", Computer, 200},
		{"cu-results", "GET", "/results/" + pid + "?limit=2", "", Computer, 200},
		{"cu-cron", "GET", "/cron/" + pid, "", Computer, 200},
		{"cu-dry-run", "POST", "/dry-run?process-id=" + pid, query, Computer, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := f.ask(c.surface, c.method, c.path, c.body)
			if w.Code != c.status {
				t.Fatalf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
			}
			for _, h := range []string{"Access-Control-Allow-Origin", "Access-Control-Expose-Headers"} {
				if w.Header().Get(h) != "*" {
					t.Errorf("%s is %q", h, w.Header().Get(h))
				}
			}
			golden(t, c.name, w.Body.Bytes())
		})
	}
}

// golden holds bytes to a file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
	}
}

// TestTextIsLossy: data that is no text is shown as the reference's decoder shows it, of a process it is null.
func TestTextIsLossy(t *testing.T) {
	for in, want := range map[string]string{
		"é€": "é€", "a\xffb": "a\uFFFDb", "\xe2\x82": "\uFFFD", "\xf0\x9f\x98x": "\uFFFDx", "\xc0\xaf": "\uFFFD\uFFFD",
	} {
		if got := text([]byte(in)); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
	f := newFixture(t)
	odd, err := ans104.Sign(f.owner, ans104.Fields{
		Tags: []ans104.Tag{{Name: "Data-Protocol", Value: "ao"}, {Name: "Type", Value: "Process"}, {Name: "Module", Value: pidText}, {Name: "Scheduler", Value: f.scheduler.Address()}},
		Data: []byte("a\xffb"), Anchor: []byte("0123456789abcdef0123456789abcdef"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if w := f.ask(Messenger, "POST", "/", string(odd.Raw())); w.Code != http.StatusAccepted {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	pid := odd.ID().String()
	p := get[processInfo](t, f, Scheduler, "/processes/"+pid)
	if p.Data != nil || p.Anchor == nil || *p.Anchor != "0123456789abcdef0123456789abcdef" || p.Target != nil {
		t.Errorf("the process is %+v", p)
	}
	n := get[node](t, f, Scheduler, "/"+pid+"/latest")
	if n.Message.Data != "a\uFFFDb" || n.Assignment.Anchor != nil || n.Message.Target != "" {
		t.Errorf("the entry is %+v", n.Message)
	}
}

const pidText = "l_nNWuKWjWJbAVDZhmf8BZKfDHDmMnqpSWWtOfkf1ik"
