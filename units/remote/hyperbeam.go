package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/units"
)

const (
	// hyperbeamPath is where a HyperBEAM node gives the logs of the processes that it schedules or has heard of.
	hyperbeamPath = "/~scheduler@1.0/schedule"
	// hyperbeamAccept is the format in which it gives them to its computer.
	hyperbeamAccept = "application/aos-2"
	maxHyperBEAM    = 4096 // processes of which the head and the item are remembered
)

// HyperBEAM is the logs that a HyperBEAM node tells the computer beside it. Nobody can verify them: who reads them trusts the
// node. It is a units.Log; safe for concurrent use.
type HyperBEAM struct {
	unit    httpUnit
	archive arweave.Archive

	lock      sync.Mutex
	heads     map[ao.ID]ao.Slot // the first slot that was not seen yet
	processes map[ao.ID]ao.Process
}

var _ units.Log = (*HyperBEAM)(nil)

// NewHyperBEAM builds it; it opens no connection. What is only assigned, and exists elsewhere, is fetched from the archive.
func NewHyperBEAM(base string, archive arweave.Archive) (*HyperBEAM, error) {
	base, err := parseBase(base)
	if err != nil {
		return nil, err
	}
	of, err := NewElsewhere(ElsewhereConfig{Archive: archive, URL: base})
	if err != nil {
		return nil, err
	}
	return &HyperBEAM{unit: of.at(base), archive: archive, heads: map[ao.ID]ao.Slot{}, processes: map[ao.ID]ao.Process{}}, nil
}

// page asks for at most so many slots; where the log goes on behind them is of no interest if they are all that is wanted.
func (h *HyperBEAM) page(ctx context.Context, process ao.ID, from ao.Slot, limit int, all bool) (ao.ToldPage, error) {
	ctx, cancel := context.WithTimeout(ctx, elsewhereTimeout)
	defer cancel()
	select {
	case h.unit.of.turns <- struct{}{}:
		defer func() { <-h.unit.of.turns }()
	case <-ctx.Done():
		return ao.ToldPage{}, Refusal(verbLog, ctx.Err())
	}
	q := url.Values{"target": {process.String()}, "from": {from.String()}, "limit": {strconv.Itoa(limit)}, "accept": {hyperbeamAccept}}
	if !all {
		q.Set("to", (from + ao.Slot(limit) - 1).String()) // both ends are included
	}
	body, to, err := h.unit.send(ctx, httpAsk{
		hop: verbLog, process: process, method: http.MethodGet, accept: "*/*", limit: ao.MaxTold,
	}, h.unit.base+hyperbeamPath+"?"+q.Encode())
	if err == nil && to != "" {
		err = ao.Refuse(verbLog, ao.Unreachable, "%s redirects to %.80s", h.unit.base, to)
	}
	if err != nil {
		return ao.ToldPage{}, noneIs(verbLog, ao.UnknownProcess, err)
	}
	page, err := ao.ParseTold(body)
	if err != nil {
		return page, ao.Refuse(verbLog, ao.BadLog, "slot %d: %s: %v", from, h.unit.base, err)
	}
	if len(page.Entries) > limit {
		page.Entries, page.HasNext = page.Entries[:limit], true
	}
	next := from
	for _, e := range page.Entries {
		if e.Assignment.Process() != process || e.Assignment.Nonce() != next {
			return page, ao.Refuse(verbLog, ao.BadLog, "slot %d: %s gives slot %d of %s in its place", next, h.unit.base, e.Assignment.Nonce(), e.Assignment.Process())
		}
		next++
	}
	h.note(process, next)
	return page, nil
}

// note remembers how far a log goes at least.
func (h *HyperBEAM) note(process ao.ID, next ao.Slot) {
	h.lock.Lock()
	defer h.lock.Unlock()
	if len(h.heads) >= maxHyperBEAM {
		clear(h.heads)
	}
	h.heads[process] = max(h.heads[process], next)
}

