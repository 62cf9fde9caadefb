// Package unitstest holds every Scheduler, Log, Computer and Messenger to the contract of package units (§3.3-§3.5): one
// suite for each door, which the unit itself and its client across the mesh both pass.
//
// In comes a function that makes a fresh fixture; what comes out is a test's verdict. Beside the suites stand makers of
// keys, messages and whole logs that are the same on every run, and a scheduler in memory.
//
// It never looks behind a door, and it measures no time: what waits is released by the test, not by a clock.
//
// Start with scheduler.go and log.go; chain.go makes what they are fed.
package unitstest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
)

// patience ends a test that hangs. Nothing is asserted about it.
const patience = time.Minute

// Context is a context for one test; it ends with the test, or when the test hangs.
func Context(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// WantRefusal fails the test unless err is a refusal of that code.
func WantRefusal(t testing.TB, err error, code ao.Code) {
	t.Helper()
	var r *ao.Refusal
	if !errors.As(err, &r) {
		t.Errorf("error %v (%T), want a refusal %s", err, err, code)
		return
	}
	if r.Code != code {
		t.Errorf("refused with %v, want %s", r, code)
	}
	if r.Hop == "" {
		t.Errorf("refusal %v names no hop", r)
	}
}

// ended fails the test unless err says that ctx ended: the context's own error, or a refusal deadline.
func ended(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, &ao.Refusal{Code: ao.Deadline}) {
		return
	}
	t.Errorf("error %v, want that the context ended", err)
}

// cancelled is a context that has ended already.
func cancelled(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(Context(t))
	cancel()
	return ctx
}
