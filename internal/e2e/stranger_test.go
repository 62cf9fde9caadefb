//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestStrangerPushesFirst: a stranger's copy of a public outbox reaches the target before the messenger's. It takes no
// effect; the trusted one does, once, however often it is pushed.
func TestStrangerPushesFirst(t *testing.T) {
	t.Parallel()
	home := filepath.Join(t.TempDir(), "devnet")
	_, net := devnet(t, home)
	bob := must[spawned](t, "spawn", "--home", home, "--name", "bob").Process
	alice := must[spawned](t, "spawn", "--home", home, "--name", "alice").Process
	must[reply](t, "eval", bob, `Handlers.add("ping", "Ping", function(msg) Pings = (Pings or 0) + 1 end)`, "--home", home)
	must[reply](t, "eval", alice, fmt.Sprintf(`Handlers.add("start", "Start", function(msg)
  Send({ Target = "%s", Action = "Ping" })
end)`, bob), "--home", home)

	// A cast is scheduled and nobody pushes its outbox.
	cast := must[reply](t, "send", alice, "--action", "Start", "--cast", "--home", home)
	if r := must[reply](t, "result", alice, strconv.FormatUint(cast.Slot, 10), "--home", home); len(r.Digest) == 0 {
		t.Fatalf("no result of the cast: %+v", r)
	}
	pings := func() string {
		return must[reply](t, "eval", bob, "return tostring(Pings or 0)", "--home", home).data(t)
	}
	if got := pings(); got != "0" {
		t.Fatalf("a cast's outbox was pushed: %s pings", got)
	}
	until(t, "settlement of the cast", 30*time.Second, func() bool {
		r := must[reply](t, "result", alice, strconv.FormatUint(cast.Slot, 10), "--home", home)
		return r.Finality != "acked"
	})

	stranger := filepath.Join(t.TempDir(), "stranger")
	if o := try(t, "init", "--home", stranger, "--network", net.Network); o.code != 0 {
		t.Fatal(o.stderr)
	}
	slot := strconv.FormatUint(cast.Slot, 10)
	repush := func(home, note string) {
		t.Helper()
		r := must[struct{ Hops []hop }](t, "repush", alice, slot, "--home", home)
		seen := ""
		for _, h := range r.Hops {
			if h.Hop == "schedule" {
				seen += h.Note
			}
		}
		if (note == "") != (seen == "") || count(seen, note) == 0 && note != "" {
			t.Fatalf("repush said %q, want %q in it", seen, note)
		}
	}
	repush(stranger, "does not trust")
	if got := pings(); got != "0" {
		t.Fatalf("the stranger's copy took effect: %s pings", got)
	}
	messenger := filepath.Join(home, "peers", "mu1")
	repush(messenger, "")
	if got := pings(); got != "1" {
		t.Fatalf("after the trusted push: %s pings, want 1", got)
	}
	repush(messenger, "")
	repush(stranger, "does not trust")
	if got := pings(); got != "1" {
		t.Fatalf("after pushing again: %s pings, want 1", got)
	}
	if r := must[report](t, "verify", bob, "--home", home); !r.OK || r.Claimed != r.Slots {
		t.Fatalf("%+v", r)
	}
}
