package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// Bounds of a page of a log.
const (
	defaultEdges = 100
	maxEdges     = 1000
)

// schedulerInfo is who schedules here.
type schedulerInfo struct {
	Timestamp string `json:"timestamp"`
	Address   string `json:"address"`
}

// timestampInfo is what a new assignment would say.
type timestampInfo struct {
	Timestamp   string `json:"timestamp"`
	BlockHeight string `json:"block_height"`
}

// scheduled is a slot that was given.
type scheduled struct {
	Timestamp int64  `json:"timestamp"`
	ID        string `json:"id"`
}

// scheduler says who schedules here.
func (g *Gateway) scheduler(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, schedulerInfo{strconv.FormatInt(g.cfg.Now().UnixMilli(), 10), g.cfg.Address})
}

// timestamp says what a new assignment would.
func (g *Gateway) timestamp(w http.ResponseWriter, _ *http.Request) error {
	height, known := g.cfg.Height()
	if !known {
		return &refusal{status: http.StatusServiceUnavailable, text: "no block height is known yet", after: headerTime}
	}
	return writeJSON(w, http.StatusOK, timestampInfo{strconv.FormatInt(g.cfg.Now().UnixMilli(), 10), twelveDigits(height)})
}

// twelveDigits is a height as the reference writes it.
func twelveDigits(height uint64) string {
	s := strconv.FormatUint(height, 10)
	return "000000000000"[min(len(s), 12):] + s
}

// schedule gives an item its slot and pushes nothing.
func (g *Gateway) schedule(w http.ResponseWriter, r *http.Request) error {
	if q := r.URL.Query(); isAssign(q) {
		return g.assign(w, r, q)
	}
	m, err := g.message(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := g.patience(r)
	defer cancel()
	a, err := g.cfg.Scheduler.Schedule(ctx, m.Target(), m)
	if errors.Is(err, &ao.Refusal{Code: ao.WrongScheduler}) {
		return refused(http.StatusForbidden, "Process %s is not allowed on this SU", m.Target())
	}
	if err != nil {
		return missing(err)
	}
	return writeJSON(w, http.StatusOK, scheduled{a.Fields().Timestamp, m.ID().String()})
}

// missing gives what is not there the status that the reference scheduler has for it.
func missing(err error) error {
	for _, c := range []ao.Code{ao.UnknownProcess, ao.UnknownMessage, ao.NotYet} {
		if errors.Is(err, &ao.Refusal{Code: c}) {
			return refused(http.StatusBadRequest, "Message or Process not found: %v", err)
		}
	}
	return err
}

// entries answers with the page of a process, or with the entry of a message.
func (g *Gateway) entries(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, "id")
	if err != nil {
		return err
	}
	process, q := id, r.URL.Query()
	if q.Has("process-id") {
		if process, err = queryID(q, "process-id"); err != nil {
			return err
		}
	}
	ctx, cancel := g.patience(r)
	defer cancel()
	log, err := g.logOf(ctx, Scheduler, process)
	if err != nil {
		return missing(err)
	}
	if id == process {
		return g.page(ctx, w, log, process, q)
	}
	slot, err := log.Find(ctx, process, id)
	if err != nil {
		return missing(err)
	}
	return g.entry(ctx, w, log, process, slot, q.Has("show-anchor"))
}

// entry answers with one entry.
func (g *Gateway) entry(ctx context.Context, w http.ResponseWriter, log units.Log, process ao.ID, slot ao.Slot, anchors bool) error {
	es, err := log.Range(ctx, process, slot, 1)
	if err != nil {
		return missing(err)
	}
	if len(es) == 0 {
		return refused(http.StatusBadRequest, "Message or Process not found: slot %d", slot)
	}
	return writeJSON(w, http.StatusOK, nodeOf(es[0], anchors))
}

// logNamed is the log of the process that the path names.
func (g *Gateway) logNamed(ctx context.Context, r *http.Request) (log units.Log, process ao.ID, err error) {
	if process, err = pathID(r, "pid"); err != nil {
		return nil, process, err
	}
	if log, err = g.logOf(ctx, Scheduler, process); err != nil {
		return nil, process, missing(err)
	}
	return log, process, nil
}

// latest answers with a log's last entry.
func (g *Gateway) latest(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := g.patience(r)
	defer cancel()
	log, process, err := g.logNamed(ctx, r)
	if err != nil {
		return err
	}
	next, err := log.Next(ctx, process)
	if err != nil {
		return missing(err)
	}
	if next == 0 {
		return refused(http.StatusBadRequest, "Latest message not available")
	}
	return g.entry(ctx, w, log, process, next-1, r.URL.Query().Has("show-anchor"))
}

// process answers with the process itself.
func (g *Gateway) process(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := g.patience(r)
	defer cancel()
	log, process, err := g.logNamed(ctx, r)
	if err != nil {
		return err
	}
	es, err := log.Range(ctx, process, 0, 1)
	if err != nil {
		return missing(err)
	}
	if len(es) == 0 || !es[0].Message.IsSpawn() { // old logs begin with a message
		return refused(http.StatusBadRequest, "Message or Process not found")
	}
	return writeJSON(w, http.StatusOK, processOf(es[0]))
}

// page answers with a part of a log.
func (g *Gateway) page(ctx context.Context, w http.ResponseWriter, log units.Log, process ao.ID, q url.Values) error {
	limit, err := queryLimit(q, defaultEdges, maxEdges)
	if err != nil {
		return err
	}
	next, err := log.Next(ctx, process)
	if err != nil {
		return missing(err)
	}
	byNonce := q.Has("from-nonce") || q.Has("to-nonce")
	var part span
	if byNonce {
		part, err = nonceSpan(q, next)
	} else {
		part, err = timeSpan(ctx, log, process, next, q)
	}
	if err != nil {
		return missing(err)
	}
	out, err := g.collect(ctx, log, process, part, limit, q.Has("show-anchor"), byNonce)
	if err != nil {
		return missing(err)
	}
	return writeJSON(w, http.StatusOK, out)
}

