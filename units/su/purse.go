package su

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/aopeer/aopeer/ao"
)

// assignmentBytes is about what an assignment adds to the bytes of a message.
const assignmentBytes = 640

// rateWindow is how far back the rate of the runway looks.
const rateWindow = time.Hour

// Runway is what the wallet can still pay for.
type Runway struct {
	Balance  string    `json:"balance"`  // winston in the wallet
	PerByte  string    `json:"perByte"`  // winston for a byte in a bundle
	Bytes    int64     `json:"bytes"`    // that can still be taken on
	Messages int64     `json:"messages"` // the same, at the average size of this unit's messages; 1 KiB before the first
	Days     float64   `json:"days"`     // that they last at the rate of the last hour; -1 while there is none
	At       time.Time `json:"at"`       // when the wallet was last looked into; zero if not since the start
}

// purse keeps the bytes of what is acknowledged within what the wallet can pay for. What waits for settlement is counted
// anew at every look, so that the reserve survives a restart.
type purse struct {
	limited bool // otherwise settling costs nothing

	lock             sync.Mutex
	asked            bool
	free             bool  // settling turned out to cost nothing
	most             int64 // bytes that may be acknowledged in all, counted as spent is
	spent            int64 // bytes acknowledged since the start
	messages         int64
	balance, perByte string
	at               time.Time
	samples          []sample // of spent, at most one a minute of the rate's window
}

type sample struct {
	at    time.Time
	spent int64
}

func newPurse(limited bool, now time.Time) *purse {
	return &purse{limited: limited, samples: []sample{{at: now}}}
}

// known says whether anything can be acknowledged at all.
func (p *purse) known() bool {
	p.lock.Lock()
	defer p.lock.Unlock()
	return !p.limited || p.asked
}

// reserve sets the price of a message aside, or refuses what could not be paid for.
func (p *purse) reserve(bytes int) error {
	p.lock.Lock()
	defer p.lock.Unlock()
	switch {
	case !p.limited || p.free:
	case !p.asked:
		return ao.Refuse(hopSchedule, ao.ArchiveDown, "the wallet's balance is not known yet")
	case p.spent+int64(bytes) > p.most:
		return ao.Refuse(hopSchedule, ao.Unfunded, "%d bytes to settle, and the wallet can pay for %d", bytes, max(p.most-p.spent, 0))
	}
	p.spent += int64(bytes)
	p.messages++
	return nil
}

// release takes a reserve back whose message was not acknowledged.
func (p *purse) release(bytes int) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.spent -= int64(bytes)
	p.messages--
}

func (p *purse) spentNow() int64 {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.spent
}

// pollFunds looks into the wallet again and again; while that fails, what was last seen shrinks by what is spent.
func (u *Unit) pollFunds(ctx context.Context) {
	if u.cfg.Funds == nil {
		return
	}
	for ctx.Err() == nil {
		wait := u.cfg.FundsEvery
		if err := u.askFunds(ctx); err != nil && ctx.Err() == nil {
			u.cfg.Log.Warn("wallet", "err", err)
			if !u.purse.known() {
				wait = min(wait, u.cfg.SettleRetry)
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// askFunds looks into the wallet once. What is unsettled here is counted before the bundler counts its own, so that what
// passes from one to the other meanwhile is counted twice rather than not at all.
func (u *Unit) askFunds(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	spent := u.purse.spentNow()
	_, unsettled := u.backlog.size()
	f, err := u.cfg.Funds(ctx)
	if err != nil {
		return fmt.Errorf("look into the wallet: %w", err)
	}
	bytes, free := f.Bytes()
	p := u.purse
	p.lock.Lock()
	p.asked, p.free, p.at = true, free, u.cfg.Now()
	p.balance, p.perByte = f.Balance.String(), f.PerByte.String()
	p.most = math.MaxInt64
	if !free {
		p.most = spent + bytes - unsettled
	}
	if last := p.samples[len(p.samples)-1]; p.at.Sub(last.at) >= time.Minute {
		p.samples = append(p.samples, sample{p.at, p.spent})
	}
	for len(p.samples) > 1 && p.at.Sub(p.samples[0].at) > rateWindow {
		p.samples = p.samples[1:]
	}
	p.lock.Unlock()
	u.maybeReady()
	return nil
}

// runway is nil if settling costs nothing, or it is not known yet what it costs.
func (p *purse) runway(now time.Time) *Runway {
	p.lock.Lock()
	defer p.lock.Unlock()
	if !p.limited || p.free || !p.asked {
		return nil
	}
	left := max(p.most-p.spent, 0)
	r := &Runway{Balance: p.balance, PerByte: p.perByte, Bytes: left, Messages: left / 1024, Days: -1, At: p.at}
	if p.messages > 0 && p.spent > 0 {
		r.Messages = int64(float64(left) / float64(p.spent) * float64(p.messages))
	}
	since := p.samples[0]
	if took := now.Sub(since.at); took > 0 && p.spent > since.spent {
		perDay := float64(p.spent-since.spent) / took.Hours() * 24
		r.Days = float64(left) / perDay
	}
	return r
}
