package remote

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/units"
)

const (
	// archiveFollow is how often a follower of an archive's log looks for more.
	archiveFollow = 2 * time.Second
	// archiveAtOnce is how many entries of a page are fetched at once.
	archiveAtOnce = 16
	// maxSettled bounds the listings kept.
	maxSettled = 64
)

// NewArchiveLog is the log that Arweave alone holds: what is settled, signed by whom the process's policy names. Where
// two assignments claim one slot, the lower block counts (§5.6.1), and in one block the gateway's order.
func NewArchiveLog(archive arweave.Archive, directory units.Directory) units.Log {
	return &archiveLog{archive: archive, directory: directory, logs: map[ao.ID]*settledLog{}}
}

type archiveLog struct {
	archive   arweave.Archive
	directory units.Directory

	lock sync.Mutex
	logs map[ao.ID]*settledLog // what has been listed so far
}

// settledLog is the listing of one process: which assignment the index names for each slot.
type settledLog struct {
	turn chan struct{} // held by who lists

	lock  sync.Mutex
	slots []settled           // by slot
	ahead map[ao.Slot]settled // listed beyond a gap
	named map[ao.ID]ao.Slot   // by message and assignment, by the index's word
	seen  map[ao.ID]struct{}  // assignments listed
	floor uint64              // height from which to list again
}

// settled is an assignment in the index and the height of its block.
type settled struct {
	id     ao.ID
	height uint64
}

func (l *archiveLog) of(process ao.ID) *settledLog {
	l.lock.Lock()
	defer l.lock.Unlock()
	s := l.logs[process]
	if s == nil {
		if len(l.logs) >= maxSettled {
			clear(l.logs)
		}
		s = &settledLog{
			turn: make(chan struct{}, 1), ahead: map[ao.Slot]settled{}, named: map[ao.ID]ao.Slot{}, seen: map[ao.ID]struct{}{},
		}
		l.logs[process] = s
	}
	return s
}

// refresh lists what has been settled since the last time.
func (l *archiveLog) refresh(ctx context.Context, process ao.ID) (*settledLog, error) {
	host, err := l.directory.HostAt(ctx, process, 0)
	if err != nil {
		return nil, err
	}
	s := l.of(process)
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, Refusal(verbLog, ctx.Err())
	}
	q := arweave.Query{
		Owners:    host.Keys,
		Tags:      []arweave.TagFilter{{Name: "Process", Values: []string{process.String()}}, {Name: "Type", Values: []string{ao.TypeAssignment}}},
		MinHeight: s.from(), First: arweave.MaxPage, Ascending: true,
	}
	for {
		page, err := l.archive.Query(ctx, q)
		if err != nil {
			return nil, Refusal(verbLog, err)
		}
		s.lock.Lock()
		for _, f := range page.Found {
			// Pending ones are not settled, and an index may list more than it was asked for.
			if f.Height > 0 && (f.Owner == "" || slices.Contains(host.Keys, f.Owner)) {
				s.list(process, f)
				s.floor = max(s.floor, f.Height)
			}
		}
		s.lock.Unlock()
		if !page.HasNext || len(page.Found) == 0 {
			return s, nil
		}
		next := page.Found[len(page.Found)-1].Cursor
		if next == q.After {
			return nil, ao.Refuse(verbLog, ao.Corrupt, "the gateway's pages of %s do not end", process)
		}
		q.After = next
	}
}

// from is the height to list from: where the last listing ended or, while something is missing, the beginning, because
// an index may come upon a lower block later.
func (s *settledLog) from() uint64 {
	s.lock.Lock()
	defer s.lock.Unlock()
	if len(s.ahead) > 0 {
		return 0
	}
	return s.floor
}

// list notes one assignment by its tags; what they say is checked when the item itself is read. The caller holds the
// lock.
func (s *settledLog) list(process ao.ID, f arweave.Found) {
	tags := ao.Tags(f.Tags)
	slot, err := ao.ParseSlot(tags.Get("Nonce"))
	if _, dup := s.seen[f.ID]; dup || err != nil {
		return
	}
	s.seen[f.ID] = struct{}{}
	message := process
	if id, err := ao.ParseID(tags.Get("Message")); err == nil {
		message = id
	}
	for _, id := range []ao.ID{message, f.ID} {
		if _, ok := s.named[id]; !ok {
			s.named[id] = slot
		}
	}
	entry := settled{id: f.ID, height: f.Height}
	if uint64(slot) < uint64(len(s.slots)) {
		if f.Height < s.slots[slot].height {
			s.slots[slot] = entry
		}
		return
	}
	if old, taken := s.ahead[slot]; !taken || f.Height < old.height {
		s.ahead[slot] = entry
	}
	for {
		next := ao.Slot(len(s.slots))
		entry, ok := s.ahead[next]
		if !ok {
			return
		}
		delete(s.ahead, next)
		s.slots = append(s.slots, entry)
	}
}

