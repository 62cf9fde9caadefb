package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aopeer/aopeer/ao"
)

const (
	webTimeout   = 60 * time.Second
	webRedirects = 5
	// maxWebAnswer bounds one answer: a page of results, or a result with all that it sends.
	maxWebAnswer = 32 << 20
)

// WebConfig says where the units of today's network are.
type WebConfig struct {
	Messenger string        // URL of a messenger; "" for none
	Computer  string        // URL of a computer; "" for none
	HTTP      *http.Client  // nil is one of its own
	Timeout   time.Duration // of one request; 0 is 60 s
}

// Validate checks the configuration without using the network.
func (c WebConfig) Validate() error {
	for _, s := range []string{c.Messenger, c.Computer} {
		u, err := url.Parse(s)
		if s != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "") {
			return fmt.Errorf("%q is not an http(s) URL", s)
		}
	}
	if c.Timeout < 0 {
		return errors.New("negative timeout")
	}
	return nil
}

// Web is a messenger and a computer of today's network, each behind a URL. Its answers carry no claim, so it is no door
// of package units: whoever asks believes the unit. Safe for concurrent use.
//
// Refusals: those that a status stands for, unreachable, deadline, too-large, malformed; unsupported without a URL.
type Web struct {
	messenger, computer string
	http                *http.Client
	timeout             time.Duration
}

// NewWeb builds a Web; it opens no connection.
func NewWeb(cfg WebConfig) (*Web, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("check web client: %w", err)
	}
	w := &Web{
		messenger: strings.TrimRight(cfg.Messenger, "/"), computer: strings.TrimRight(cfg.Computer, "/"), http: cfg.HTTP, timeout: cfg.Timeout,
	}
	if w.timeout == 0 {
		w.timeout = webTimeout
	}
	if w.http == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxResponseHeaderBytes = 64 << 10
		w.http = &http.Client{Transport: transport, CheckRedirect: fewRedirects}
	}
	return w, nil
}

// fewRedirects follows what routers of today's network answer with, and never out of TLS.
func fewRedirects(to *http.Request, via []*http.Request) error {
	if len(via) >= webRedirects {
		return fmt.Errorf("stopped after %d redirects", webRedirects)
	}
	if via[0].URL.Scheme == "https" && to.URL.Scheme != "https" {
		return fmt.Errorf("redirected from https to %s", to.URL.Scheme)
	}
	return nil
}

// webCall is one request.
type webCall struct {
	verb, method string
	base         string // "" if there is no such unit
	path         []string
	query        url.Values
	contentType  string
	body         []byte
}

// ask sends a request and returns the body of an answer that is no refusal.
func (w *Web) ask(ctx context.Context, c webCall) ([]byte, error) {
	if c.base == "" {
		return nil, ao.Refuse(c.verb, ao.Unsupported, "no URL is given for the unit that does this")
	}
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	to := c.base + "/" + strings.Join(c.path, "/")
	if len(c.query) > 0 {
		to += "?" + c.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, c.method, to, bytes.NewReader(c.body))
	if err != nil {
		return nil, ao.Refuse(c.verb, ao.Malformed, "%v", err)
	}
	req.Header.Set("Accept", "application/json")
	if c.contentType != "" {
		req.Header.Set("Content-Type", c.contentType)
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return nil, w.unreached(ctx, c, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxWebAnswer+1))
	switch {
	case err != nil:
		return nil, w.unreached(ctx, c, err)
	case len(body) > maxWebAnswer:
		return nil, ao.Refuse(c.verb, ao.TooLarge, "the answer has more than %d MiB", maxWebAnswer>>20)
	case resp.StatusCode/100 != 2 || resp.StatusCode == http.StatusAccepted && c.method == http.MethodGet:
		return nil, webRefusal(c.verb, resp.StatusCode, body)
	}
	return body, nil
}

// unreached is why there was no answer. The URL is in the error of package net already.
func (w *Web) unreached(ctx context.Context, c webCall, err error) error {
	if ctx.Err() != nil {
		return ao.Refuse(c.verb, ao.Deadline, "%s does not answer in time", c.base)
	}
	return ao.Refuse(c.verb, ao.Unreachable, "%v", err)
}

// webRefusal is what a status means, with what the unit says about it. A peer of ours says a refusal of the table in words.
// A question that is accepted and not answered is one to ask again.
func webRefusal(verb string, status int, body []byte) *ao.Refusal {
	var said struct{ Error, Message string }
	text := ""
	if json.Unmarshal(body, &said) == nil {
		text = said.Error + said.Message
	}
	if text == "" {
		text = strings.Join(strings.Fields(printable(string(body), 200)), " ")
	}
	hop, rest, _ := strings.Cut(text, ": ")
	if code, detail, _ := strings.Cut(rest, ": "); isWord(hop) && isCode(ao.Code(code)) {
		return ao.Refuse(hop, ao.Code(code), "%s", detail)
	}
	return ao.Refuse(verb, codeOfStatus(status), "HTTP %d: %s", status, text)
}

func codeOfStatus(status int) ao.Code {
	switch status {
	case http.StatusAccepted, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return ao.Busy
	case http.StatusBadRequest:
		return ao.Malformed
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return ao.Unsupported
	case http.StatusNotFound:
		return ao.UnknownMessage
	case http.StatusRequestEntityTooLarge:
		return ao.TooLarge
	case http.StatusUnprocessableEntity:
		return ao.BadLog
	case http.StatusTooEarly:
		return ao.NotYet
	case http.StatusGatewayTimeout:
		return ao.Deadline
	case http.StatusBadGateway:
		return ao.Unreachable
	}
	return ao.Internal
}
