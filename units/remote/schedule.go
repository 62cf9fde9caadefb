package remote

import (
	"context"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units"
)

type scheduleRequest struct {
	Process ao.ID     `json:"process"`
	Deal    bool      `json:"deal,omitempty"`   // it follows
	Assign  *assigned `json:"assign,omitempty"` // an existing message, in place of the one that follows
}

// assigned is, in a header, the existing message that is to be assigned.
type assigned struct {
	Message ao.ID `json:"message"`
	ao.AssignOptions
	Item bool `json:"item,omitempty"` // it follows, because the caller has it
}

// ServeScheduler puts a scheduler on the wire for whoever asks.
func ServeScheduler(node *p2p.Node, s units.Scheduler) { serveScheduler(node, s, nil) }

// serveScheduler is: header, a deal if the header says so, the message unless the header names one that does not follow;
// answer: the assignment. m may be nil.
func serveScheduler(node *p2p.Node, s units.Scheduler, m *Market) {
	var together ans104.Verifier
	serveFrom(node, verbSchedule, func(ctx context.Context, from p2p.Peer, h scheduleRequest, st *p2p.Stream) error {
		deal, err := readDeal(st, h.Deal)
		if err != nil {
			return err
		}
		var msg ao.Message
		if h.Assign == nil || h.Assign.Item {
			raw, err := st.Read(ao.MaxItem)
			if err != nil {
				return err
			}
			if msg, err = ao.ParseMessageBy(&together, raw); err != nil {
				return err
			}
		}
		job := work{role: market.Scheduler, process: h.Process, counts: countsOfMessage(msg), deal: deal}
		if h.Assign != nil {
			job.question = h.Assign.Message
		} else {
			job.question = msg.ID()
		}
		leave, err := m.admit(ctx, from, job)
		if err != nil {
			return err
		}
		var a ao.Assignment
		if h.Assign != nil {
			a, err = s.Assign(units.HandMessage(ctx, msg), h.Process, h.Assign.Message, h.Assign.AssignOptions)
		} else {
			a, err = s.Schedule(ctx, h.Process, msg)
		}
		if err = leave(err); err != nil {
			return err
		}
		return st.Write(a.Raw())
	})
}

// Scheduler is the scheduler of another peer.
func Scheduler(node *p2p.Node, to peer.ID) units.Scheduler {
	return schedulerClient{client: client{node: node, to: to}}
}

type schedulerClient struct {
	client
	deal []byte // nil where nothing is to be paid
}

func (c schedulerClient) Schedule(ctx context.Context, process ao.ID, m ao.Message) (ao.Assignment, error) {
	return c.slot(ctx, scheduleRequest{Process: process}, m.ID(), m)
}

func (c schedulerClient) Assign(ctx context.Context, process, message ao.ID, how ao.AssignOptions) (ao.Assignment, error) {
	m, isHere := units.HandedMessage(ctx, message)
	if !isHere {
		m = ao.Message{}
	}
	return c.slot(ctx, scheduleRequest{Process: process, Assign: &assigned{Message: message, AssignOptions: how, Item: isHere}}, message, m)
}

// slot asks for the slot of a message, which goes along if it is here.
func (c schedulerClient) slot(ctx context.Context, h scheduleRequest, message ao.ID, m ao.Message) (ao.Assignment, error) {
	var frames [][]byte
	if !m.IsZero() {
		frames = [][]byte{m.Raw()}
	}
	h.Deal = c.deal != nil
	call, err := c.open(ctx, verbSchedule, h, withDeal(c.deal, frames...)...)
	if err != nil {
		return ao.Assignment{}, err
	}
	defer call.close()
	return call.assignment(h.Process, message, m)
}

// assignment reads an answer that must be about the message, or a copy of it if it was pushed. m may be zero.
func (c *call) assignment(process, message ao.ID, m ao.Message) (ao.Assignment, error) {
	raw, err := c.read(maxHeader)
	if err != nil {
		return ao.Assignment{}, short(c.verb, err)
	}
	a, err := ao.ParseAssignment(raw)
	if err != nil {
		return ao.Assignment{}, Refusal(c.verb, err)
	}
	if a.Process() != process || a.Message() != message && (m.IsZero() || !m.HasCopies()) {
		return ao.Assignment{}, ao.Refuse(c.verb, ao.BadLog, "the assignment is for something else")
	}
	return a, nil
}
