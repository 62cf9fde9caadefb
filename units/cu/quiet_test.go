package cu

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestQuiet: whoever waits for quiet goes on when the last one ends, at the latest after a while, and at once if nobody works.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q quiet
		began := time.Now()
		waited := func(ctx context.Context, want time.Duration) {
			t.Helper()
			began = time.Now()
			q.wait(ctx, time.Second)
			if took := time.Since(began); took != want {
				t.Errorf("waited for %v, want %v", took, want)
			}
		}
		waited(t.Context(), 0)
		q.begin()
		q.begin()
		waited(t.Context(), time.Second)
		time.AfterFunc(200*time.Millisecond, q.end)
		time.AfterFunc(300*time.Millisecond, q.end)
		waited(t.Context(), 300*time.Millisecond)
		waited(t.Context(), 0)
		q.begin()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		waited(ctx, 100*time.Millisecond)
		q.end()
	})
}
