package remote

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// ErrPage says that the answer of a scheduler elsewhere is not what the reference unit would give.
var ErrPage = errors.New("not a page of a scheduler")

// httpPage is a page of a log as the reference unit gives it.
type httpPage struct {
	Edges httpEdges `json:"edges"`
}

type httpEdge struct {
	Node httpNode `json:"node"`
}

// httpNode is a slot. The message is absent where one was assigned that exists elsewhere.
type httpNode struct {
	Message    *httpItem `json:"message"`
	Assignment *httpItem `json:"assignment"`
}

// httpItem is the parts of a signed item. Data and, without being asked for, Anchor are text, so that bytes which are none
// are lost.
type httpItem struct {
	ID    string `json:"id"`
	Owner struct {
		Key string `json:"key"`
	} `json:"owner"`
	Tags      httpTags `json:"tags"`
	Signature string   `json:"signature"`
	Data      string   `json:"data"`
	Anchor    string   `json:"anchor"`
	Target    string   `json:"target"`
}

// httpProcess is a process as it is described by itself.
type httpProcess struct {
	ID string `json:"process_id"`
	httpItem
}

type (
	httpEdges []httpEdge
	httpTags  []ans104.Tag
)

// UnmarshalJSON reads at most a page of edges.
func (e *httpEdges) UnmarshalJSON(raw []byte) (err error) {
	*e, err = decodeList[httpEdge](raw, maxPage)
	return err
}

// UnmarshalJSON reads as many tags as an item may have.
func (t *httpTags) UnmarshalJSON(raw []byte) (err error) {
	*t, err = decodeList[ans104.Tag](raw, ans104.MaxTags)
	return err
}

// decodeList stops where a list is too long: an element takes many times the bytes of its JSON.
func decodeList[T any](raw []byte, most int) (out []T, err error) {
	if string(raw) == "null" {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if open, err := d.Token(); err != nil || open != json.Delim('[') {
		return nil, fmt.Errorf("%w: no list", ErrPage)
	}
	for d.More() {
		if len(out) == most {
			return nil, fmt.Errorf("%w: a list of over %d", ErrPage, most)
		}
		var v T
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPage, err)
		}
		out = append(out, v)
	}
	return out, nil
}

// parseHTTPPage reads a page and the slots that its nodes say they have, which must rise from the one asked for on.
func parseHTTPPage(raw []byte, process ao.ID, from ao.Slot, limit int) ([]httpNode, []ao.Slot, error) {
	var p httpPage
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrPage, err)
	}
	if len(p.Edges) > limit {
		return nil, nil, fmt.Errorf("%w: %d entries, %d were asked for", ErrPage, len(p.Edges), limit)
	}
	nodes, slots := make([]httpNode, 0, len(p.Edges)), make([]ao.Slot, 0, len(p.Edges))
	for _, e := range p.Edges {
		slot, err := e.Node.slot(process)
		if err != nil {
			return nil, nil, err
		}
		if slot < from {
			return nil, nil, fmt.Errorf("%w: slot %d where %d or a later one was asked for", ErrPage, slot, from)
		}
		nodes, slots, from = append(nodes, e.Node), append(slots, slot), slot+1
	}
	return nodes, slots, nil
}

// slot is what the node says of itself; its signature is checked with the rest.
func (n httpNode) slot(process ao.ID) (ao.Slot, error) {
	if n.Assignment == nil {
		return 0, fmt.Errorf("%w: an entry without an assignment", ErrPage)
	}
	tags := ao.Tags(n.Assignment.Tags)
	if tags.Get("Process") != process.String() {
		return 0, fmt.Errorf("%w: an entry of %.48q", ErrPage, tags.Get("Process"))
	}
	slot, err := ao.ParseSlot(tags.Get("Nonce"))
	if err != nil || slot > maxSlot {
		return 0, fmt.Errorf("%w: an entry with the slot %.24q", ErrPage, tags.Get("Nonce"))
	}
	return slot, nil
}

// item puts the item together; v verifies it. An error says that its parts are not the original ones, or not all there.
func (h *httpItem) item(v *ans104.Verifier) (*ans104.Item, error) {
	id, err := ans104.ParseID(h.ID)
	if err != nil {
		return nil, fmt.Errorf("%w: id %.48q", ErrPage, h.ID)
	}
	const mostKey = 700 // of RSA, in base64url
	if len(h.Signature) > mostKey || len(h.Owner.Key) > mostKey || len(h.Target) > 64 || len(h.Anchor) > 128 {
		return nil, fmt.Errorf("%w: long fields", ErrPage)
	}
	decode := base64.RawURLEncoding.DecodeString
	signature, err := decode(h.Signature)
	if err != nil {
		return nil, fmt.Errorf("%w: signature", ErrPage)
	}
	owner, err := decode(h.Owner.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: owner", ErrPage)
	}
	target, err := decode(h.Target)
	if err != nil {
		return nil, fmt.Errorf("%w: target", ErrPage)
	}
	f := ans104.Fields{Target: target, Tags: h.Tags, Data: []byte(h.Data)}
	if f.Anchor = []byte(h.Anchor); len(f.Anchor) > 32 { // as it is, where it is text
		if f.Anchor, err = decode(h.Anchor); err != nil {
			return nil, fmt.Errorf("%w: anchor", ErrPage)
		}
	}
	it, err := ans104.AssembleBy(v, signature, owner, f)
	if err != nil {
		return nil, err
	}
	if it.ID() != id {
		return nil, fmt.Errorf("%w: another item than %s", ErrPage, id)
	}
	return it, nil
}

// unmarshalLoose reads JSON that may be none.
func unmarshalLoose(raw []byte, v any) bool { return json.Unmarshal(raw, v) == nil }
