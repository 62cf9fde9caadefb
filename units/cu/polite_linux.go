package cu

import "golang.org/x/sys/unix"

// politeness is how much is taken from the priority of work that others must not wait for.
const politeness = 10

// yieldToOthers lowers the priority of the calling thread. Without that its work is only less polite.
func yieldToOthers() {
	self := unix.Gettid()
	if p, err := unix.Getpriority(unix.PRIO_PROCESS, self); err == nil { // 20 less the niceness
		_ = unix.Setpriority(unix.PRIO_PROCESS, self, min(20-p+politeness, 19))
	}
}
