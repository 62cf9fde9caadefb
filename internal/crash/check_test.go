package crash

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/devnet"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/remote"
	"github.com/aopeer/aopeer/units/unitstest"
)

type backlogger interface {
	Backlog() (arweave.Backlog, error)
}

// check holds what is left against what must be: every acknowledged message in its one slot, chains unbroken, all of
// it on Arweave and once, one result for each slot, nothing signed twice. It returns what the messages did.
func (x *town) check(acked map[slot]ao.Assignment) (effects []string) {
	x.t.Helper()
	ctx := context.Background()
	archive, _, err := x.archive(nil)
	if err != nil {
		x.t.Fatal(err)
	}
	mem := store.NewMemory()
	defer mem.Close()
	// Nobody but Arweave is asked.
	settled := remote.NewDirectory(network, "", nil, nil, archive, mem, slog.New(slog.DiscardHandler))
	logs := remote.NewArchiveLog(archive, settled)
	slots := map[ao.ID][]ao.Assignment{}
	entries := 0
	mail, assignments := x.checkChain()
	effects = append(effects, mail...)
	for _, process := range x.witness.Processes() {
		log := x.log(scheduler{x}, process)
		unitstest.CheckLog(x.t, process, unitstest.Address(x.world.su), log)
		onArweave := x.log(logs, process)
		if !slices.EqualFunc(log, onArweave, func(a, b ao.Entry) bool { return a.Assignment.ID() == b.Assignment.ID() }) {
			x.t.Errorf("%s: the scheduler has %d slots, Arweave %d, or others", process, len(log), len(onArweave))
		}
		for i, e := range log {
			if n := x.witness.Settled(e.Message.ID()); n != 1 {
				x.t.Errorf("message %s of slot %d is on Arweave %d times", e.Message.ID(), i, n)
			}
			slots[e.Message.ID()] = append(slots[e.Message.ID()], e.Assignment)
			if _, err := (computer{x}).Compute(ctx, process, ao.Slot(i)); err != nil { // the witness compares
				x.t.Errorf("slot %d of %s: %v", i, process, err)
			}
		}
		entries += len(log)
		report, err := cu.Verify(ctx, cu.VerifyConfig{
			Log: logs, Directory: settled, Archive: archive, Machine: x.machine, Network: network, Process: process,
			Units: []string{unitstest.Address(x.world.cu)},
		})
		if n := uint64(len(log)); err != nil || !report.OK || report.Slots != n || report.Claimed != n || len(report.Disputed) > 0 {
			x.t.Errorf("%s of %d slots: %+v, %v", process, n, report, err)
		}
		effects = append(effects, effectsOf(log)...)
	}
	for what, a := range acked {
		id := what.message
		same := func(b ao.Assignment) bool { return b.Process() == a.Process() }
		if n := slices.IndexFunc(slots[id], same); n < 0 || slots[id][n].ID() != a.ID() {
			x.t.Errorf("message %s was acknowledged in slot %d of %s and is not there", id, a.Nonce(), a.Process())
		} else if slices.ContainsFunc(slots[id][n+1:], same) {
			x.t.Errorf("message %s has two slots of %s", id, a.Process())
		}
	}
	if assignments != entries {
		x.t.Errorf("%d assignments on Arweave, %d slots in the logs", assignments, entries)
	}
	for _, what := range x.witness.Faults() {
		x.t.Error(what)
	}
	slices.Sort(effects)
	return effects
}

// log reads a whole log.
func (x *town) log(l units.Log, process ao.ID) (out []ao.Entry) {
	x.t.Helper()
	for {
		page, err := l.Range(context.Background(), process, ao.Slot(len(out)), 1000)
		if err != nil {
			x.t.Fatalf("read the log of %s: %v", process, err)
		}
		if len(page) == 0 {
			return out
		}
		out = append(out, page...)
	}
}

// effectsOf is what reached a process, without what depends on the order of arrival.
func effectsOf(log []ao.Entry) (out []string) {
	name := log[0].Message.Tags().Get("Name")
	for i, e := range log {
		m := e.Message
		kind := "message"
		switch {
		case i == 0:
			kind = "spawn"
		case m.Target() != log[0].Message.ID():
			kind = "assignment"
		}
		out = append(out, fmt.Sprintf("%s: %s %s %s from %.8s", name, kind, m.Tags().Get("Action"), m.Data(), m.From()))
	}
	return out
}

// checkChain shows every bundle of the chain to the witness and returns the mail in them and how many
// assignments there are.
func (x *town) checkChain() (mail []string, assignments int) {
	x.t.Helper()
	door, _, _ := x.arweave.current()
	chain, ok := door.(*devnet.Devnet)
	if !ok {
		x.t.Fatal("arweave is down")
	}
	height, _ := chain.Height(context.Background())
	for h := range height + 1 {
		block, err := chain.Block(context.Background(), h)
		if err != nil {
			x.t.Fatal(err)
		}
		for _, tx := range block.Txs {
			rec := httptest.NewRecorder()
			chain.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/raw/"+tx.String(), nil))
			items, err := x.witness.Bundle(rec.Body.Bytes())
			if err != nil {
				x.t.Errorf("transaction %s of block %d: %v", tx, h, err)
			}
			for _, it := range items {
				if _, err := ao.NewAssignment(it); err == nil {
					assignments++
				} else if m, err := ao.NewMessage(it); err == nil && !m.IsSpawn() && m.Target() == unitstest.ID("wallet") {
					mail = append(mail, fmt.Sprintf("mail: %s from %.8s", m.Data(), m.From()))
				}
			}
		}
	}
	return mail, assignments
}

// sameEffects compares with the clean run.
func (x *town) sameEffects(got, want []string) {
	x.t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for _, e := range want {
		if n := slices.Index(got, e); n < 0 {
			x.t.Errorf("lost: %s", e)
		} else {
			got = slices.Delete(slices.Clone(got), n, n+1)
		}
	}
	for _, e := range got {
		x.t.Errorf("took effect and should not have, or twice: %s", e)
	}
}
