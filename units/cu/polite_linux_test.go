package cu

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPolite: the work has a lower priority, and whoever waits for it keeps theirs.
func TestPolite(t *testing.T) {
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
	p := newPolite(1)
	defer p.close()
	p.run(func() { during = niceness() })
	if want := min(before+politeness, 19); during != want {
		t.Errorf("niceness %d during the work, want %d", during, want)
	}
	again := 0
	p.run(func() { again = niceness() })
	if again != during {
		t.Errorf("niceness %d the second time, %d the first", again, during)
	}
	if after := niceness(); after != before {
		t.Errorf("niceness %d after the work, %d before", after, before)
	}
}
