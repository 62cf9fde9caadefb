package cu

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// politeness is how much is taken from the priority of work that others must not wait for.
const politeness = 10

// politely runs work on a thread of its own to which the system gives what others leave of the processor, and waits for it.
func politely(work func()) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this goroutine, for its priority cannot be raised again
		defer close(done)
		self := unix.Gettid()
		if p, err := unix.Getpriority(unix.PRIO_PROCESS, self); err == nil { // 20 less the niceness
			_ = unix.Setpriority(unix.PRIO_PROCESS, self, min(20-p+politeness, 19)) // without it work is only less polite
		}
		work()
	}()
	<-done
}
