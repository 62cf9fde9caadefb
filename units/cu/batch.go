package cu

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/internal/store"
)

// settler settles claims: batches of consecutive slots, handed to the archive when the oldest claim is BatchAge old at
// most, or when a batch is full. The cursor of a process moves only after the archive has the batch, so a crash repeats a
// batch and never skips a slot.
type settler struct {
	unit *Unit

	lock  sync.Mutex
	fresh map[ao.ID]bool // with claims since the last round
	due   map[ao.ID]bool // with claims from before it
	under int            // processes that the present round settles

	hurry     chan struct{} // closed to settle without waiting for company
	hurryOnce sync.Once
}

// hurryEvery is the length of a round of a unit that is about to stop.
const hurryEvery = 20 * time.Millisecond

// settleAtOnce is how many processes are settled side by side; one that is busy holds up no other.
const settleAtOnce = 8

func newSettler(u *Unit) *settler {
	return &settler{unit: u, fresh: make(map[ao.ID]bool), due: make(map[ao.ID]bool), hurry: make(chan struct{})}
}

// isOff says whether there is nowhere to settle claims.
func (s *settler) isOff() bool { return s.unit.cfg.Archive == nil || s.unit.cfg.KeepsClaims }

func settledKey(process ao.ID) string { return "cu/settled/" + process.String() }

func rootKey(process ao.ID) string { return "cu/root/" + process.String() }

// mark says that a process has new claims.
func (s *settler) mark(process ao.ID) {
	if s.isOff() {
		return
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if !s.due[process] {
		s.fresh[process] = true
	}
}

func (s *settler) size() int {
	s.lock.Lock()
	defer s.lock.Unlock()
	return len(s.fresh) + len(s.due) + s.under
}

// noteRoot keeps the newest root that was computed, for a batch that ends there after the state has left memory.
func (s *settler) noteRoot(process ao.ID, at stateAt) error {
	var b store.Batch
	b.Put(rootKey(process), append(slotBytes(at.slot), at.root[:]...))
	if err := s.unit.cfg.Store.Commit(&b); err != nil {
		return storeFault("note state root", err)
	}
	return nil
}

// run settles until ctx ends. Half the age as the round's length keeps every claim below the age.
func (s *settler) run(ctx context.Context) {
	if s.isOff() {
		<-ctx.Done()
		return
	}
	if err := s.recover(); err != nil {
		s.unit.checkStore(err)
		s.unit.cfg.Log.Error("claims of earlier runs are not settled", "err", err)
	}
	tick := time.NewTicker(max(s.unit.cfg.BatchAge/2, time.Millisecond))
	defer tick.Stop()
	hurry := s.hurry
	for {
		select {
		case <-ctx.Done():
			return
		case <-hurry:
			hurry = nil
			tick.Reset(min(hurryEvery, max(s.unit.cfg.BatchAge/2, time.Millisecond)))
		case <-tick.C:
			s.round(ctx)
		}
	}
}

// recover marks every process that has claims beyond its cursor.
func (s *settler) recover() error {
	for after := ""; ; {
		page, err := s.unit.cfg.Store.Scan(nextPrefix, after, store.MaxScan)
		if err != nil {
			return storeFault("find unsettled claims", err)
		}
		for _, pair := range page {
			after = pair.Key
			id, err := ao.ParseID(strings.TrimPrefix(pair.Key, nextPrefix))
			if err != nil {
				continue
			}
			from, err := readSlot(s.unit.cfg.Store, settledKey(id))
			if err != nil {
				return err
			}
			next, err := readSlot(s.unit.cfg.Store, pair.Key)
			if err != nil {
				return err
			}
			if from < next {
				s.mark(id)
			}
		}
		if len(page) < store.MaxScan {
			return nil
		}
	}
}

// round settles what was marked before the last round; what fails stays for the next.
func (s *settler) round(ctx context.Context) {
	s.lock.Lock()
	work := s.due
	s.due = make(map[ao.ID]bool)
	s.under = len(work)
	s.lock.Unlock()

	places := make(chan struct{}, settleAtOnce)
	var all sync.WaitGroup
	for id := range work {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			if err := s.settle(ctx, id); err != nil && ctx.Err() == nil {
				s.unit.checkStore(err)
				s.unit.cfg.Log.Warn("claims are not settled yet", "process", id, "err", err)
				s.mark(id)
			}
		})
	}
	all.Wait()

	s.lock.Lock()
	defer s.lock.Unlock()
	for id := range s.fresh {
		s.due[id] = true
	}
	clear(s.fresh)
	s.under = 0
}

