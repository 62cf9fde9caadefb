//go:build e2e

package e2e

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var kills = flag.Int("kills", 2, "rounds of killing a whole devnet")

// TestKill kills a whole devnet, which is one process, at a random moment of a stream of commands, and finds every
// acknowledged message in exactly one slot of an unbroken, verified log. TestCrash does more to the units one by one.
func TestKill(t *testing.T) {
	t.Parallel()
	home := filepath.Join(t.TempDir(), "devnet")
	base := strconv.Itoa(freePorts(t))
	args := []string{"devnet", "--home", home, "--port-base", base}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for round := range *kills {
		d := start(t, "devnet", args...)
		awaitDevnet(t, d, home)
		process := must[spawned](t, "spawn", "--home", home).Process
		until(t, "evaluation", 90*time.Second, func() bool {
			return try(t, "eval", process, "N = 0", "--home", home, "--json").code == 0
		})
		acked := map[string]uint64{}
		send := func(n int, patience string, stop <-chan struct{}) {
			var lock sync.Mutex
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for range n / 4 {
						select {
						case <-stop: // the others would only wait for nobody
							return
						default:
						}
						o := try(t, "eval", process, "N = N + 1", "--no-wait", "--timeout", patience, "--home", home, "--json")
						var r reply
						if o.code == 0 && json.Unmarshal([]byte(o.stdout), &r) == nil {
							lock.Lock()
							acked[r.Message] = r.Slot
							lock.Unlock()
						} else {
							t.Logf("not acknowledged within %s: %s", patience, strings.TrimSpace(o.stderr))
						}
					}
				})
			}
			all.Wait()
		}
		killed := make(chan struct{})
		time.AfterFunc(time.Duration(rng.IntN(1200))*time.Millisecond, func() { d.kill(); close(killed) })
		send(20, "5s", killed)
		<-killed
		before := len(acked)
		// What the killed one left says nothing of its successor.
		if err := os.Remove(filepath.Join(home, "devnet.json")); err != nil {
			t.Fatal(err)
		}
		d = start(t, "devnet", args...)
		awaitDevnet(t, d, home)
		send(20, "60s", nil)
		if len(acked)-before != 20 {
			t.Fatalf("round %d: %d of 20 messages acknowledged after the restart", round, len(acked)-before)
		}
		checkLog(t, home, process, acked)
		if r := must[report](t, "verify", process, "--home", home); !r.OK || r.Slots < uint64(len(acked)) || len(r.Disputed) > 0 {
			t.Fatalf("round %d: %+v with %d acknowledged", round, r, len(acked))
		}
		t.Logf("round %d: %d acknowledged before the kill, 20 after", round, before)
		if code := d.interrupt(t); code != 0 {
			t.Fatalf("round %d: Ctrl-C ended with %d", round, code)
		}
	}
}

// checkLog: slots without a gap, time in order, every acknowledged message in its one slot.
func checkLog(t *testing.T, home, process string, acked map[string]uint64) {
	t.Helper()
	where := map[string]uint64{}
	last := int64(-1)
	for i, l := range logOf(t, home, process) {
		if l.Slot != uint64(i) || l.Timestamp <= last {
			t.Fatalf("slot %d stands at %d, time %d after %d", l.Slot, i, l.Timestamp, last)
		}
		last = l.Timestamp
		if old, dup := where[l.Message]; dup {
			t.Fatalf("message %s holds slots %d and %d", l.Message, old, l.Slot)
		}
		where[l.Message] = l.Slot
	}
	for m, slot := range acked {
		if got, ok := where[m]; !ok || got != slot {
			t.Fatalf("message %s was acknowledged in slot %d and stands in %d (%v)", m, slot, got, ok)
		}
	}
}
