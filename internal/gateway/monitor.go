package gateway

import (
	"errors"
	"net/http"

	"github.com/aopeer/aopeer/ao"
)

// monitor has a process's ticks pushed.
func (g *Gateway) monitor(w http.ResponseWriter, r *http.Request) error {
	ask, err := g.request(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := g.patience(r)
	defer cancel()
	if err := g.cfg.Messenger.Monitor(ctx, ask); err != nil {
		return err
	}
	writeText(w, "Monitoring process")
	return nil
}

// unmonitor ends it.
func (g *Gateway) unmonitor(w http.ResponseWriter, r *http.Request) error {
	ask, err := g.request(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := g.patience(r)
	defer cancel()
	err = g.cfg.Messenger.Unmonitor(ctx, ask)
	if isCode(err, ao.Untrusted) {
		return refused(http.StatusForbidden, "%v", err)
	}
	if err != nil {
		return err
	}
	writeText(w, "Process deleted")
	return nil
}

// request is the signed item in a body that asks for something about the process in the path.
func (g *Gateway) request(w http.ResponseWriter, r *http.Request) (ao.Request, error) {
	process, err := pathID(r, "pid")
	if err != nil {
		return ao.Request{}, err
	}
	raw, err := g.read(w, r)
	if err != nil {
		return ao.Request{}, err
	}
	ask, err := ao.ParseRequest(raw)
	switch {
	case errors.Is(err, ao.ErrTooLarge):
		return ask, refused(http.StatusRequestEntityTooLarge, "%v", err)
	case err != nil:
		return ask, refused(http.StatusBadRequest, "%v", err)
	case ask.Process() != process:
		return ask, refused(http.StatusBadRequest, "the item's target is %s, not the process in the path", ask.Process())
	}
	return ask, nil
}
