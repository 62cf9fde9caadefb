package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// computerInfo is who computes here.
type computerInfo struct {
	Address   string `json:"address"`
	Timestamp int64  `json:"timestamp"`
}

// resultInfo is a result as the reference computer writes it.
type resultInfo struct {
	Messages    []json.RawMessage `json:"Messages"`
	Assignments []json.RawMessage `json:"Assignments"`
	Spawns      []json.RawMessage `json:"Spawns"`
	Output      json.RawMessage   `json:"Output"`
	Error       json.RawMessage   `json:"Error,omitempty"`
	Patches     []json.RawMessage `json:"Patches,omitempty"` // for a HyperBEAM node alone
	GasUsed     uint64            `json:"GasUsed,omitempty"`
}

// resultOf is a result, every element as the module emitted it.
func resultOf(r ao.Result) resultInfo {
	out := resultInfo{
		Messages: []json.RawMessage{}, Assignments: []json.RawMessage{}, Spawns: []json.RawMessage{}, Output: r.Output, Error: r.Error,
		GasUsed: r.GasUsed,
	}
	for _, m := range r.Messages {
		out.Messages = append(out.Messages, m.Raw)
	}
	for _, a := range r.Assignments {
		out.Assignments = append(out.Assignments, a.Raw)
	}
	for _, s := range r.Spawns {
		out.Spawns = append(out.Spawns, s.Raw)
	}
	if len(out.Output) == 0 {
		out.Output = json.RawMessage(`""`)
	}
	return out
}

// computer says who computes here.
func (g *Gateway) computer(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, computerInfo{g.cfg.Address, g.cfg.Now().UnixMilli()})
}

// result answers with the result of a message, named by its ID or its assignment's, or of the process's own entry.
func (g *Gateway) result(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, "id")
	if err != nil {
		return err
	}
	process, err := queryID(r.URL.Query(), "process-id")
	if err != nil {
		return err
	}
	ctx, cancel := g.patience(r)
	defer cancel()
	slot, err := g.slotOf(ctx, process, id)
	if err != nil {
		return err
	}
	a, err := g.compute(ctx, process, slot)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, resultOf(a.Result))
}

// slotOf is the slot of a message.
func (g *Gateway) slotOf(ctx context.Context, process, message ao.ID) (ao.Slot, error) {
	if message == process {
		return 0, nil
	}
	log, err := g.logOf(ctx, Computer, process)
	if err != nil {
		return 0, err
	}
	return log.Find(ctx, process, message)
}

// compute asks the computer. Whoever would have to wait too long hears how much is left to evaluate; the evaluation goes on.
func (g *Gateway) compute(ctx context.Context, process ao.ID, slot ao.Slot) (units.Answer, error) {
	a, err := g.cfg.Computer.Compute(ctx, process, slot)
	if err != nil {
		return a, g.busy(ctx, process, slot, err)
	}
	return a, nil
}

// busy turns the refusal of a computer that did not get there into one that says how far it is.
func (g *Gateway) busy(ctx context.Context, process ao.ID, slot ao.Slot, err error) error {
	late := ctx.Err() != nil || errors.Is(err, &ao.Refusal{Code: ao.Deadline}) || errors.Is(err, &ao.Refusal{Code: ao.Busy})
	if !late {
		return err
	}
	left := g.standing(process).Behind(slot)
	if left == 0 {
		return err
	}
	out := refused(http.StatusServiceUnavailable, "Evaluation of process \"%s\" to slot %d is in progress: %d slots are left", process, slot, left)
	out.after = g.cfg.Limits.AnswerTime / 4
	return out
}

// standing is how far the computer is with a process, as far as it says.
func (g *Gateway) standing(process ao.ID) units.Standing {
	if g.cfg.Standing == nil {
		return units.Standing{}
	}
	at, err := g.cfg.Standing(process)
	if err != nil {
		return units.Standing{}
	}
	return at
}
