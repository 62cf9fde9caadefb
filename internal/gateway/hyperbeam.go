package gateway

import (
	"context"
	"encoding/base64"
	"net/http"
	"strconv"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// toldTypes says how the node is to read the headers of a result.
const toldTypes = "timestamp=integer,block-height=integer,slot=integer,cold-start=atom,cu-cached=atom,eval-stream-length=integer"

// told evaluates up to a slot that the node tells.
func (g *Gateway) told(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Origin") != "" { // any page in a browser on this machine could else write into a log
		return refused(http.StatusForbidden, "this is for a HyperBEAM node, and not for pages in a browser")
	}
	raw, err := g.readWithin(w, r, ao.MaxTold)
	if err != nil {
		return err
	}
	if len(raw) > 0 {
		page, err := ao.ParseTold(raw)
		if err != nil {
			return refused(http.StatusBadRequest, "%v", err)
		}
		if len(page.Entries) == 1 && !page.Entries[0].Message.IsZero() {
			r = r.WithContext(units.Hand(r.Context(), page.Entries[0]))
		}
	}
	return g.toldResult(w, r)
}

// toldResult answers with the result of a slot, and with what the node wants to know of it.
func (g *Gateway) toldResult(w http.ResponseWriter, r *http.Request) error {
	slot, err := ao.ParseSlot(r.PathValue("id"))
	if err != nil {
		return refused(http.StatusBadRequest, "%.64q is no slot: a HyperBEAM node names slots", r.PathValue("id"))
	}
	process, err := queryID(r.URL.Query(), "process-id")
	if err != nil {
		return err
	}
	ctx, cancel := g.patience(r)
	defer cancel()
	before := g.standing(process)
	a, err := g.compute(ctx, process, slot)
	if err != nil {
		return err
	}
	e, ok := units.Handed(ctx, process, slot)
	if !ok {
		if e, err = g.entryAt(ctx, process, slot); err != nil {
			return err
		}
	}
	f, h := e.Assignment.Fields(), w.Header()
	h.Set("Message", f.Message.String())
	h.Set("timestamp", strconv.FormatInt(f.Timestamp, 10))
	h.Set("block-height", strconv.FormatUint(f.BlockHeight, 10))
	h.Set("slot", slot.String())
	h.Set("ao-types", toldTypes)
	evaluated := uint64(0)
	if !before.Has(slot) {
		evaluated = before.Behind(slot) + 1
	}
	h.Set("cold-start", strconv.FormatBool(!before.Has(slot) && before.Next == 0))
	h.Set("cu-cached", strconv.FormatBool(before.Has(slot)))
	h.Set("eval-stream-length", strconv.FormatUint(evaluated, 10))
	out := resultOf(a.Result)
	out.Patches = a.Result.Patches
	return writeJSON(w, http.StatusOK, out)
}

// snapshotInfo is what is said of a checkpoint.
type snapshotInfo struct {
	Success bool        `json:"success"`
	Message string      `json:"message"`
	Process string      `json:"processId"`
	At      *snapshotAt `json:"snapshot,omitempty"`
}

// snapshotAt is the slot that a checkpoint is of.
type snapshotAt struct {
	Module    string `json:"moduleId"`
	Timestamp int64  `json:"timestamp"`
	Epoch     uint64 `json:"epoch"`
	Nonce     string `json:"nonce"`
	Ordinate  string `json:"ordinate"`
	Height    uint64 `json:"blockHeight"`
	HashChain string `json:"hashChain"`
}

// snapshot has a checkpoint written.
func (g *Gateway) snapshot(w http.ResponseWriter, r *http.Request) error {
	process, err := pathID(r, "pid")
	if err != nil {
		return err
	}
	ctx, cancel := g.patience(r)
	defer cancel()
	out := snapshotInfo{Process: process.String()}
	if g.cfg.Save == nil {
		out.Message = "this computer writes no checkpoints"
		return writeJSON(w, http.StatusNotFound, out)
	}
	f, err := g.cfg.Save(ctx, process)
	if isCode(err, ao.UnknownProcess) {
		out.Message = err.Error()
		return writeJSON(w, http.StatusNotFound, out)
	}
	if err != nil {
		return err
	}
	p, err := g.cfg.Directory.Process(ctx, process)
	if err != nil {
		return err
	}
	at := snapshotAt{
		Module: p.Module().String(), Timestamp: f.Timestamp, Nonce: f.Nonce.String(), Ordinate: f.Nonce.String(), Height: f.BlockHeight,
		HashChain: base64.RawURLEncoding.EncodeToString(f.HashChain[:]),
	}
	for name, value := range map[string]string{
		"timestamp": strconv.FormatInt(at.Timestamp, 10), "ordinate": at.Ordinate, "block-height": strconv.FormatUint(at.Height, 10),
		"module-id": at.Module, "nonce": at.Nonce, "epoch": "0", "hash-chain": at.HashChain,
	} {
		w.Header().Set("snapshot-"+name, value)
	}
	out.Success, out.Message, out.At = true, "checkpoint written", &at
	return writeJSON(w, http.StatusOK, out)
}

// entryAt is what holds a slot.
func (g *Gateway) entryAt(ctx context.Context, process ao.ID, slot ao.Slot) (ao.Entry, error) {
	log, err := g.logOf(ctx, Computer, process)
	if err != nil {
		return ao.Entry{}, err
	}
	es, err := log.Range(ctx, process, slot, 1)
	if err != nil {
		return ao.Entry{}, err
	}
	if len(es) == 0 {
		return ao.Entry{}, ao.Refuse("compute", ao.NotYet, "slot %d is not in the log", slot)
	}
	return es[0], nil
}