// Next walks to the end from where the log was last seen to go: the node does not say where its end is.
func (h *HyperBEAM) Next(ctx context.Context, process ao.ID) (ao.Slot, error) {
	h.lock.Lock()
	next := h.heads[process]
	h.lock.Unlock()
	for from := next - min(next, 1); ; from = next {
		page, err := h.halved(ctx, process, from, maxPage, true)
		if err != nil {
			return 0, err
		}
		next = from + ao.Slot(len(page.Entries))
		switch {
		case next == 0:
			return 0, ao.Refuse(verbLog, ao.UnknownProcess, "%s has nothing of %s", h.unit.base, process)
		case len(page.Entries) == 0 || !page.HasNext:
			return next, nil
		}
	}
}

// halved asks for slots, and where they are too large for one answer for half as many.
func (h *HyperBEAM) halved(ctx context.Context, process ao.ID, from ao.Slot, limit int, all bool) (ao.ToldPage, error) {
	for {
		page, err := h.page(ctx, process, from, limit, all)
		if err == nil || limit == 1 || !errors.Is(err, &ao.Refusal{Code: ao.TooLarge}) {
			return page, err
		}
		limit /= 2
	}
}

// Range asks for slots and fetches the messages that are only named.
func (h *HyperBEAM) Range(ctx context.Context, process ao.ID, from ao.Slot, limit int) ([]ao.Entry, error) {
	page, err := h.halved(ctx, process, from, min(max(limit, 1), maxPage), false)
	if err != nil {
		return nil, err
	}
	for i := range page.Entries {
		e := &page.Entries[i]
		if !e.Message.IsZero() {
			continue
		}
		id := e.Assignment.Message()
		e.Message, err = messageOf(ctx, h.archive, id)
		if err = h.unit.notWhole(id, err); err != nil {
			if i > 0 { // the next call meets it at its own slot
				return page.Entries[:i], nil
			}
			return nil, Refusal(verbLog, fmt.Errorf("slot %d: %w", from, err))
		}
	}
	return page.Entries, nil
}

// Find knows nothing but the process's own slot: a HyperBEAM node names slots.
func (h *HyperBEAM) Find(_ context.Context, process, message ao.ID) (ao.Slot, error) {
	if message == process {
		return 0, nil
	}
	return 0, ao.Refuse(verbLog, ao.UnknownMessage, "of a HyperBEAM node's processes slots are known and no messages: ask for the slot of %s", message)
}

// Follow asks for more now and then.
func (h *HyperBEAM) Follow(ctx context.Context, process ao.ID, from ao.Slot, visit func(ao.Entry) error) error {
	return followPages(ctx, h, process, from, visit)
}

// told is a directory for a computer that stands beside a HyperBEAM node.
type told struct {
	*Directory
	node *HyperBEAM
}

// Told is a directory of the processes that a HyperBEAM node tells. Modules are on Arweave, as for any other.
func (d *Directory) Told(node *HyperBEAM) units.Directory { return told{d, node} }

// Log is the node's, of any process.
func (t told) Log(context.Context, ao.ID) (units.Log, error) { return t.node, nil }

// HostAt names nobody: nothing is signed.
func (t told) HostAt(context.Context, ao.ID, ao.Slot) (units.SignaturePolicy, error) {
	return units.SignaturePolicy{}, nil
}

// Process is slot 0 of the node's log or, where an old log begins with a message, the process as Arweave has it.
func (t told) Process(ctx context.Context, id ao.ID) (ao.Process, error) {
	h := t.node
	h.lock.Lock()
	p, ok := h.processes[id]
	h.lock.Unlock()
	if ok {
		return p, nil
	}
	es, err := h.Range(ctx, id, 0, 1)
	if err != nil {
		return p, err
	}
	if len(es) == 0 {
		return p, ao.Refuse(verbLog, ao.UnknownProcess, "%s has nothing of %s", h.unit.base, id)
	}
	if !es[0].Message.IsSpawn() {
		return t.Directory.Process(ctx, id)
	}
	if p, err = es[0].Message.Process(); err != nil {
		return p, Refusal(verbLog, err)
	}
	h.lock.Lock()
	defer h.lock.Unlock()
	if len(h.processes) >= maxHyperBEAM {
		clear(h.processes)
	}
	h.processes[id] = p
	return p, nil
}