// settle hands over all claims that a process has now.
func (s *settler) settle(ctx context.Context, process ao.ID) error {
	u := s.unit
	from, err := readSlot(u.cfg.Store, settledKey(process))
	if err != nil {
		return err
	}
	root, err := s.newestRoot(ctx, process)
	if err != nil {
		return err
	}
	to, err := readSlot(u.cfg.Store, nextKey(process))
	if err != nil {
		return err
	}
	for from < to {
		claims, err := s.claims(process, from, to)
		if err != nil {
			return err
		}
		// A batch ends where the root is known, if that is within it.
		var state *attest.Hash
		if root != nil && root.slot >= from && root.slot < from+ao.Slot(len(claims)) {
			claims = claims[:root.slot-from+1]
			state = &root.root
		}
		for _, c := range claims { // what a damaged record says must not be signed
			if err := u.journal.Record(c, sha256.Sum256(c.Bytes())); err != nil {
				u.logContradiction(process, c.Nonce, err)
				return fmt.Errorf("claim for slot %d: %w", c.Nonce, err)
			}
		}
		batch, err := attest.SignBatch(u.cfg.Signer, claims, state)
		if err != nil {
			return err
		}
		if err := u.cfg.Archive.Put(ctx, batch.Item()); err != nil {
			return fmt.Errorf("hand over batch of claims: %w", err)
		}
		from += ao.Slot(len(claims))
		var b store.Batch
		b.Put(settledKey(process), slotBytes(from))
		if err := u.cfg.Store.Commit(&b); err != nil {
			return storeFault("move settlement cursor", err)
		}
		u.tally(func(c *Counters) { c.Batches++ })
	}
	return nil
}

// newestRoot is the root where the process stands, if it is in memory, else the last one noted; nil if there is none.
func (s *settler) newestRoot(ctx context.Context, process ao.ID) (*stateAt, error) {
	var at *stateAt
	err := s.unit.do(ctx, process, &task{rest: true, visit: func(life context.Context, p *worker) error {
		if p.replay == nil && p.rest != nil {
			var err error
			at, err = p.packedRoot(life)
			return err
		}
		if p.replay == nil || p.replay.cursor.Next == 0 {
			return nil
		}
		now, err := p.stateRoot(life)
		at = &now
		return err
	}})
	if err != nil {
		return nil, fmt.Errorf("compute state root: %w", err)
	}
	if at != nil {
		return at, nil
	}
	raw, err := s.unit.cfg.Store.Get(rootKey(process))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, storeFault("read state root", err)
	}
	in := input{b: raw}
	at = &stateAt{slot: ao.Slot(in.uint(8))}
	in.hash(&at.root)
	if in.short || len(in.b) != 0 {
		return nil, nil
	}
	return at, nil
}

// claimPage is small because the results come along with the claims, up to maxInline each.
const claimPage = 8

// claims reads consecutive claims from slot from on, below to, at most a batch full.
func (s *settler) claims(process ao.ID, from, to ao.Slot) ([]attest.Claim, error) {
	prefix := answerPrefix(process)
	after := prefix // sorts before every answer
	if from > 0 {
		after = answerKey(process, from-1)
	}
	want := int(min(uint64(to-from), attest.MaxBatch))
	claims := make([]attest.Claim, 0, want)
	for len(claims) < want {
		page, err := s.unit.cfg.Store.Scan(prefix, after, min(want-len(claims), claimPage))
		if err != nil {
			return nil, storeFault("read claims", err)
		}
		if len(page) == 0 {
			break
		}
		for _, pair := range page {
			c, _, err := decodeClaim(pair.Value)
			if err != nil || c.Process != process || c.Nonce != from+ao.Slot(len(claims)) {
				return nil, fmt.Errorf("claim for slot %d: %w", from+ao.Slot(len(claims)), errRecord)
			}
			claims = append(claims, c)
			after = pair.Key
		}
	}
	if len(claims) == 0 {
		return nil, fmt.Errorf("claim for slot %d: %w", from, errRecord)
	}
	return claims, nil
}
