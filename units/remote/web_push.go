package remote

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/aopeer/aopeer/ao"
)

// Push gives the messenger a message or a process. It returns when a scheduler has taken it; which slot it got is not
// said.
func (w *Web) Push(ctx context.Context, m ao.Message) error {
	_, err := w.ask(ctx, webCall{
		verb: verbPush, method: http.MethodPost, base: w.messenger, contentType: "application/octet-stream", body: m.Raw(),
	})
	return err
}

// Assign has a message that exists already assigned to a process, and returns the assignment's ID; see units.Messenger.
func (w *Web) Assign(ctx context.Context, process, message ao.ID, how ao.AssignOptions) (ao.ID, error) {
	q := url.Values{"process-id": {process.String()}, "assign": {message.String()}}
	if how.BaseLayer {
		q.Set("base-layer", "")
	}
	if len(how.Exclude) > 0 {
		q.Set("exclude", strings.Join(how.Exclude, ","))
	}
	body, err := w.ask(ctx, webCall{verb: verbPush, method: http.MethodPost, base: w.messenger, query: q})
	if err != nil {
		return ao.ID{}, err
	}
	var said struct{ ID string }
	if json.Unmarshal(body, &said) != nil {
		return ao.ID{}, ao.Refuse(verbPush, ao.Malformed, "the messenger answers with no JSON: %.100q", body)
	}
	id, err := ao.ParseID(said.ID)
	if err != nil {
		return ao.ID{}, ao.Refuse(verbPush, ao.Malformed, "the messenger names no assignment: %.100q", body)
	}
	return id, nil
}

// Monitor has the messenger push what the process does by itself; see units.Messenger.
func (w *Web) Monitor(ctx context.Context, r ao.Request) error {
	return w.request(ctx, http.MethodPost, r)
}

// Unmonitor ends that.
func (w *Web) Unmonitor(ctx context.Context, r ao.Request) error {
	return w.request(ctx, http.MethodDelete, r)
}

func (w *Web) request(ctx context.Context, method string, r ao.Request) error {
	_, err := w.ask(ctx, webCall{
		verb: verbMonitor, method: method, base: w.messenger, path: []string{"monitor", r.Process().String()},
		contentType: "application/octet-stream", body: r.Raw(),
	})
	return err
}
