//go:build !linux

package cu

// politely runs work. Threads have no priorities of their own here.
func politely(work func()) { work() }
