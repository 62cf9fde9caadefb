//go:build e2e

package e2e

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// arlocalNeeds is what building arlocal's database takes, and in which packages of Debian it is.
var arlocalNeeds = map[string]string{"node": "nodejs", "npm": "npm", "g++": "g++", "make": "make", "python3": "python3"}

// arlocal is a folder with npm arlocal. Its database is built from source, which takes minutes: that is done only if it is
// asked for, and once.
func arlocal(t *testing.T) string {
	t.Helper()
	const name = "arlocal-1.1.66"
	if _, err := os.Stat(npmCache(t, name)); err == nil {
		return npmCache(t, name)
	}
	if os.Getenv("ARLOCAL") == "" {
		t.Skip("arlocal is not installed: `make e2e ARLOCAL=1` does it, which takes some minutes once")
	}
	for program, where := range arlocalNeeds {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("arlocal cannot be built without %s: install %s", program, where)
		}
	}
	node, err := exec.LookPath("node")
	if err == nil {
		node, err = filepath.EvalSymlinks(node)
	}
	if err != nil {
		t.Fatal(err)
	}
	prefix := filepath.Dir(filepath.Dir(node))
	if _, err := os.Stat(filepath.Join(prefix, "include", "node", "node_api.h")); err != nil {
		t.Skipf("arlocal cannot be built without the headers of node in %s/include/node: install libnode-dev", prefix)
	}
	return npmInstall(t, name, func(fresh string) {
		// An older avsc, which arlocal's bundles ask for, is not published any more.
		manifest := `{"private": true, "overrides": {"avsc": "5.7.7"}}`
		if err := os.WriteFile(filepath.Join(fresh, "package.json"), []byte(manifest), 0o644); err != nil {
			t.Fatal(err)
		}
	}, func(fresh string) {
		build := exec.Command("npx", "node-gyp", "rebuild", "--nodedir="+prefix)
		build.Dir = filepath.Join(fresh, "node_modules", "sqlite3")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build sqlite3: %v: %s", err, out[max(0, len(out)-4000):])
		}
	}, "arlocal@1.1.66")
}

// startArlocal serves an empty arlocal, and a front of it that mines a block now and then but never beside an upload: what
// comes in while it mines may be in a block and in no index.
func startArlocal(t *testing.T) (front, itself string) {
	t.Helper()
	folder, port := arlocal(t), strconv.Itoa(freePorts(t))
	cmd := exec.Command("node", filepath.Join(folder, "node_modules", "arlocal", "bin", "index.js"), port, "--hidelogs", "--dbpath", "db")
	cmd.Dir = t.TempDir()
	startCommand(t, "arlocal", cmd)
	itself = "http://127.0.0.1:" + port
	until(t, "arlocal", time.Minute, func() bool { status, _ := get(itself + "/info"); return status == http.StatusOK })

	at, err := url.Parse(itself)
	if err != nil {
		t.Fatal(err)
	}
	var mining sync.RWMutex
	proxy := httputil.NewSingleHostReverseProxy(at)
	proxy.ErrorLog = log.New(io.Discard, "", 0)                // of clients that went away
	proxy.Transport = &http.Transport{DisableKeepAlives: true} // node closes those that are idle, at times beneath a request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mining.RLock()
		defer mining.RUnlock()
		proxy.ServeHTTP(w, r)
	}))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			mining.Lock()
			get(itself + "/mine") // while arlocal is starting or ending it does nothing
			mining.Unlock()
		}
	}()
	t.Cleanup(func() { close(stop); <-done; server.Close() })
	return server.URL, itself
}

// TestArlocal is the demo's conversation with npm arlocal as its Arweave: it settles there, and is verified from there when
// nobody else is there any more.
func TestArlocal(t *testing.T) {
	t.Parallel()
	front, itself := startArlocal(t)
	home := filepath.Join(t.TempDir(), "devnet")
	args := []string{"devnet", "--demo", "--home", home, "--archive", front, "--port-base", strconv.Itoa(freePorts(t))}
	poor := try(t, args...)
	wallet := regexp.MustCompile(`wallet ([\w-]{43}) has nothing`).FindStringSubmatch(poor.stderr)
	if poor.code != 1 || wallet == nil {
		t.Fatalf("with an empty wallet: exit %d\n%s", poor.code, poor.stderr)
	}
	if status, body := get(itself + "/mint/" + wallet[1] + "/1000000000000000"); status != http.StatusOK {
		t.Fatalf("mint: %d %s", status, body)
	}
	demo := must[struct{ Reports []report }](t, args...)
	if len(demo.Reports) != 2 {
		t.Fatalf("the demo verified %d processes", len(demo.Reports))
	}
	for _, said := range demo.Reports {
		// Of the home it takes the compiled code and the network's name.
		r := must[report](t, "verify", said.Process, "--archive", itself, "--home", home)
		if !r.OK || r.Slots < 3 || r.Claimed != r.Slots || r.StateDigest != said.StateDigest || len(r.Disputed) != 0 {
			t.Fatalf("from arlocal alone: %+v; the demo said %+v", r, said)
		}
	}
	if other := try(t, "devnet", "--home", home); other.code != 1 || !strings.Contains(other.stderr, "--archive") {
		t.Fatalf("without --archive: exit %d %s", other.code, other.stderr)
	}
}
