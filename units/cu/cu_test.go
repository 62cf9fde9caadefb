package cu_test

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
)

func TestComputer(t *testing.T) {
	unitstest.TestComputer(t, func(t *testing.T) unitstest.ComputerFixture {
		w := newWorld(t)
		c := w.chain(t, "p", 11)
		w.directory.put(c.Entries())
		ticking := w.ticking(t, "ticking")
		w.directory.put(ticking.Entries())
		atHead := func() time.Time { return time.UnixMilli(unitstest.ChainStart + 4503).Add(units.CronMargin) }
		return unitstest.ComputerFixture{
			Computer: w.run(t, func(c *cu.Config) { c.Now = atHead }), Ticking: ticking.Process(), Network: network, Process: c.Process(), Slots: 11, Entries: c.Entries(),
			Unit: unitstest.Address(w.unit), Query: ao.Query{Data: []byte("?")},
		}
	})
}

func TestNewRefuses(t *testing.T) {
	w := newWorld(t)
	for name, spoil := range map[string]func(*cu.Config){
		"store":     func(c *cu.Config) { c.Store = nil },
		"signer":    func(c *cu.Config) { c.Signer = nil },
		"network":   func(c *cu.Config) { c.Network = "" },
		"machine":   func(c *cu.Config) { c.Machine = nil },
		"directory": func(c *cu.Config) { c.Directory = nil },
		"number":    func(c *cu.Config) { c.MaxHot = -1 },
		"age":       func(c *cu.Config) { c.BatchAge = -1 },
	} {
		cfg := w.config()
		spoil(&cfg)
		if _, err := cu.New(cfg); !errors.Is(err, cu.ErrConfig) {
			t.Errorf("%s: %v, want ErrConfig", name, err)
		}
	}
}

func TestNoGoroutineIsLeft(t *testing.T) {
	w := newWorld(t)
	ids := []ao.ID{w.serve(t, "a", 6), w.serve(t, "b", 6), w.serve(t, "c", 6)}
	w.directory.faults[3] = ao.Refuse("log", ao.Unreachable, "gone")
	before := runtime.NumGoroutine()
	for range 5 {
		u := w.run(t, w.settling, func(c *cu.Config) { c.MaxHot = 2 })
		for _, id := range ids {
			compute(t, u, id, 2)
			_, err := u.Compute(unitstest.Context(t), id, 5)
			unitstest.WantRefusal(t, err, ao.Unreachable)
		}
		u.stop()
		if s := u.Status(); s.Hot != 0 || s.Waiting != 0 || s.Working != 0 {
			t.Errorf("status after the end: %+v", s)
		}
	}
	await(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

func TestRunTwice(t *testing.T) {
	w := newWorld(t)
	u := w.run(t)
	compute(t, u, w.serve(t, "p", 1), 0)
	if err := u.Run(unitstest.Context(t)); err == nil {
		t.Error("a unit runs twice")
	}
}
