package cu_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/remote"
)

// archived finds processes and modules on the archive alone.
type archived struct{ *world }

func (d archived) Process(ctx context.Context, id ao.ID) (ao.Process, error) {
	it, err := d.archive.Get(ctx, id)
	if err != nil {
		return ao.Process{}, err
	}
	m, err := ao.NewMessage(it)
	if err != nil {
		return ao.Process{}, err
	}
	return m.Process()
}

func (d archived) Module(ctx context.Context, id ao.ID) (ao.Module, error) {
	it, err := d.archive.Get(ctx, id)
	if err != nil {
		return ao.Module{}, err
	}
	return ao.NewModule(it)
}

// TestEveryByteIsVerified flips a byte in every part of every settled item of a process of 12 slots.
func TestEveryByteIsVerified(t *testing.T) {
	w, p, root := settledWorld(t)
	var log []ao.Entry
	for _, e := range w.directory.logs[p] {
		log = append(log, e)
		w.archive.put(e.Message.Item())
		w.archive.put(e.Assignment.Item())
	}
	w.archive.put(w.module.Item())
	run := func() (cu.Report, error) {
		cfg := w.verification(p)
		cfg.Directory = onArchive{w.directory, archived{w}}
		cfg.Log = remote.NewArchiveLog(w.archive, cfg.Directory)
		return cu.Verify(context.Background(), cfg)
	}
	r, err := run()
	if err != nil || !r.OK || r.Slots != 12 || r.Claimed != 12 || r.StateDigest != fmt.Sprintf("%x", root) {
		t.Fatalf("untouched: %+v, %v", r, err)
	}
	bad := 0
	for slot, e := range log {
		if slot == 11 { // the message of slot 4 again
			e.Message = ao.Message{}
		}
		for what, it := range map[string]*ans104.Item{"assignment": e.Assignment.Item(), "message": e.Message.Item()} {
			if it == nil {
				continue
			}
			for part, at := range parts(it) {
				raw := bytes.Clone(it.Raw())
				raw[at] ^= 1
				w.archive.served = map[ans104.ID][]byte{it.ID(): raw}
				r, err := run()
				if err != nil || r.OK || r.FirstBad == nil || *r.FirstBad != ao.Slot(slot) ||
					!strings.Contains(r.Reason, fmt.Sprintf("slot %d", slot)) {
					t.Errorf("%s of the %s in slot %d: %+v, %v", part, what, slot, r, err)
				}
				bad++
			}
		}
	}
	if bad < 12*7 {
		t.Errorf("only %d bytes were flipped", bad)
	}
}

// parts is one byte of each part of an item that has it.
func parts(it *ans104.Item) map[string]int {
	raw := it.Raw()
	at := map[string]int{
		"header":    0,
		"signature": 2 + 10,
		"owner":     2 + len(it.Signature()) + 5,
		"tags":      bytes.Index(raw, it.RawTags()) + len(it.RawTags())/2,
	}
	if len(it.Data()) > 0 {
		at["data"] = len(raw) - 1
	}
	return at
}

// onArchive takes processes and modules from the archive and the rest from the test.
type onArchive struct {
	*directory
	found archived
}

func (d onArchive) Process(ctx context.Context, id ao.ID) (ao.Process, error) {
	return d.found.Process(ctx, id)
}

func (d onArchive) Module(ctx context.Context, id ao.ID) (ao.Module, error) {
	return d.found.Module(ctx, id)
}
