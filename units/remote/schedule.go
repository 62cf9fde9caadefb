package remote

import (
	"context"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units"
)

type scheduleRequest struct {
	Process ao.ID `json:"process"`
}

// ServeScheduler puts a scheduler on the wire: header, the message; answer: the assignment.
func ServeScheduler(node *p2p.Node, s units.Scheduler) {
	var together ans104.Verifier
	serve(node, verbSchedule, func(ctx context.Context, h scheduleRequest, st *p2p.Stream) error {
		raw, err := st.Read(ao.MaxItem)
		if err != nil {
			return err
		}
		m, err := ao.ParseMessageBy(&together, raw)
		if err != nil {
			return err
		}
		a, err := s.Schedule(ctx, h.Process, m)
		if err != nil {
			return err
		}
		return st.Write(a.Raw())
	})
}

// Scheduler is the scheduler of another peer.
func Scheduler(node *p2p.Node, to peer.ID) units.Scheduler {
	return schedulerClient{client{node: node, to: to}}
}

type schedulerClient struct{ client }

func (c schedulerClient) Schedule(ctx context.Context, process ao.ID, m ao.Message) (ao.Assignment, error) {
	call, err := c.open(ctx, verbSchedule, scheduleRequest{Process: process}, m.Raw())
	if err != nil {
		return ao.Assignment{}, err
	}
	defer call.close()
	raw, err := call.read(maxHeader)
	if err != nil {
		return ao.Assignment{}, short(verbSchedule, err)
	}
	a, err := ao.ParseAssignment(raw)
	if err != nil {
		return ao.Assignment{}, Refusal(verbSchedule, err)
	}
	_, pushed := m.Pushed()
	if a.Process() != process || (a.Message() != m.ID() && !pushed) {
		return ao.Assignment{}, ao.Refuse(verbSchedule, ao.BadLog, "the assignment is for something else")
	}
	return a, nil
}
