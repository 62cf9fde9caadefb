package remote

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/aopeer/aopeer/ao"
)

// WebResult is one of a page of results.
type WebResult struct {
	Cursor string // to go on behind it
	Result ao.Result
}

// Result is the result of a message, named by its own ID or by its assignment's. While the computer is not there yet it
// refuses as busy.
func (w *Web) Result(ctx context.Context, process, message ao.ID) (ao.Result, error) {
	body, err := w.ask(ctx, webCall{
		verb: verbCompute, method: http.MethodGet, base: w.computer, path: []string{"result", message.String()},
		query: url.Values{"process-id": {process.String()}},
	})
	if err != nil {
		return ao.Result{}, err
	}
	return webParse(body)
}

// Results is what the computer has evaluated of a process behind the cursor, oldest first, at most limit of it. Without a
// cursor it is from the beginning.
func (w *Web) Results(ctx context.Context, process ao.ID, after string, limit int) ([]WebResult, error) {
	return w.results(ctx, process, url.Values{"sort": {"ASC"}}, after, limit)
}

// LastResults is the newest, at most limit of them, oldest first, with cursors to go on upwards.
func (w *Web) LastResults(ctx context.Context, process ao.ID, limit int) ([]WebResult, error) {
	out, err := w.results(ctx, process, url.Values{"sort": {"DESC"}}, "", limit)
	slices.Reverse(out)
	for i := range out {
		out[i].Cursor = upwards(out[i].Cursor)
	}
	return out, err
}

// upwards turns a cursor of a list that was read downwards: its own order goes before the one that is asked for. One that
// is not what computers of today's network write stays as it is.
func upwards(cursor string) string {
	raw, err := base64.StdEncoding.DecodeString(cursor)
	var c map[string]json.RawMessage
	if err != nil || json.Unmarshal(raw, &c) != nil || c["sort"] == nil {
		return cursor
	}
	c["sort"] = json.RawMessage(`"ASC"`)
	if raw, err = json.Marshal(c); err != nil {
		return cursor
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func (w *Web) results(ctx context.Context, process ao.ID, q url.Values, after string, limit int) ([]WebResult, error) {
	q.Set("limit", strconv.Itoa(limit))
	if after != "" {
		q.Set("from", after)
	}
	body, err := w.ask(ctx, webCall{
		verb: verbCompute, method: http.MethodGet, base: w.computer, path: []string{"results", process.String()}, query: q,
	})
	if err != nil {
		return nil, err
	}
	return webPage(body, limit)
}

// webPage reads a page of at most limit results, however many it says that it has.
func webPage(body []byte, limit int) ([]WebResult, error) {
	var page struct{ Edges json.RawMessage }
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, ao.Refuse(verbCompute, ao.Malformed, "a page of results: %v", err)
	}
	d := json.NewDecoder(bytes.NewReader(page.Edges))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, ao.Refuse(verbCompute, ao.Malformed, "a page of results without edges")
	}
	var out []WebResult
	for d.More() && len(out) < limit {
		var e struct {
			Node   json.RawMessage
			Cursor string
		}
		if err := d.Decode(&e); err != nil {
			return nil, ao.Refuse(verbCompute, ao.Malformed, "an edge of a page of results: %v", err)
		}
		r, err := webParse(e.Node)
		if err != nil {
			return nil, err
		}
		out = append(out, WebResult{Cursor: e.Cursor, Result: r})
	}
	return out, nil
}

// DryRun evaluates a message on a copy of the state; see units.Computer.
func (w *Web) DryRun(ctx context.Context, process ao.ID, q ao.Query) (ao.Result, error) {
	ask := struct {
		ID     string `json:"Id"`
		Target string
		Owner  string
		From   string `json:",omitempty"`
		Anchor string
		Data   string
		Tags   ao.Tags
	}{ID: "1234", Target: process.String(), Owner: q.Owner, From: q.From, Anchor: q.Anchor, Data: string(q.Data), Tags: slices.Concat(q.Tags, ao.Tags{
		{Name: "Data-Protocol", Value: ao.DataProtocol}, {Name: "Type", Value: ao.TypeMessage}, {Name: "Variant", Value: ao.Variant},
	})}
	raw, err := json.Marshal(ask)
	if err != nil {
		return ao.Result{}, ao.Refuse(verbCompute, ao.Malformed, "%v", err)
	}
	body, err := w.ask(ctx, webCall{
		verb: verbCompute, method: http.MethodPost, base: w.computer, path: []string{"dry-run"},
		query: url.Values{"process-id": {process.String()}}, contentType: "application/json", body: raw,
	})
	if err != nil {
		return ao.Result{}, err
	}
	return webParse(body)
}

// webParse reads a result as a module's response, which is what a computer hands on.
func webParse(raw []byte) (ao.Result, error) {
	r, err := ao.ParseResponse(slices.Concat([]byte(`{"ok":true,"response":`), raw, []byte("}")))
	if err != nil {
		return r, ao.Refuse(verbCompute, ao.BadResult, "the computer answers with no result: %.100q", raw)
	}
	return r, nil
}
