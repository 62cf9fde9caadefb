package arweave_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/devnet"
	"github.com/aopeer/aopeer/internal/store"
)

var errPower = errors.New("power cut")

// TestNoItemIsLostInACrash fails every write of a bundle's life in turn, once before it is written and once after, starts
// again from the store, and looks that every item arrives.
func TestNoItemIsLostInACrash(t *testing.T) {
	for _, written := range []bool{false, true} {
		for at := 0; ; at++ {
			s := newTown(t)
			commits := 0
			faulty := &store.Faulty{Store: s.store}
			cut := func(*store.Batch) error {
				if commits++; commits == at+1 {
					return errPower
				}
				return nil
			}
			if written {
				faulty.After = cut
			} else {
				faulty.Before = cut
			}
			s.cfg.Store = faulty
			s.restart()
			items := []*ans104.Item{testItem(t, 1, []byte("small")), testItem(t, 2, bytes.Repeat([]byte("large"), 100_000))}
			crashes := 0
			again := func(err error) {
				if err == nil {
					return
				}
				if !errors.Is(err, errPower) {
					t.Fatal(err)
				}
				crashes++
				s.restart()
			}
			for range 2 {
				again(s.bundler.Put(context.Background(), items...))
				s.clock.add(time.Minute)
				for range 3 {
					_, err := s.bundler.Step(context.Background())
					again(err)
					s.mine(2)
					s.clock.add(time.Minute)
				}
			}
			s.served(items...)
			s.backlog(arweave.Backlog{})
			if files, err := s.store.ListFiles("arweave/"); err != nil || len(files) > 0 {
				s.restart() // a file whose removal a crash prevented goes at the next start
				s.backlog(arweave.Backlog{})
				if files, err = s.store.ListFiles("arweave/"); err != nil || len(files) > 0 {
					t.Fatalf("written %v, commit %d: files left %v, %v", written, at, files, err)
				}
			}
			if crashes == 0 {
				if at < 3 {
					t.Fatalf("only %d writes were failed", at)
				}
				break
			}
		}
	}
}

// TestDevnetSurvivesCrashes does the same to the chain.
func TestDevnetSurvivesCrashes(t *testing.T) {
	for _, written := range []bool{false, true} {
		for at := 0; ; at++ {
			disk := store.NewMemory()
			clock := newClock()
			commits := 0
			faulty := &store.Faulty{Store: disk}
			cut := func(*store.Batch) error {
				if commits++; commits == at+1 {
					return errPower
				}
				return nil
			}
			if written {
				faulty.After = cut
			} else {
				faulty.Before = cut
			}
			crashes := 0
			var d *devnet.Devnet
			start := func() {
				for {
					var err error
					d, err = devnet.New(devnet.Config{Store: faulty, Wallet: testWallet(t), Clock: clock.Now, AllowFaults: true})
					if err == nil {
						return
					}
					if !errors.Is(err, errPower) {
						t.Fatal(err)
					}
					crashes++
				}
			}
			start()
			items := []*ans104.Item{testItem(t, 1, []byte("small")), testItem(t, 2, bytes.Repeat([]byte("large"), 100_000))}
			try := func(do func() error) {
				for {
					err := do()
					if err == nil {
						return
					}
					if !errors.Is(err, errPower) {
						t.Fatalf("written %v, commit %d: %v", written, at, err)
					}
					crashes++
					start()
				}
			}
			ctx := context.Background()
			try(func() error { return d.Put(ctx, items...) })
			try(func() error { return d.Mine(1) })
			try(func() error { return d.Put(ctx, items...) })
			try(func() error { return d.Reorganise(1, true) })
			try(func() error { return d.Mine(1) })
			height, err := d.Height(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for h := uint64(1); h <= height; h++ {
				block, err := d.Block(ctx, h)
				if before, _ := d.Block(ctx, h-1); err != nil || block.Previous != before.IndepHash {
					t.Fatalf("the chain is broken at %d: %v", h, err)
				}
			}
			for _, it := range items {
				got, err := d.Get(ctx, it.ID())
				if err != nil || !bytes.Equal(got.Raw(), it.Raw()) {
					t.Fatal(err)
				}
				if conf, err := d.Confirm(ctx, it.ID()); err != nil || conf.Depth < 1 {
					t.Fatalf("%+v %v", conf, err)
				}
			}
			disk.Close()
			if crashes == 0 {
				break
			}
		}
	}
}
