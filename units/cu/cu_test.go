package cu_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
)

func yield() { runtime.Gosched() }

func TestComputer(t *testing.T) {
	unitstest.TestComputer(t, func(t *testing.T) unitstest.ComputerFixture {
		w := newWorld(t)
		c := w.chain(t, "p", 11)
		w.directory.put(c.Entries())
		return unitstest.ComputerFixture{
			Computer: w.run(t), Network: network, Process: c.Process(), Slots: 11, Entries: c.Entries(),
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
