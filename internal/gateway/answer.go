package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/aopeer/aopeer/ao"
)

// The content types of answers.
const (
	kindJSON  = "application/json"
	kindText  = "text/plain; charset=utf-8"
	kindBytes = "application/octet-stream"
)

// refusal is why a request is not answered: a status, and a line for whoever reads it.
type refusal struct {
	status int
	text   string
	after  time.Duration // when to try again; 0 does not say
}

// Error is the line.
func (r *refusal) Error() string { return r.text }

func refused(status int, format string, args ...any) *refusal {
	return &refusal{status: status, text: fmt.Sprintf(format, args...)}
}

// errNoRoute is the answer to a path that nobody serves.
var errNoRoute = errors.New("no such route")

// errorBody is what every refusal says.
type errorBody struct {
	Error string `json:"error"`
}

// answered runs a handler and writes its refusal, if it refuses.
func (g *Gateway) answered(do handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := do(g, w, r); err != nil {
			g.refuse(w, r, err)
		}
	})
}

// refuse writes an error as its status and {"error"}.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var own *refusal
	if !errors.As(err, &own) {
		own = g.judge(r, err)
	}
	if own.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((own.after+time.Second-1)/time.Second)))
	}
	if err := writeJSON(w, own.status, errorBody{own.text}); err != nil {
		g.cfg.Logger.Debug("write refusal", "path", r.URL.Path, "err", err)
	}
}

// judge finds the status of what a door of units refused.
func (g *Gateway) judge(r *http.Request, err error) *refusal {
	var tooLong *http.MaxBytesError
	switch {
	case errors.Is(err, errNoRoute):
		return refused(http.StatusNotFound, "%s %.64q: no such route", r.Method, r.URL.Path)
	case errors.As(err, &tooLong):
		return refused(http.StatusRequestEntityTooLarge, "the body has more than %d bytes", tooLong.Limit)
	case errors.Is(err, context.DeadlineExceeded):
		return &refusal{status: http.StatusServiceUnavailable, text: "the answer did not come in time", after: time.Second}
	case errors.Is(err, context.Canceled):
		return refused(http.StatusServiceUnavailable, "the request was given up")
	}
	var u *ao.Refusal
	if !errors.As(err, &u) {
		g.cfg.Logger.Error("answer request", "path", r.URL.Path, "err", err)
		return refused(http.StatusInternalServerError, "something went wrong here; see the peer's log")
	}
	out := refused(statusOf(u.Code), "%s", u.Error())
	switch out.status {
	case http.StatusInternalServerError:
		g.cfg.Logger.Error("answer request", "path", r.URL.Path, "err", err)
	case http.StatusServiceUnavailable:
		out.after = time.Second
	}
	return out
}

// statusOf is the status of a code where the surface has no other for it.
func statusOf(c ao.Code) int {
	switch c {
	case ao.Malformed, ao.BadSignature, ao.NotAO, ao.WrongType, ao.BadTags, ao.NoTarget, ao.BadDraft, ao.BadAmount, ao.Unconfirmed:
		return http.StatusBadRequest
	case ao.TooLarge:
		return http.StatusRequestEntityTooLarge
	case ao.WrongScheduler:
		return http.StatusForbidden
	case ao.UnknownProcess, ao.UnknownMessage, ao.UnknownUnit, ao.NotYet:
		return http.StatusNotFound
	case ao.UnknownModule, ao.BadModule, ao.BadFormat, ao.BadLog, ao.BadState, ao.BadResult, ao.BadClaim, ao.Corrupt, ao.Contradiction:
		return http.StatusUnprocessableEntity
	case ao.Conflict:
		return http.StatusConflict
	case ao.Queued:
		return http.StatusAccepted
	case ao.Unsupported:
		return http.StatusNotImplemented
	case ao.Busy, ao.Deadline, ao.Unreachable, ao.ArchiveDown, ao.Unfunded, ao.Unpaid, ao.NoDeal, ao.NoOffer, ao.OverCap:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// writeJSON writes a value as JSON.stringify would: without the escapes that HTML wants.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	out := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	w.Header().Set("Content-Type", kindJSON)
	w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	w.WriteHeader(status)
	_, _ = w.Write(out) // whoever went away hears nothing
	return nil
}

func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", kindText)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = io.WriteString(w, text)
}

// health says whether the peer takes work.
func (g *Gateway) health(w http.ResponseWriter, _ *http.Request) error {
	if why := g.cfg.NotReady(); why != "" {
		return &refusal{status: http.StatusServiceUnavailable, text: why, after: time.Second}
	}
	writeText(w, "")
	return nil
}

// status says what the peer does.
func (g *Gateway) status(w http.ResponseWriter, _ *http.Request) error {
	if g.cfg.Status == nil {
		return errNoRoute
	}
	s, err := g.cfg.Status()
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s)
}
