package remote

import (
	"context"
	"encoding/json"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units"
)

// computePatience is how long an evaluation may take before its first byte, if the caller's context allows it.
const computePatience = 10 * time.Minute

// maxHanded bounds a message that is handed over with a question in bytes: a larger one the computer fetches by itself.
const maxHanded = 64 << 10

// maxPart bounds one frame of a result in bytes; mostParts is how many of them a result can take.
const (
	maxPart   = 8 << 20
	mostParts = (ao.MaxResult + maxPart - 1) / maxPart
)

type computeRequest struct {
	Op      string    `json:"op"` // compute, state, dry-run or cron
	Process ao.ID     `json:"process"`
	Slot    ao.Slot   `json:"slot"`
	Query   *ao.Query `json:"query,omitempty"`
	Deal    bool      `json:"deal,omitempty"`   // it follows
	Handed  bool      `json:"handed,omitempty"` // the slot's assignment and message follow
	After   *ao.Tick  `json:"after,omitempty"`  // of cron, with the slot
	Limit   int       `json:"limit,omitempty"`
}

type computeAnswer struct {
	Slot   ao.Slot `json:"slot"`
	Root   ao.ID   `json:"root"`
	Memory uint64  `json:"memory"`
	Parts  int     `json:"parts"` // frames that the result is cut into
}

// ServeComputer puts a computer on the wire for whoever asks.
func ServeComputer(node *p2p.Node, c units.Computer) { serveComputer(node, c, nil) }

func serveComputer(node *p2p.Node, c units.Computer, m *Market) {
	var together ans104.Verifier
	serveFrom(node, verbCompute, func(ctx context.Context, from p2p.Peer, h computeRequest, st *p2p.Stream) error {
		switch h.Op {
		case "compute":
			return serveCompute(ctx, from, h, st, c, m, &together)
		case "state":
			leave, err := m.admit(ctx, from, work{role: market.Computer, reading: true})
			if err != nil {
				return err
			}
			s, err := c.State(ctx, h.Process)
			if err = leave(err); err != nil {
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
			leave, err := m.admit(ctx, from, work{role: market.Computer, reading: true})
			if err != nil {
				return err
			}
			r, err := c.DryRun(ctx, h.Process, q)
			if err = leave(err); err != nil {
				return err
			}
			return writeResult(st, computeAnswer{}, nil, r)
		case "cron":
			return serveCron(ctx, from, h, st, c, m)
		}
		return ao.Refuse(verbCompute, ao.Unsupported, "no such operation")
	})
}

// serveCompute answers for a slot, with what was handed along with the question.
func serveCompute(
	ctx context.Context, from p2p.Peer, h computeRequest, st *p2p.Stream, c units.Computer, m *Market, together *ans104.Verifier,
) error {
	deal, err := readDeal(st, h.Deal)
	if err != nil {
		return err
	}
	if h.Handed {
		e, err := readHanded(st, together)
		if err != nil {
			return err
		}
		ctx = units.Hand(ctx, e)
	}
	leave, err := m.admit(ctx, from, work{
		role: market.Computer, process: h.Process, slot: h.Slot, question: h.Process, counts: countsOfResult(), deal: deal,
	})
	if err != nil {
		return err
	}
	a, err := c.Compute(ctx, h.Process, h.Slot)
	if err = leave(err); err != nil {
		return err
	}
	return writeResult(st, computeAnswer{Slot: a.Slot}, a.Claim.Raw(), a.Result)
}

// readHanded reads the entry that comes with a question.
func readHanded(st *p2p.Stream, together *ans104.Verifier) (ao.Entry, error) {
	first, err := st.Read(maxHeader)
	if err != nil {
		return ao.Entry{}, err
	}
	second, err := st.Read(maxHanded)
	if err != nil {
		return ao.Entry{}, err
	}
	return ao.ParseEntry(together, first, second)
}

// writeResult sends header, claim and result; a large result in several frames.
func writeResult(st *p2p.Stream, h computeAnswer, claim []byte, r ao.Result) error {
	b := r.Encode()
	h.Parts = partsOf(b)
	head, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return writeParts(st, b, head, claim)
}

// partsOf is how many frames an encoded result takes.
func partsOf(b []byte) int { return max(1, (len(b)+maxPart-1)/maxPart) }

// writeParts sends an encoded result, with the frames before it.
func writeParts(st *p2p.Stream, b []byte, before ...[]byte) error {
	n := min(maxPart, len(b))
	if err := st.Write(append(before, b[:n])...); err != nil {
		return err
	}
	for b = b[n:]; len(b) > 0; b = b[n:] {
		n = min(maxPart, len(b))
		if err := st.Write(b[:n]); err != nil {
			return err
		}
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
	deal    []byte // nil where nothing is to be paid
}

func (c computerClient) Compute(ctx context.Context, process ao.ID, slot ao.Slot) (units.Answer, error) {
	q := computeRequest{Op: "compute", Process: process, Slot: slot, Deal: c.deal != nil}
	var frames [][]byte
	if e, ok := units.Handed(ctx, process, slot); ok && len(e.Message.Raw()) <= maxHanded {
		q.Handed, frames = true, [][]byte{e.Assignment.Raw(), e.Message.Raw()}
	}
	call, err := c.open(ctx, verbCompute, q, withDeal(c.deal, frames...)...)
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
	c.patience(time.Minute)
	if claim, err = c.read(maxHeader); err != nil {
		return h, nil, r, short(c.verb, err)
	}
	r, _, err = c.parts(h.Parts)
	return h, claim, r, err
}

// parts reads a result that is cut into frames, and says how many bytes it took.
func (c *call) parts(n int) (r ao.Result, size int, err error) {
	if n < 1 || n > mostParts {
		return r, 0, c.malformed("a result of %d parts", n)
	}
	var b []byte
	for range n {
		f, err := c.read(maxPart)
		if err != nil {
			return r, 0, short(c.verb, err)
		}
		b = append(b, f...)
	}
	if r, err = ao.DecodeResult(b); err != nil {
		return r, 0, Refusal(c.verb, err)
	}
	return r, len(b), nil
}

func unmarshal(verb string, b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return ao.Refuse(verb, ao.Malformed, "%v", err)
	}
	return nil
}
