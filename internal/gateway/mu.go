package gateway

import (
	"errors"
	"net/http"

	"github.com/aopeer/aopeer/ao"
)

// accepted says that a messenger has taken something.
type accepted struct {
	Message string `json:"message"`
	ID      string `json:"id"`
}

// greet says what is here.
func (g *Gateway) greet(w http.ResponseWriter, _ *http.Request) error {
	writeText(w, "ao messenger unit")
	return nil
}

// push hands an item to the messenger, which answers once it has its slot. One that is queued is safe too, so the caller
// hears no other word.
func (g *Gateway) push(w http.ResponseWriter, r *http.Request) error {
	if q := r.URL.Query(); isAssign(q) {
		return g.pushAssign(w, r, q)
	}
	m, err := g.message(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := g.patience(r)
	defer cancel()
	_, err = g.cfg.Messenger.Push(ctx, m)
	if err != nil && !errors.Is(err, &ao.Refusal{Code: ao.Queued}) {
		return err
	}
	return writeJSON(w, http.StatusAccepted, accepted{"Processing DataItem", m.ID().String()})
}

// message is the signed item in a body.
func (g *Gateway) message(w http.ResponseWriter, r *http.Request) (ao.Message, error) {
	raw, err := g.read(w, r)
	if err != nil {
		return ao.Message{}, err
	}
	if len(raw) == 0 {
		return ao.Message{}, refused(http.StatusBadRequest, "the body is empty: it must be a signed ANS-104 item")
	}
	m, err := ao.ParseMessage(raw)
	if errors.Is(err, ao.ErrTooLarge) {
		return m, refused(http.StatusRequestEntityTooLarge, "%v", err)
	}
	if err != nil { // whatever is wrong, the sender can see it from the text
		return m, refused(http.StatusBadRequest, "%v", err)
	}
	return m, nil
}
