package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/aopeer/aopeer/ao"
)

// Bounds of a dry-run.
const (
	maxQueryTags  = 512
	maxAnswers    = 1024             // remembered
	maxAnswer     = 256 << 10        // bytes of one that is remembered
	maxAnswersAge = 60 * time.Second // the longest that one may be asked for
)

// dryMessage is the message of a dry-run. Nobody signs it, so that everything in it is what the caller says.
type dryMessage struct {
	Owner  *string         `json:"Owner"`
	From   *string         `json:"From"`
	Target *string         `json:"Target"`
	Anchor *string         `json:"Anchor"`
	Data   json.RawMessage `json:"Data"`
	Tags   []dryTag        `json:"Tags"`
}

// dryTag is a tag whose value may be a number or a truth value, which is then its text.
type dryTag struct {
	Name  string   `json:"name"`
	Value dryValue `json:"value"`
}

type dryValue string

// UnmarshalJSON reads any value that is no list and no object.
func (v *dryValue) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && (raw[0] == '[' || raw[0] == '{') {
		return errors.New("the value of a tag is a list or an object")
	}
	*v = dryValue(dataOf(raw))
	return nil
}

// anybody is who asks if the caller does not say.
const anybody = "1234"

// query is what the computer is asked.
func (m dryMessage) query() ao.Query {
	q := ao.Query{Owner: anybody, Data: dataOf(m.Data)}
	if m.Owner != nil && *m.Owner != "" {
		q.Owner = *m.Owner
	}
	if m.Anchor != nil {
		q.Anchor = *m.Anchor
	}
	if m.From != nil {
		q.From = *m.From
	}
	for _, t := range m.Tags {
		q.Tags = append(q.Tags, ao.Tag{Name: t.Name, Value: string(t.Value)})
	}
	if p, ok := q.Tags.Lookup("From-Process"); ok {
		q.From = p
	}
	return q
}

// dataOf is the data: text as it is, anything else as its JSON.
func dataOf(raw json.RawMessage) []byte {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return []byte(s)
	}
	return raw
}

// dryKey is what an answer is remembered under.
func dryKey(process ao.ID, to *ao.ID, body []byte) [sha256.Size]byte {
	key := process[:]
	if to != nil {
		key = append(key, to[:]...)
	}
	return sha256.Sum256(append(append(key, '/'), body...))
}

// dryRun evaluates a message on a copy of a state and forgets it.
func (g *Gateway) dryRun(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	process, err := queryID(q, "process-id")
	if err != nil {
		return err
	}
	age, err := maxAge(r)
	if err != nil {
		return err
	}
	if wait := g.dry.take(caller(r)); wait > 0 {
		return &refusal{status: http.StatusTooManyRequests, text: "Rate limit exceeded", after: wait}
	}
	raw, err := g.read(w, r)
	if err != nil {
		return err
	}
	var m dryMessage
	if err := json.Unmarshal(raw, &m); err != nil || !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		return refused(http.StatusBadRequest, "the body is no message in JSON: an object with Owner, Target, Anchor, Data and Tags")
	}
	if len(m.Tags) > maxQueryTags {
		return refused(http.StatusBadRequest, "%d tags, at most %d", len(m.Tags), maxQueryTags)
	}
	if m.Target != nil && *m.Target != "" && *m.Target != process.String() {
		return refused(http.StatusBadRequest, "the message's Target is not the process that is asked")
	}
	var to *ao.ID
	if q.Get("to") != "" {
		message, err := queryID(q, "to")
		if err != nil {
			return err
		}
		to = &message
	}
	key := dryKey(process, to, raw)
	if out, ok := g.cache.get(key, age); ok {
		return writeJSON(w, http.StatusOK, out)
	}
	if !g.runs.enter(process) {
		return &refusal{status: http.StatusServiceUnavailable, text: "too many dry-runs of this process at once", after: time.Second}
	}
	defer g.runs.leave(process)
	ctx, cancel := g.patience(r)
	defer cancel()
	result, err := g.evaluateDry(ctx, process, to, m.query())
	if err != nil {
		return err
	}
	out := resultOf(result)
	g.cache.put(key, out)
	return writeJSON(w, http.StatusOK, out)
}

// evaluateDry asks the computer, about the newest state or, if a message is named, about that after its slot.
func (g *Gateway) evaluateDry(ctx context.Context, process ao.ID, to *ao.ID, q ao.Query) (ao.Result, error) {
	if to == nil {
		result, err := g.cfg.Computer.DryRun(ctx, process, q)
		if err != nil {
			return result, g.busyAtHead(ctx, process, err)
		}
		return result, nil
	}
	slot, err := g.slotOf(ctx, process, *to)
	if err != nil {
		return ao.Result{}, err
	}
	if g.cfg.States == nil {
		return ao.Result{}, noStates()
	}
	result, err := g.cfg.States.DryRunAt(ctx, process, slot, q)
	if err != nil {
		return result, g.busy(ctx, process, slot, err)
	}
	return result, nil
}

// maxAge is how old an answer may be.
func maxAge(r *http.Request) (time.Duration, error) {
	given := r.Header.Get("X-Max-Age")
	if given == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(given, 10, 31)
	if err != nil {
		return 0, refused(http.StatusBadRequest, "x-max-age %.16q is no number of seconds", given)
	}
	return min(time.Duration(n)*time.Second, maxAnswersAge), nil
}

// answers remembers what dry-runs brought, for callers who take an answer that is some seconds old.
type answers struct {
	now func() time.Time

	lock sync.Mutex
	kept map[[32]byte]kept
}

type kept struct {
	at     time.Time
	answer resultInfo
}

func newAnswers(now func() time.Time) *answers { return &answers{now: now, kept: map[[32]byte]kept{}} }

// get is an answer that is younger than age.
func (a *answers) get(key [32]byte, age time.Duration) (resultInfo, bool) {
	a.lock.Lock()
	defer a.lock.Unlock()
	k, ok := a.kept[key]
	return k.answer, ok && age > 0 && a.now().Sub(k.at) < age
}

// put keeps an answer. When there are too many, those that nobody may ask for any more go, or else all.
func (a *answers) put(key [32]byte, r resultInfo) {
	if r.size() > maxAnswer {
		return
	}
	a.lock.Lock()
	defer a.lock.Unlock()
	now := a.now()
	if len(a.kept) >= maxAnswers {
		for k, old := range a.kept {
			if now.Sub(old.at) >= maxAnswersAge {
				delete(a.kept, k)
			}
		}
		if len(a.kept) >= maxAnswers {
			clear(a.kept)
		}
	}
	a.kept[key] = kept{at: now, answer: r}
}

// size is about how much a result takes.
func (r resultInfo) size() int {
	n := len(r.Output) + len(r.Error)
	for _, list := range [][]json.RawMessage{r.Messages, r.Assignments, r.Spawns} {
		for _, m := range list {
			n += len(m)
		}
	}
	return n
}
