package gateway

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// Bounds of a page of results.
const (
	defaultResults = 25
	maxResults     = 1000
	maxCursor      = 512 // bytes
)

// resultPage is a part of a process's results as the reference computer writes it.
type resultPage struct {
	Info  resultPageInfo `json:"pageInfo"`
	Edges []resultEdge   `json:"edges"`
}

type resultPageInfo struct {
	HasNext bool `json:"hasNextPage"`
}

type resultEdge struct {
	Node   resultInfo `json:"node"`
	Cursor string     `json:"cursor"`
}

// The orders of results.
const (
	ascending  = "ASC"
	descending = "DESC"
)

// cursor is where a result stands among those of its process. Clients look into it.
type cursor struct {
	Timestamp int64   `json:"timestamp"`
	Ordinate  string  `json:"ordinate"` // the slot
	Cron      *string `json:"cron"`
	Sort      string  `json:"sort"`
}

// String is base64 of JSON, as btoa makes it.
func (c cursor) String() string {
	raw, err := json.Marshal(c)
	if err != nil { // texts and numbers always marshal
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// bound is an end of a range of results: that of a slot, that of a tick, or a time alone.
type bound struct {
	time     int64
	slot     ao.Slot
	hasSlot  bool
	cron     string // of a tick
	interval int    // likewise: its place among the process's
	sort     string
	isAbsent bool
}

// parseBound reads a cursor or a timestamp. Ordinates were numbers once, and may be; so may timestamps be text.
func parseBound(q url.Values, name string) (bound, error) {
	given := q.Get(name)
	if given == "" {
		return bound{isAbsent: true}, nil
	}
	if len(given) > maxCursor {
		return bound{}, refused(http.StatusBadRequest, "%s has %d bytes: a cursor has at most %d", name, len(given), maxCursor)
	}
	if ms, err := strconv.ParseInt(given, 10, 63); err == nil {
		return bound{time: ms}, nil
	}
	bad := refused(http.StatusBadRequest, "%s %.64q is neither a cursor of this list nor a timestamp", name, given)
	raw, err := base64.StdEncoding.DecodeString(given)
	if err != nil {
		if raw, err = base64.RawURLEncoding.DecodeString(given); err != nil {
			return bound{}, bad
		}
	}
	var c struct {
		Timestamp json.RawMessage `json:"timestamp"`
		Ordinate  json.RawMessage `json:"ordinate"`
		Cron      string          `json:"cron"`
		Sort      string          `json:"sort"`
	}
	if json.Unmarshal(raw, &c) != nil || c.Sort != "" && c.Sort != ascending && c.Sort != descending {
		return bound{}, bad
	}
	out := bound{sort: c.Sort, cron: c.Cron}
	ms, isTime := wholeNumber(c.Timestamp)
	slot, isSlot := wholeNumber(c.Ordinate)
	isTick := true
	if c.Cron != "" {
		out.interval, isTick = intervalOf(c.Cron)
	}
	if !isTime || !isTick {
		return bound{}, bad
	}
	out.time, out.slot, out.hasSlot = ms, ao.Slot(slot), isSlot
	return out, nil
}

// wholeNumber is a number, or text that is one, from 0 on.
func wholeNumber(raw json.RawMessage) (int64, bool) {
	text := string(raw)
	var inner string
	if json.Unmarshal(raw, &inner) == nil {
		text = inner
	}
	n, err := strconv.ParseInt(text, 10, 63)
	return n, err == nil && n >= 0
}

// slotAfter is the first slot that comes after a bound.
func (b bound) slotAfter(ctx context.Context, log units.Log, process ao.ID, next ao.Slot) (ao.Slot, error) {
	switch {
	case b.cron != "": // a slot of its time comes after a tick
		return afterTime(ctx, log, process, next, b.time-1)
	case b.hasSlot:
		return min(b.slot+1, next), nil
	}
	return afterTime(ctx, log, process, next, b.time)
}

// listing is what is asked of a list of results.
type listing struct {
	process  ao.ID
	from, to bound
	order    string
	limit    int
}

// listingOf reads a request.
func listingOf(r *http.Request, usual, most int) (l listing, err error) {
	q := r.URL.Query()
	if l.process, err = pathID(r, "pid"); err != nil {
		return l, err
	}
	if l.limit, err = queryLimit(q, usual, most); err != nil {
		return l, err
	}
	if l.from, err = parseBound(q, "from"); err != nil {
		return l, err
	}
	if l.to, err = parseBound(q, "to"); err != nil {
		return l, err
	}
	l.order, err = orderOf(q, l.from, l.to)
	return l, err
}

// results answers with a part of the results, which are evaluated first if they have to be.
func (g *Gateway) results(w http.ResponseWriter, r *http.Request) error {
	l, err := listingOf(r, defaultResults, maxResults)
	if err != nil {
		return err
	}
	wait, cancel := g.patience(r)
	defer cancel()
	ctx, stop := context.WithTimeout(r.Context(), g.cfg.Limits.AnswerTime+writeTime/2) // reads what is there when the wait is over
	defer stop()
	all, more, err := g.slots(ctx, wait, &l)
	if err != nil {
		return err
	}
	ticks, err := g.among(wait, l)
	if err != nil {
		return g.busyAtHead(ctx, l.process, err)
	}
	all = merged(all, ticks)
	if l.order == descending {
		slices.Reverse(all)
	}
	out := resultPage{Info: resultPageInfo{more || len(all) > l.limit}, Edges: []resultEdge{}}
	for _, p := range all[:min(l.limit, len(all))] {
		out.Edges = append(out.Edges, p.edge)
	}
	return writeJSON(w, http.StatusOK, out)
}

// cut is the part that fits on a page, and whether there is more.
func (s span) cut(limit int, order string) (span, bool) {
	n := ao.Slot(limit)
	switch {
	case s.from >= s.to || s.to-s.from <= n:
		return s, false
	case order == descending:
		return span{s.to - n, s.to}, true
	}
	return span{s.from, s.from + n}, true
}

// orderOf is the order of a list: that of a cursor goes before what the caller says, since it is the order that the caller
// was walking in.
func orderOf(q url.Values, from, to bound) (string, error) {
	for _, s := range []string{from.sort, to.sort, q.Get("sort")} {
		switch s {
		case "":
		case ascending, descending:
			return s, nil
		default:
			return "", refused(http.StatusBadRequest, "sort %.16q is neither ASC nor DESC", s)
		}
	}
	return ascending, nil
}

// slots are the results of a list's slots, as many as fit, in the order of the log, and whether there are more. If evaluating
// them takes longer than wait, those of an ascending list that are there already are given, and the list ends with them.
func (g *Gateway) slots(ctx, wait context.Context, l *listing) (out []placed, more bool, err error) {
	log, err := g.logOf(ctx, Computer, l.process)
	if err != nil {
		return nil, false, err
	}
	next, err := log.Next(ctx, l.process)
	if err != nil {
		return nil, false, err
	}
	part := span{0, next}
	if !l.from.isAbsent {
		if part.from, err = l.from.slotAfter(ctx, log, l.process, next); err != nil {
			return nil, false, err
		}
	}
	if !l.to.isAbsent {
		if part.to, err = l.to.slotAfter(ctx, log, l.process, next); err != nil {
			return nil, false, err
		}
	}
	if part, more = part.cut(l.limit, l.order); part.from >= part.to {
		return nil, more, nil
	}
	// The last one is asked for first, so that all before it are evaluated on the way.
	if _, err := g.compute(wait, l.process, part.to-1); err != nil && (l.order == descending || wait.Err() == nil) {
		return nil, false, err
	}
	for part.from < part.to {
		es, err := log.Range(ctx, l.process, part.from, int(part.to-part.from))
		if err != nil {
			return nil, false, err
		}
		if len(es) == 0 {
			return out, false, nil
		}
		for _, e := range es {
			slot := e.Assignment.Nonce()
			if slot >= part.to { // of a log that leaves slots out
				return out, more, nil
			}
			a, err := g.compute(wait, l.process, slot)
			if err != nil && wait.Err() != nil && l.order == ascending && len(out) > 0 {
				l.to = out[len(out)-1].at
				return out, true, nil
			}
			if err != nil {
				return nil, false, err
			}
			at := bound{time: e.Assignment.Fields().Timestamp, slot: slot, hasSlot: true}
			c := cursor{Timestamp: at.time, Ordinate: slot.String(), Sort: l.order}
			out = append(out, placed{at, edgeOf(a.Result, c)})
			part.from = slot + 1
		}
	}
	return out, more, nil
}

// edgeOf is a result in a list, which does not say, as the reference's does not, what it cost.
func edgeOf(r ao.Result, c cursor) resultEdge {
	node := resultOf(r)
	node.GasUsed = 0
	return resultEdge{Node: node, Cursor: c.String()}
}

// isCode says whether an error is a refusal with that code.
func isCode(err error, c ao.Code) bool { return errors.Is(err, &ao.Refusal{Code: c}) }
