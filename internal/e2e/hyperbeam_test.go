//go:build e2e

package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units/unitstest"
)

// besideHyperBEAM has a computer started by one command stand beside a HyperBEAM node, of which a stand-in gives the schedule:
// what the node posts is evaluated, what it does not post is read, and a power cut in between changes nothing.
func besideHyperBEAM(t *testing.T, devnetHome string, net devnetFile) {
	t.Helper()
	home := filepath.Join(t.TempDir(), "cu")
	// Compiling takes a while, and is nothing new.
	if err := os.CopyFS(filepath.Join(home, "cache"), os.DirFS(filepath.Join(devnetHome, "cache"))); err != nil {
		t.Fatal(err)
	}
	beam := unitstest.NewHyperBEAM()
	server := httptest.NewServer(beam)
	defer server.Close()
	module, err := ao.ParseID(net.Module)
	if err != nil {
		t.Fatal(err)
	}
	pid := beam.Spawn("beamed", module, ao.ChainedSince)
	eval := func(name, lua string) ao.Slot {
		return beam.Add(pid, name, lua, nil, ao.Tag{Name: "Action", Value: "Eval"})
	}
	at := "127.0.0.1:" + strconv.Itoa(freePorts(t))
	args := []string{"run", "--role", "cu", "--gateway", net.Gateway, "--hyperbeam", server.URL, "--http", at, "--home", home}
	ask := func(method, path, body string) (string, http.Header) {
		t.Helper()
		r, err := http.NewRequest(method, "http://"+at+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %d %s, %v", method, path, res.StatusCode, raw, err)
		}
		return string(raw), res.Header
	}
	result := func(slot ao.Slot, want string) http.Header {
		t.Helper()
		text, h := ask("POST", "/result/"+slot.String()+"?process-id="+pid.String(), beam.Body(pid, slot))
		if !strings.Contains(text, want) || h.Get("slot") != slot.String() {
			t.Errorf("slot %d is %s, want %s in it", slot, text, want)
		}
		return h
	}
	d := start(t, "beside", args...)
	up := func() {
		until(t, "the computer beside the node", time.Minute, func() bool { code, _ := get("http://" + at + "/status"); return code == http.StatusOK })
	}
	up()
	result(0, `"Messages":[]`)
	asked := len(beam.Asked())
	result(eval("one", "X = 41 return X"), "41")
	if now := len(beam.Asked()); now != asked {
		t.Errorf("for a slot that the node posted it is asked %d times more", now-asked)
	}
	eval("two", "X = X + 1")
	if h := result(eval("three", "return X"), "42"); h.Get("eval-stream-length") != "2" {
		t.Errorf("of two slots it says %v", h)
	}
	ask("POST", "/snapshot/"+pid.String(), "{}")
	d.kill()
	start(t, "beside", args...)
	up()
	if h := result(3, "42"); h.Get("cu-cached") != "true" {
		t.Errorf("of a slot that was evaluated before a power cut it says %v", h)
	}
	result(eval("four", "Send({ Target = 'x', Data = tostring(X) }) return X + 1"), "43")
	if text, _ := ask("POST", "/dry-run?process-id="+pid.String(), `{"Owner":"","Target":"","Data":"return X","Tags":[{"name":"Count","value":1}]}`); !strings.Contains(text, `"Output"`) {
		t.Errorf("dry-run: %s", text)
	}
}
