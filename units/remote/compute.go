package remote

import (
	"context"
	"encoding/json"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units"
)

// computePatience is how long an evaluation may take before its first byte, if the caller's context allows it.
const computePatience = 10 * time.Minute

// maxPart bounds one frame of a result in bytes.
const maxPart = 8 << 20

type computeRequest struct {
	Op      string    `json:"op"` // compute, state or dry-run
	Process ao.ID     `json:"process"`
	Slot    ao.Slot   `json:"slot"`
	Query   *ao.Query `json:"query,omitempty"`
}

type computeAnswer struct {
	Slot   ao.Slot `json:"slot"`
	Root   ao.ID   `json:"root"`
	Memory uint64  `json:"memory"`
	Parts  int     `json:"parts"` // frames that the result is cut into
}

// ServeComputer puts a computer on the wire.
func ServeComputer(node *p2p.Node, c units.Computer) {
	serve(node, verbCompute, func(ctx context.Context, h computeRequest, st *p2p.Stream) error {
		switch h.Op {
		case "compute":
			a, err := c.Compute(ctx, h.Process, h.Slot)
			if err != nil {
				return err
			}
			return writeResult(st, computeAnswer{Slot: a.Slot}, a.Claim.Raw(), a.Result)
		case "state":
			s, err := c.State(ctx, h.Process)
			if err != nil {
				return err
			}
			return writeHeader(st, computeAnswer{Slot: s.Slot, Root: ao.ID(s.Root), Memory: s.Memory})
		case "dry-run":
			raw, err := st.Read(ao.MaxItem)
			if err != nil {
				return err
			}
			var q ao.Query
			if err := unmarshal(verbCompute, raw, &q); err != nil {
				return err
			}
			r, err := c.DryRun(ctx, h.Process, q)
			if err != nil {
				return err
			}
			return writeResult(st, computeAnswer{}, nil, r)
		}
		return ao.Refuse(verbCompute, ao.Unsupported, "no such operation")
	})
}

// writeResult sends header, claim and result; a large result in several frames.
func writeResult(st *p2p.Stream, h computeAnswer, claim []byte, r ao.Result) error {
	b := r.Encode()
	h.Parts = max(1, (len(b)+maxPart-1)/maxPart)
	if err := writeHeader(st, h); err != nil {
		return err
	}
	if err := st.Write(claim); err != nil {
		return err
	}
	for range h.Parts {
		n := min(maxPart, len(b))
		if err := st.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// Computer is the computer of another peer; its claims must name that network.
func Computer(node *p2p.Node, network string, to peer.ID) units.Computer {
	return computerClient{client: client{node: node, to: to}, network: network}
}

type computerClient struct {
	client
	network string
}

func (c computerClient) Compute(ctx context.Context, process ao.ID, slot ao.Slot) (units.Answer, error) {
	call, err := c.open(ctx, verbCompute, computeRequest{Op: "compute", Process: process, Slot: slot})
	if err != nil {
		return units.Answer{}, err
	}
	defer call.close()
	h, claim, r, err := call.result()
	if err != nil {
		return units.Answer{}, err
	}
	a := units.Answer{Slot: h.Slot, Result: r}
	if a.Claim, err = attest.ParseSigned(claim); err != nil {
		return units.Answer{}, Refusal(verbCompute, err)
	}
	if err := a.Check(c.network, process, slot); err != nil {
		return units.Answer{}, err
	}
	return a, nil
}

func (c computerClient) State(ctx context.Context, process ao.ID) (units.StateInfo, error) {
	call, err := c.open(ctx, verbCompute, computeRequest{Op: "state", Process: process})
	if err != nil {
		return units.StateInfo{}, err
	}
	defer call.close()
	call.patience(computePatience)
	var h computeAnswer
	if err := call.header(&h); err != nil {
		return units.StateInfo{}, short(verbCompute, err)
	}
	return units.StateInfo{Slot: h.Slot, Root: attest.Hash(h.Root), Memory: h.Memory}, nil
}

func (c computerClient) DryRun(ctx context.Context, process ao.ID, q ao.Query) (ao.Result, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return ao.Result{}, ao.Refuse(verbCompute, ao.Internal, "%v", err)
	}
	call, err := c.open(ctx, verbCompute, computeRequest{Op: "dry-run", Process: process}, body)
	if err != nil {
		return ao.Result{}, err
	}
	defer call.close()
	_, _, r, err := call.result()
	return r, err
}

// result reads what writeResult sent.
func (c *call) result() (h computeAnswer, claim []byte, r ao.Result, err error) {
	c.patience(computePatience)
	if err := c.header(&h); err != nil {
		return h, nil, r, short(c.verb, err)
	}
	if h.Parts < 1 || h.Parts > (ao.MaxResult+maxPart-1)/maxPart {
		return h, nil, r, c.malformed("a result of %d parts", h.Parts)
	}
	c.patience(time.Minute)
	if claim, err = c.read(maxHeader); err != nil {
		return h, nil, r, short(c.verb, err)
	}
	var b []byte
	for range h.Parts {
		f, err := c.read(maxPart)
		if err != nil {
			return h, nil, r, short(c.verb, err)
		}
		b = append(b, f...)
	}
	if r, err = ao.DecodeResult(b); err != nil {
		return h, nil, r, Refusal(c.verb, err)
	}
	return h, claim, r, nil
}

func unmarshal(verb string, b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return ao.Refuse(verb, ao.Malformed, "%v", err)
	}
	return nil
}
