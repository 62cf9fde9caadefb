package remote

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/units"
)

// archiveFollow is how often a follower of an archive's log looks for more.
const archiveFollow = 2 * time.Second

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
	lock  sync.Mutex
	slots []ao.ID            // assignment IDs by slot
	ahead map[ao.Slot]ao.ID  // listed beyond a gap
	named map[ao.ID]ao.Slot  // by message, by the index's word
	seen  map[ao.ID]struct{} // assignments listed
	floor uint64             // height from which to list again
}

func (l *archiveLog) of(process ao.ID) *settledLog {
	l.lock.Lock()
	defer l.lock.Unlock()
	s := l.logs[process]
	if s == nil {
		s = &settledLog{ahead: map[ao.Slot]ao.ID{}, named: map[ao.ID]ao.Slot{}, seen: map[ao.ID]struct{}{}}
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
	s.lock.Lock()
	defer s.lock.Unlock()
	q := arweave.Query{
		Owners:    host.Keys,
		Tags:      []arweave.TagFilter{{Name: "Process", Values: []string{process.String()}}, {Name: "Type", Values: []string{ao.TypeAssignment}}},
		MinHeight: s.floor, First: arweave.MaxPage, Ascending: true,
	}
	for {
		page, err := l.archive.Query(ctx, q)
		if err != nil {
			return nil, Refusal(verbLog, err)
		}
		for _, f := range page.Found {
			if f.Height > 0 { // pending ones are not settled
				s.list(process, f)
				s.floor = max(s.floor, f.Height)
			}
			q.After = f.Cursor
		}
		if !page.HasNext || len(page.Found) == 0 {
			return s, nil
		}
	}
}

// list notes one assignment by its tags; what they say is checked when the item itself is read.
func (s *settledLog) list(process ao.ID, f arweave.Found) {
	tags := ao.Tags(f.Tags)
	slot, err := ao.ParseSlot(tags.Get("Nonce"))
	if _, dup := s.seen[f.ID]; dup || err != nil {
		return
	}
	s.seen[f.ID] = struct{}{}
	if _, taken := s.ahead[slot]; taken || uint64(slot) < uint64(len(s.slots)) {
		return
	}
	s.ahead[slot] = f.ID
	message := process
	if id, err := ao.ParseID(tags.Get("Message")); err == nil {
		message = id
	}
	s.named[message], s.named[f.ID] = slot, slot
	for {
		id, ok := s.ahead[ao.Slot(len(s.slots))]
		if !ok {
			return
		}
		delete(s.ahead, ao.Slot(len(s.slots)))
		s.slots = append(s.slots, id)
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

func (l *archiveLog) Range(ctx context.Context, process ao.ID, from ao.Slot, limit int) ([]ao.Entry, error) {
	s := l.of(process)
	s.lock.Lock()
	known := uint64(len(s.slots))
	s.lock.Unlock()
	if uint64(from) >= known {
		var err error
		if s, err = l.refresh(ctx, process); err != nil {
			return nil, err
		}
	}
	s.lock.Lock()
	lo := min(uint64(from), uint64(len(s.slots)))
	hi := min(lo+uint64(min(max(limit, 1), maxPage)), uint64(len(s.slots)))
	ids := append([]ao.ID(nil), s.slots[lo:hi]...)
	s.lock.Unlock()
	var out []ao.Entry
	for i, id := range ids {
		e, err := l.entry(ctx, id)
		if err != nil {
			if len(out) > 0 {
				break // the next call meets it at its own slot
			}
			r := Refusal(verbLog, err)
			return nil, ao.Refuse(verbLog, r.Code, "slot %d: %s", lo+uint64(i), r.Detail)
		}
		out = append(out, e)
	}
	return out, nil
}

// entry reads an assignment and its message, each checked against its ID and signature.
func (l *archiveLog) entry(ctx context.Context, id ao.ID) (ao.Entry, error) {
	get := func(id ao.ID) ([]byte, error) {
		it, err := l.archive.Get(ctx, id)
		if errors.Is(err, arweave.ErrNotFound) {
			return nil, ao.Refuse(verbLog, ao.Corrupt, "%s is listed and not served", id)
		}
		if err != nil {
			return nil, err
		}
		return it.Raw(), nil
	}
	raw, err := get(id)
	if err != nil {
		return ao.Entry{}, err
	}
	a, err := ao.ParseAssignment(raw)
	if err != nil {
		return ao.Entry{}, err
	}
	if raw, err = get(a.Message()); err != nil {
		return ao.Entry{}, err
	}
	m, err := ao.ParseMessage(raw)
	if err != nil {
		return ao.Entry{}, err
	}
	return ao.Entry{Proof: ao.ProofAssignment, Assignment: a, Message: m}, nil
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
