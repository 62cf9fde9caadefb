package trial

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/devnet"
	"github.com/aopeer/aopeer/internal/gateway"
	"github.com/aopeer/aopeer/units"
)

// town is what a unit needs around it: an Arweave with the module, and a scheduler with the logs, both over HTTP.
type town struct {
	Town
	module ao.Module
	chain  *devnet.Devnet
	logs   *logs
	stop   context.CancelFunc
	all    sync.WaitGroup
}

// directory knows the town's one scheduler.
type directory struct {
	units.Directory
	logs *logs
}

// Log is the scheduler's, whatever the process. See units.Directory.
func (d directory) Log(context.Context, ao.ID) (units.Log, error) { return d.logs, nil }

func openTown(ctx context.Context, dir string, module ao.Module, cfg Config) (*town, error) {
	chain, err := devnet.New(devnet.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	t := &town{module: module, chain: chain, logs: &logs{byID: map[ao.ID]*history{}}, stop: stop}
	if err := t.serve(ctx, cfg); err != nil {
		t.close()
		return nil, err
	}
	location, err := ans104.Sign(key("scheduler"), ans104.Fields{Data: []byte("1"), Tags: []ans104.Tag{
		{Name: "Data-Protocol", Value: ao.DataProtocol},
		{Name: "Variant", Value: "ao.TN.1"},
		{Name: "Type", Value: "Scheduler-Location"},
		{Name: "Url", Value: t.Scheduler},
		{Name: "Time-To-Live", Value: "86400000"},
	}})
	if err == nil {
		err = chain.Put(ctx, module.Item(), location)
	}
	if err == nil {
		err = chain.Mine(3)
	}
	if err != nil {
		t.close()
		return nil, fmt.Errorf("publish module: %w", err)
	}
	return t, nil
}

// serve listens for both stand-ins.
func (t *town) serve(ctx context.Context, cfg Config) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", cfg.Gateway)
	if err != nil {
		return fmt.Errorf("listen for the stand-in of Arweave: %w", err)
	}
	server := &http.Server{Handler: t.chain, ReadHeaderTimeout: 10 * time.Second}
	t.all.Go(func() { _ = server.Serve(l) }) // it ends with Close
	context.AfterFunc(ctx, func() { _ = server.Close() })
	g, err := gateway.New(gateway.Config{
		Doors: []gateway.Door{{Listen: cfg.Schedule, Surfaces: []gateway.Surface{gateway.Scheduler}}}, Address: addressOf(key("scheduler")),
		Scheduler: t.logs, Directory: directory{logs: t.logs}, Log: t.logs, Height: func() (uint64, bool) { return 2_000_000, true },
		Status: func() (any, error) { return map[string]string{"name": "trial"}, nil },
	})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	t.all.Go(func() { ended <- g.Run(ctx) })
	select {
	case err := <-ended:
		return fmt.Errorf("serve the stand-in of a scheduler: %w", err)
	case <-g.Ready():
	}
	t.Town = Town{Gateway: "http://" + l.Addr().String(), Scheduler: g.URLs()[gateway.Scheduler], Address: addressOf(key("scheduler"))}
	return nil
}

// begin is a new process with n slots.
func (t *town) begin(ctx context.Context, name string, n int) (*history, error) {
	h, err := newHistory(t.module.ID(), name)
	if err != nil {
		return nil, err
	}
	if err := h.evaluate(n - 1); err != nil {
		return nil, err
	}
	t.logs.put(h)
	if err := t.chain.Put(ctx, h.process.Message().Item()); err != nil {
		return nil, fmt.Errorf("publish process: %w", err)
	}
	return h, nil
}

func (t *town) close() {
	t.stop()
	t.all.Wait()
	_ = t.chain.Close() // its folder is removed
}
