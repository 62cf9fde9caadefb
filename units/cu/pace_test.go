package cu

import (
	"testing"
	"time"
)

// TestSlownessIsForgottenByTheEntry: a process that was slow once is light again after some quick entries, however many of
// them were evaluated at a stretch, and not after the first.
func TestSlownessIsForgottenByTheEntry(t *testing.T) {
	for _, stretch := range []int{1, 64} {
		p := &worker{pace: 4 * heavyPace, tried: provenAfter}
		p.notePace(1, time.Millisecond)
		if p.class() != heavy {
			t.Errorf("light after one quick entry")
		}
		for n := 0; n < 64; n += stretch {
			p.notePace(stretch, time.Millisecond)
		}
		if p.class() != light {
			t.Errorf("not light after 64 quick entries, %d at a stretch: pace %v", stretch, p.pace)
		}
	}
}
