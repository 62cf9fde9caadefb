package cu

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPolitely: the work has a lower priority, and whoever waits for it keeps theirs.
func TestPolitely(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	niceness := func() int {
		p, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
		if err != nil {
			t.Fatal(err)
		}
		return 20 - p
	}
	before, during := niceness(), 0
	politely(func() { during = niceness() })
	if want := min(before+politeness, 19); during != want {
		t.Errorf("niceness %d during the work, want %d", during, want)
	}
	if after := niceness(); after != before {
		t.Errorf("niceness %d after the work, %d before", after, before)
	}
}
