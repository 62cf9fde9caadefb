package bench

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pace is a ticker that is exact: Go's own come up to a millisecond late where nothing else goes on, and then all at once.
type pace struct{ file *os.File }

func newPace(first, every time.Duration) pace {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	must(err)
	must(unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{
		Value: unix.NsecToTimespec(max(int64(first), 1)), Interval: unix.NsecToTimespec(int64(every)),
	}, nil))
	return pace{os.NewFile(uintptr(fd), "timer")}
}

// wait returns at the next tick; of those that are over it takes all as one.
func (p pace) wait() {
	var n [8]byte
	_, err := p.file.Read(n[:])
	must(err)
}

func (p pace) stop() { _ = p.file.Close() }
