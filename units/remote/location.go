package remote

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// typeLocation is an item by which a scheduler says where it is reached by HTTP.
const typeLocation = "Scheduler-Location"

const (
	maxLocationURL = 2048
	maxLocations   = 4096
	maxAddress     = 64
	// maxListed is how many of a scheduler's items are looked through for one that makes sense.
	maxListed = 10
	// leastLife and mostLife bound what a scheduler may say of how long its location holds.
	leastLife = time.Minute
	mostLife  = 7 * 24 * time.Hour
	// unfoundLife is how long nobody is asked again for a scheduler that has not said where it is.
	unfoundLife = 30 * time.Second
)

// location is where a scheduler is, and until when that holds.
type location struct {
	turn chan struct{} // held by who looks it up

	// Under the lock of Elsewhere.
	base  string
	until time.Time
	none  bool // it has not said where it is
}

// Knows says whether the unit of that address can be asked without looking it up. The receiver may be nil.
func (e *Elsewhere) Knows(address string) bool {
	if e == nil {
		return false
	}
	_, found, none := e.cached(address)
	return e.cfg.URL != "" || found && !none
}

// cached is what is known of an address.
func (e *Elsewhere) cached(address string) (base string, found, none bool) {
	e.lock.Lock()
	defer e.lock.Unlock()
	l := e.found[address]
	if l == nil || !e.cfg.Now().Before(l.until) {
		return "", false, false
	}
	return l.base, true, l.none
}

func (e *Elsewhere) unit(ctx context.Context, address string) (httpUnit, error) {
	if e.cfg.URL != "" {
		return e.at(e.cfg.URL), nil
	}
	base, err := e.locate(ctx, address)
	if err != nil {
		return httpUnit{}, err
	}
	return e.at(base), nil
}

// locate is where the newest item says that the scheduler is. An address is looked up once for all who ask.
func (e *Elsewhere) locate(ctx context.Context, address string) (string, error) {
	if len(address) > maxAddress {
		return "", ao.Refuse(verbSchedule, ao.UnknownUnit, "%.80q is no address", address)
	}
	e.lock.Lock()
	l := e.found[address]
	if l == nil {
		if len(e.found) >= maxLocations {
			clear(e.found)
		}
		l = &location{turn: make(chan struct{}, 1)}
		e.found[address] = l
	}
	e.lock.Unlock()
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return "", Refusal(verbSchedule, ctx.Err())
	}
	base, found, none := e.cached(address)
	if !found {
		at, life, err := e.lookUp(ctx, address)
		if none = errors.Is(err, &ao.Refusal{Code: ao.UnknownUnit}); none {
			life = unfoundLife
		} else if err != nil {
			return "", err
		}
		base = at
		e.lock.Lock()
		l.base, l.until, l.none = base, e.cfg.Now().Add(life), none
		e.lock.Unlock()
	}
	if none {
		return "", ao.Refuse(verbSchedule, ao.UnknownUnit, "%s is on no mesh and has not said where it is", address)
	}
	return base, nil
}

// lookUp asks the archive. The index is believed: who lies about a scheduler can keep it from being found, which no check
// would change, and what is served there is checked against its key.
func (e *Elsewhere) lookUp(ctx context.Context, address string) (string, time.Duration, error) {
	page, err := e.cfg.Archive.Query(ctx, arweave.Query{
		Owners: []string{address}, First: maxListed,
		Tags: []arweave.TagFilter{{Name: "Data-Protocol", Values: []string{ao.DataProtocol}}, {Name: "Type", Values: []string{typeLocation}}},
	})
	if err != nil {
		return "", 0, Refusal(verbSchedule, err)
	}
	for _, f := range page.Found[:min(len(page.Found), maxListed)] {
		if f.Owner != "" && f.Owner != address {
			continue
		}
		if base, life, ok := parseLocation(ao.Tags(f.Tags)); ok {
			return base, life, nil
		}
	}
	return "", 0, ao.Refuse(verbSchedule, ao.UnknownUnit, "%s", address)
}

// parseLocation reads where and how long; both must be there.
func parseLocation(tags ao.Tags) (base string, life time.Duration, ok bool) {
	base, err := parseBase(tags.Get("Url"))
	if err != nil || tags.Get("Type") != typeLocation {
		return "", 0, false
	}
	ms, err := strconv.ParseUint(tags.Get("Time-To-Live"), 10, 63)
	if err != nil {
		return "", 0, false
	}
	life = mostLife
	if ms < uint64(mostLife/time.Millisecond) {
		life = max(leastLife, time.Duration(ms)*time.Millisecond)
	}
	return base, life, true
}

// SignLocation says where the scheduler of that key is reached by HTTP, for life from now on.
func SignLocation(s ans104.Signer, at *url.URL, life time.Duration, now time.Time) (*ans104.Item, error) {
	return ans104.Sign(s, ans104.Fields{Data: []byte(" "), Tags: []ans104.Tag{
		{Name: "Data-Protocol", Value: ao.DataProtocol},
		{Name: "Variant", Value: ao.Variant},
		{Name: "Type", Value: typeLocation},
		{Name: "Url", Value: at.String()},
		{Name: "Time-To-Live", Value: strconv.FormatInt(life.Milliseconds(), 10)},
		{Name: "Timestamp", Value: strconv.FormatInt(now.UnixMilli(), 10)}, // each is another item
	}})
}