func (l *archiveLog) Next(ctx context.Context, process ao.ID) (ao.Slot, error) {
	s, err := l.refresh(ctx, process)
	if err != nil {
		return 0, err
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if len(s.ahead) > 0 {
		return 0, ao.Refuse(verbLog, ao.BadLog, "slot %d: %v: later slots are settled", len(s.slots), ao.ErrGap)
	}
	return ao.Slot(len(s.slots)), nil
}

// page is the assignments listed from a slot on, at most limit.
func (s *settledLog) page(from ao.Slot, limit int) []settled {
	s.lock.Lock()
	defer s.lock.Unlock()
	lo := min(uint64(from), uint64(len(s.slots)))
	hi := min(lo+uint64(min(max(limit, 1), maxPage)), uint64(len(s.slots)))
	return slices.Clone(s.slots[lo:hi])
}

func (l *archiveLog) Range(ctx context.Context, process ao.ID, from ao.Slot, limit int) ([]ao.Entry, error) {
	listed := l.of(process).page(from, limit)
	if len(listed) == 0 {
		s, err := l.refresh(ctx, process)
		if err != nil {
			return nil, err
		}
		listed = s.page(from, limit)
	}
	var out []ao.Entry
	for bytes := 0; len(listed) > 0 && bytes <= maxPageBytes; {
		n := min(len(listed), archiveAtOnce)
		es, err := l.entries(ctx, listed[:n])
		for _, e := range es {
			bytes += sizeOf(e)
		}
		if out = append(out, es...); err != nil {
			if len(out) > 0 {
				break // the next call meets it at its own slot
			}
			r := Refusal(verbLog, err)
			return nil, ao.Refuse(verbLog, r.Code, "slot %d: %s", from, r.Detail)
		}
		listed = listed[n:]
	}
	return out, nil
}

// entries reads assignments and their messages, all at once; on an error, that of the first one that cannot be read,
// it returns those before.
func (l *archiveLog) entries(ctx context.Context, listed []settled) ([]ao.Entry, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, errs := make([]ao.Entry, len(listed)), make([]error, len(listed))
	done := make([]chan struct{}, len(listed))
	for i, s := range listed {
		done[i] = make(chan struct{})
		go func() {
			defer close(done[i])
			out[i], errs[i] = l.entry(ctx, s.id)
		}()
	}
	for i := range done {
		<-done[i]
		if errs[i] != nil {
			cancel()
			for _, rest := range done[i:] {
				<-rest
			}
			return out[:i], errs[i]
		}
	}
	return out, nil
}

// entry reads an assignment and its message, each checked against its ID and signature.
func (l *archiveLog) entry(ctx context.Context, id ao.ID) (ao.Entry, error) {
	missing := func(id ao.ID, err error) error {
		if errors.Is(err, arweave.ErrNotFound) {
			return ao.Refuse(verbLog, ao.Corrupt, "%s is listed and not served", id)
		}
		return err
	}
	it, err := l.archive.Get(ctx, id)
	if err != nil {
		return ao.Entry{}, missing(id, err)
	}
	a, err := ao.NewAssignment(it)
	if err != nil {
		return ao.Entry{}, err
	}
	m, err := messageOf(ctx, l.archive, a.Message())
	if err != nil {
		return ao.Entry{}, missing(a.Message(), err)
	}
	return ao.Entry{Proof: ao.ProofAssignment, Assignment: a, Message: m}, nil
}

// messageOf is a message from the archive: an item or, where there is none of that ID, a transaction. An assignment does not
// say which, and no ID is that of both.
func messageOf(ctx context.Context, a arweave.Archive, id ao.ID) (ao.Message, error) {
	it, err := a.Get(ctx, id)
	if err == nil {
		return ao.NewMessage(it)
	}
	if !errors.Is(err, arweave.ErrNotFound) {
		return ao.Message{}, err
	}
	tx, err := a.Tx(ctx, id)
	if err != nil {
		return ao.Message{}, err
	}
	return ao.NewTransaction(tx)
}

func (l *archiveLog) Find(ctx context.Context, process, message ao.ID) (ao.Slot, error) {
	s, err := l.refresh(ctx, process)
	if err != nil {
		return 0, err
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	slot, ok := s.named[message]
	if !ok {
		return 0, ao.Refuse(verbLog, ao.UnknownMessage, "%s is not settled in the log of %s", message, process)
	}
	return slot, nil
}

func (l *archiveLog) Follow(ctx context.Context, process ao.ID, from ao.Slot, visit func(ao.Entry) error) error {
	for {
		es, err := l.Range(ctx, process, from, maxPage)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !errors.Is(err, &ao.Refusal{Code: ao.ArchiveDown}) {
			return err
		}
		for _, e := range es {
			if err := visit(e); err != nil {
				return err
			}
			from++
		}
		if len(es) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(archiveFollow):
		}
	}
}