// collect fills a page: up to limit entries, or as many as fit. A full page says that there are more, whatever follows.
func (g *Gateway) collect(ctx context.Context, log units.Log, process ao.ID, part span, limit int, anchors, byNonce bool) (page, error) {
	out := page{Edges: []edge{}}
	bytes := int64(0)
	for part.from < part.to {
		es, err := log.Range(ctx, process, part.from, int(min(part.to-part.from, ao.Slot(limit-len(out.Edges)))))
		if err != nil {
			return out, err
		}
		if len(es) == 0 {
			return out, nil
		}
		for _, e := range es {
			if e.Assignment.Nonce() >= part.to { // of a log that leaves slots out
				return out, nil
			}
			bytes += int64(len(e.Message.Raw()) + len(e.Assignment.Raw()))
			if len(out.Edges) == limit || len(out.Edges) > 0 && bytes > g.cfg.Limits.Page {
				out.Info.HasNext = true
				return out, nil
			}
			out.Edges = append(out.Edges, edge{Node: nodeOf(e, anchors), Cursor: cursorOf(e, byNonce)})
			part.from = e.Assignment.Nonce() + 1
		}
		if len(out.Edges) == limit {
			out.Info.HasNext = true
			return out, nil
		}
	}
	return out, nil
}

// cursorOf is where an entry stands: its slot, if slots were asked for, else its time.
func cursorOf(e ao.Entry, byNonce bool) string {
	if byNonce {
		return e.Assignment.Nonce().String()
	}
	return strconv.FormatInt(e.Assignment.Fields().Timestamp, 10)
}

// span is a part of a log: from one slot up to before another.
type span struct{ from, to ao.Slot }

// nonceSpan is the slots after from-nonce and up to to-nonce. What is no number of a slot lies before or after all.
func nonceSpan(q url.Values, next ao.Slot) (span, error) {
	out := span{0, next}
	if q.Has("from-nonce") {
		n, err := queryInt(q, "from-nonce")
		if err != nil {
			return out, err
		}
		out.from = after(n, next)
		if n < -1 { // before the process itself, which is there only for whoever asks from -1
			out.from = min(1, next)
		}
	}
	if q.Has("to-nonce") {
		n, err := queryInt(q, "to-nonce")
		if err != nil {
			return out, err
		}
		out.to = after(n, next)
	}
	return out, nil
}

// after is the slot after n, at most next.
func after(n int64, next ao.Slot) ao.Slot {
	if n < 0 {
		return 0
	}
	return min(ao.Slot(n)+1, next)
}

// timeSpan is the slots after the time from and up to the time to. The process itself is there only for whoever asks from
// the beginning.
func timeSpan(ctx context.Context, log units.Log, process ao.ID, next ao.Slot, q url.Values) (span, error) {
	out := span{0, next}
	if q.Has("from") {
		ms, err := queryInt(q, "from")
		if err != nil {
			return out, err
		}
		if out.from, err = afterTime(ctx, log, process, next, ms); err != nil {
			return out, err
		}
		out.from = max(out.from, 1)
	}
	if q.Has("to") {
		ms, err := queryInt(q, "to")
		if err != nil {
			return out, err
		}
		if out.to, err = afterTime(ctx, log, process, next, ms); err != nil {
			return out, err
		}
	}
	return out, nil
}

// afterTime is the first slot with a later timestamp. Timestamps rise strictly along a log, so it is found by halves.
func afterTime(ctx context.Context, log units.Log, process ao.ID, next ao.Slot, ms int64) (ao.Slot, error) {
	low, high := ao.Slot(0), next
	for low < high {
		middle := low + (high-low)/2
		es, err := log.Range(ctx, process, middle, 1)
		if err != nil {
			return 0, err
		}
		if len(es) == 0 || es[0].Assignment.Fields().Timestamp > ms {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low, nil
}

// pathID is the ID in a path.
func pathID(r *http.Request, name string) (ao.ID, error) {
	id, err := ao.ParseID(r.PathValue(name))
	if err != nil {
		return id, refused(http.StatusBadRequest, "%.64q is no ID of 43 base64url characters", r.PathValue(name))
	}
	return id, nil
}

// queryID is the ID in a parameter.
func queryID(q url.Values, name string) (ao.ID, error) {
	if !q.Has(name) {
		return ao.ID{}, refused(http.StatusBadRequest, "a %s query parameter is required", name)
	}
	id, err := ao.ParseID(q.Get(name))
	if err != nil {
		return id, refused(http.StatusBadRequest, "%s %.64q is no ID of 43 base64url characters", name, q.Get(name))
	}
	return id, nil
}

// queryInt is the whole number in a parameter.
func queryInt(q url.Values, name string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(q.Get(name)), 10, 63)
	if err != nil {
		return 0, refused(http.StatusBadRequest, "%s %.32q is no whole number", name, q.Get(name))
	}
	return n, nil
}

// queryLimit is how many are asked for.
func queryLimit(q url.Values, most, top int) (int, error) {
	if !q.Has("limit") {
		return most, nil
	}
	n, err := queryInt(q, "limit")
	if err != nil {
		return 0, err
	}
	if n < 1 {
		return 0, refused(http.StatusBadRequest, "limit %d: at least 1", n)
	}
	return int(min(n, int64(top))), nil
}
