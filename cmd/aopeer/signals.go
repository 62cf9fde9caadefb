package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// hurryKey is the context's key for the second signal.
type hurryKey struct{}

// signalled gives a context that ends with the first SIGINT or SIGTERM and carries a channel that the second one closes.
// A third ends the program on the spot, as signals do.
func signalled(ctx context.Context) (context.Context, context.CancelFunc) {
	hurry := make(chan struct{})
	ctx, cancel := context.WithCancel(context.WithValue(ctx, hurryKey{}, hurry))
	sent := make(chan os.Signal, 2)
	signal.Notify(sent, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-sent
		cancel()
		<-sent
		signal.Stop(sent)
		close(hurry)
	}()
	return ctx, func() { signal.Stop(sent); cancel() }
}

// hurried is closed by the second signal. Without signals it is nil, which never is.
func hurried(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(hurryKey{}).(chan struct{})
	return c
}

// hurry calls do when the second signal comes before ended is closed.
func hurry(ctx context.Context, ended <-chan struct{}, do func()) {
	select {
	case <-hurried(ctx):
		do()
	case <-ended:
	}
}
