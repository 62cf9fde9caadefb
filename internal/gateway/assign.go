package gateway

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/aopeer/aopeer/ao"
)

// assignParams are what POST / takes instead of a body, to assign a message that exists already to one more process.
func assignParams() []Param {
	return []Param{
		{"process-id", "query", false, "With assign: the process that is to have the message. There is no body then."},
		{"assign", "query", false, "With process-id: the message."},
		{"base-layer", "query", false, "If it is there, the message is a transaction of Arweave itself, which must be as deep in the chain as the process's Settlement-Depth says, or 20 blocks."},
		{"exclude", "query", false, "Fields of the message that the process does not see, between commas."},
	}
}

// isAssign says whether a POST to / is about a message that exists already.
func isAssign(q url.Values) bool { return q.Has("process-id") || q.Has("assign") }

// assignment is what is to be assigned where.
type assignment struct {
	process, message ao.ID
	how              ao.AssignOptions
}

func assignmentOf(q url.Values) (a assignment, err error) {
	if !q.Has("process-id") || !q.Has("assign") {
		return a, refused(http.StatusBadRequest, "If sending assign or process-id, you must send both.")
	}
	if a.process, err = queryID(q, "process-id"); err != nil {
		return a, err
	}
	if a.message, err = queryID(q, "assign"); err != nil {
		return a, err
	}
	a.how.BaseLayer = q.Has("base-layer")
	if list := q.Get("exclude"); list != "" {
		a.how.Exclude = strings.Split(list, ",")
	}
	if err := a.how.Check(); err != nil {
		return a, refused(http.StatusBadRequest, "%v", err)
	}
	return a, nil
}

// pushAssign has the messenger assign a message and push what follows. Whoever cannot be told the assignment yet has to ask
// again, which is harmless.
func (g *Gateway) pushAssign(w http.ResponseWriter, r *http.Request, q url.Values) error {
	a, err := assignmentOf(q)
	if err != nil {
		return err
	}
	ctx, cancel := g.patience(r)
	defer cancel()
	out, err := g.cfg.Messenger.Assign(ctx, a.process, a.message, a.how)
	if isCode(err, ao.Queued) {
		return &refusal{status: http.StatusServiceUnavailable, text: err.Error(), after: headerTime}
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, accepted{"Processing Assignment", out.ID().String()})
}

// assign gives a message that exists already a slot of one more process.
func (g *Gateway) assign(w http.ResponseWriter, r *http.Request, q url.Values) error {
	a, err := assignmentOf(q)
	if err != nil {
		return err
	}
	ctx, cancel := g.patience(r)
	defer cancel()
	out, err := g.cfg.Scheduler.Assign(ctx, a.process, a.message, a.how)
	if isCode(err, ao.Unconfirmed) { // in the reference scheduler's words
		return refused(http.StatusBadRequest, "Not enough confirmations to assign")
	}
	if err != nil {
		return missing(err)
	}
	return writeJSON(w, http.StatusOK, scheduled{out.Fields().Timestamp, out.ID().String()})
}
