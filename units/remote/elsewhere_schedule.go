package remote

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/aopeer/aopeer/ao"
)

// maxReceipt bounds the answer to a message: some schedulers send it back.
const maxReceipt = elsewhereOne

// tooYoung is how a scheduler there says that a transaction is not deep enough in Arweave's chain.
const tooYoung = "Not enough confirmations to assign"

// Schedule sends the message as it was signed, and asks for the assignment that it got. A message that is refused may hold a
// slot already.
func (u httpUnit) Schedule(ctx context.Context, process ao.ID, m ao.Message) (ao.Assignment, error) {
	if m.IsZero() {
		return ao.Assignment{}, ao.Refuse(verbSchedule, ao.Malformed, "there is no message")
	}
	if m.IsTransaction() || m.Target() != process {
		return ao.Assignment{}, ao.Refuse(verbSchedule, ao.Unsupported, "%s is a message to another process", m.ID())
	}
	_, refused := u.ask(ctx, httpAsk{
		hop: verbSchedule, process: process, method: http.MethodPost, path: "/", body: m.Raw(), limit: maxReceipt,
	})
	none, isNone := errors.AsType[errNone](refused)
	if refused != nil && !isNone {
		return ao.Assignment{}, refused
	}
	a, err := u.slotOf(ctx, process, m.ID())
	switch {
	case err == nil && a.Message() == m.ID():
		return a, nil
	case isNone:
		return ao.Assignment{}, ao.Refuse(verbSchedule, ao.Rejected, "%s: %s", u.base, none.words)
	case err == nil:
		return ao.Assignment{}, ao.Refuse(verbSchedule, ao.BadLog, "%s: the assignment is for something else", u.base)
	}
	return ao.Assignment{}, noneIs(verbSchedule, ao.Unreachable, err) // it has taken the message and will show it
}

// slotOf is the assignment that a message has got, or that has that ID.
func (u httpUnit) slotOf(ctx context.Context, process, id ao.ID) (ao.Assignment, error) {
	n, err := u.slotNode(ctx, verbSchedule, process, id)
	if err != nil {
		return ao.Assignment{}, err
	}
	if _, err := n.slot(process); err != nil {
		return ao.Assignment{}, ao.Refuse(verbSchedule, ao.BadLog, "%s: %v", u.base, err)
	}
	a, err := u.assignment(ctx, n)
	if err != nil {
		return ao.Assignment{}, Refusal(verbSchedule, err)
	}
	if a.Process() != process {
		return ao.Assignment{}, ao.Refuse(verbSchedule, ao.BadLog, "%s: the assignment is for another process", u.base)
	}
	return a, nil
}

// awayScheduler is a scheduler elsewhere whose new processes the directory keeps.
type awayScheduler struct {
	httpUnit
	directory *Directory
}

func (s awayScheduler) Schedule(ctx context.Context, process ao.ID, m ao.Message) (ao.Assignment, error) {
	a, err := s.httpUnit.Schedule(ctx, process, m)
	if err == nil && m.IsSpawn() && m.ID() == process {
		if _, err := s.directory.keep(m.Raw(), process); err != nil {
			return ao.Assignment{}, err
		}
	}
	return a, err
}

// Assign has a message that exists already assigned to one more process. The scheduler there would do it again, so it is asked
// first for the slot that the message may hold.
func (u httpUnit) Assign(ctx context.Context, process, message ao.ID, how ao.AssignOptions) (ao.Assignment, error) {
	if err := how.Check(); err != nil {
		return ao.Assignment{}, ao.Refuse(verbSchedule, ao.BadTags, "%v", err)
	}
	a, err := u.slotOf(ctx, process, message)
	if _, isNone := errors.AsType[errNone](err); !isNone {
		return a, err
	}
	q := url.Values{"process-id": {process.String()}, "assign": {message.String()}}
	if how.BaseLayer {
		q.Set("base-layer", "")
	}
	if len(how.Exclude) > 0 {
		q.Set("exclude", strings.Join(how.Exclude, ","))
	}
	body, err := u.ask(ctx, httpAsk{hop: verbSchedule, process: process, method: http.MethodPost, path: "/", query: q, limit: maxReceipt})
	if err != nil {
		code := ao.Rejected
		if none, ok := errors.AsType[errNone](err); ok && strings.Contains(none.words, tooYoung) {
			code = ao.Unconfirmed
		}
		return ao.Assignment{}, noneIs(verbSchedule, code, err)
	}
	var receipt struct {
		ID ao.ID `json:"id"`
	}
	if err := json.Unmarshal(body, &receipt); err != nil {
		return ao.Assignment{}, ao.Refuse(verbSchedule, ao.Malformed, "%s: %v", u.base, err)
	}
	if a, err = u.slotOf(ctx, process, receipt.ID); err != nil {
		return ao.Assignment{}, noneIs(verbSchedule, ao.Unreachable, err)
	}
	if a.Message() != message {
		return ao.Assignment{}, ao.Refuse(verbSchedule, ao.BadLog, "%s: the assignment is for something else", u.base)
	}
	return a, nil
}
