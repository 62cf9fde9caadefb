package cu

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/wasmvm"
)

// errCheckpoint says that a checkpoint cannot be used: damaged, of another process, or of another profile.
var errCheckpoint = errors.New("the checkpoint cannot be used")

const (
	checkpointMagic = "AOPCKP\x00\x03"
	// maxCheckpoint bounds the file, maxMemory the memory that an image in it may describe.
	maxCheckpoint = 4 << 30
	maxMemory     = 16 << 30
)

// checkpoint is a process at rest: where in its log it stands and its state.
type checkpoint struct {
	cursor  ao.Cursor
	times   times
	last    ao.AssignmentFields // of the last slot before the cursor; Process, Nonce, Timestamp and BlockHeight are the cursor's
	root    attest.Hash
	profile string // a state that another profile made is not continued
	image   *wasmvm.Image
}

// encode is: magic, cursor, last slot, root, profile, image, and the SHA-256 of all that.
func (c checkpoint) encode() ([]byte, error) {
	img, err := c.image.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode image: %w", err)
	}
	b := make([]byte, 0, 256+len(c.profile)+len(img)+sha256.Size)
	b = append(b, checkpointMagic...)
	b = append(b, c.cursor.Process[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.cursor.Next))
	b = append(b, c.cursor.Link[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.cursor.Timestamp))
	b = binary.BigEndian.AppendUint64(b, c.cursor.Height)
	b = binary.BigEndian.AppendUint64(b, c.cursor.Begun)
	b = binary.BigEndian.AppendUint64(b, uint64(c.times.origin))
	b = binary.BigEndian.AppendUint64(b, uint64(c.times.latest))
	b = binary.BigEndian.AppendUint64(b, c.times.height)
	b = append(b, c.last.HashChain[:]...)
	b = append(b, c.last.Message[:]...)
	b = append(b, c.root[:]...)
	b = appendBlock(b, []byte(c.profile))
	b = append(b, img...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

// decodeCheckpoint reads what encode wrote. Errors: errCheckpoint, wasmvm.ErrImage.
func decodeCheckpoint(raw []byte) (checkpoint, error) {
	var c checkpoint
	if len(raw) < len(checkpointMagic)+sha256.Size || string(raw[:len(checkpointMagic)]) != checkpointMagic {
		return c, fmt.Errorf("%w: header", errCheckpoint)
	}
	body, sum := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return c, fmt.Errorf("%w: digest", errCheckpoint)
	}
	in := input{b: body[len(checkpointMagic):]}
	in.hash((*[32]byte)(&c.cursor.Process))
	c.cursor.Next = ao.Slot(in.uint(8))
	in.hash(&c.cursor.Link)
	c.cursor.Timestamp = int64(in.uint(8))
	c.cursor.Height = in.uint(8)
	c.cursor.Begun = in.uint(8)
	c.times = times{origin: int64(in.uint(8)), latest: int64(in.uint(8)), height: in.uint(8)}
	in.hash(&c.last.HashChain)
	in.hash((*[32]byte)(&c.last.Message))
	in.hash(&c.root)
	c.profile = string(in.block())
	if in.short || c.cursor.Next == 0 {
		return c, fmt.Errorf("%w: length", errCheckpoint)
	}
	c.last.Process, c.last.Nonce = c.cursor.Process, c.cursor.Next-1
	c.last.Timestamp, c.last.BlockHeight = c.cursor.Timestamp, c.cursor.Height
	var err error
	c.image, err = wasmvm.DecodeImage(in.b, maxMemory)
	return c, err
}

// shelf holds the checkpoints of all processes as files.
type shelf struct {
	store store.Store
	keep  int
	log   *slog.Logger
}

func shelfPrefix(process ao.ID) string { return "cu/" + hex.EncodeToString(process[:]) + "/" }

func checkpointName(process ao.ID, next ao.Slot) string {
	return shelfPrefix(process) + slotHex(next)
}

// list is the Next of every checkpoint of a process, the newest last.
func (s shelf) list(process ao.ID) ([]ao.Slot, error) {
	prefix := shelfPrefix(process)
	files, err := s.store.ListFiles(prefix)
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	var out []ao.Slot
	for _, f := range files {
		next, err := strconv.ParseUint(strings.TrimPrefix(f.Name, prefix), 16, 64)
		if err == nil && checkpointName(process, ao.Slot(next)) == f.Name {
			out = append(out, ao.Slot(next))
		}
	}
	return out, nil
}

// save writes a checkpoint and removes the oldest beyond those that are kept.
func (s shelf) save(c checkpoint) error {
	raw, err := c.encode()
	if err != nil {
		return err
	}
	process := c.cursor.Process
	if err := s.store.PutFile(checkpointName(process, c.cursor.Next), bytes.NewReader(raw)); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	all, err := s.list(process)
	if err != nil {
		return err
	}
	for _, next := range all[:max(0, len(all)-s.keep)] {
		if err := s.store.RemoveFile(checkpointName(process, next)); err != nil {
			return fmt.Errorf("remove old checkpoint: %w", err)
		}
	}
	return nil
}

// load reads one checkpoint and holds it against what it must be.
func (s shelf) load(process ao.ID, next ao.Slot, profile string) (checkpoint, error) {
	raw, err := readFile(s.store, checkpointName(process, next), maxCheckpoint)
	if err != nil {
		return checkpoint{}, fmt.Errorf("read checkpoint: %w", err)
	}
	c, err := decodeCheckpoint(raw)
	if err != nil {
		return checkpoint{}, err
	}
	if c.cursor.Process != process || c.cursor.Next != next {
		return checkpoint{}, fmt.Errorf("%w: it is of another process or slot", errCheckpoint)
	}
	if c.profile != profile {
		return checkpoint{}, fmt.Errorf("%w: made under another profile", errCheckpoint)
	}
	return c, nil
}

// nearest is the newest sound checkpoint that stands behind one slot and not behind another, without an image if there is
// none. Nothing is removed, and what is being removed is not missed: replay makes it again.
func (s shelf) nearest(process ao.ID, behind, upTo ao.Slot, profile string) (checkpoint, error) {
	all, err := s.list(process)
	if err != nil {
		return checkpoint{}, err
	}
	for _, next := range slices.Backward(all) {
		if next <= behind || next > upTo {
			continue
		}
		if c, err := s.load(process, next, profile); err == nil {
			return c, nil
		}
	}
	return checkpoint{}, nil
}

// drop removes the checkpoints that hold the slot.
func (s shelf) drop(process ao.ID, slot ao.Slot) error {
	all, err := s.list(process)
	if err != nil {
		return err
	}
	for _, next := range all {
		if next > slot {
			if err := s.store.RemoveFile(checkpointName(process, next)); err != nil {
				return err
			}
		}
	}
	return nil
}

// restore starts the replayer from the newest checkpoint that is sound. One that is not is removed, and only costs a
// longer replay.
func (p *worker) restore(ctx context.Context) error {
	u := p.unit
	all, err := u.shelf.list(p.id)
	if err != nil {
		return storeFault("restore", err)
	}
	for i := len(all) - 1; i >= 0; i-- {
		c, err := u.shelf.load(p.id, all[i], p.profile)
		if err == nil {
			err = p.expect(ctx, c.image.Count())
		}
		if err == nil {
			p.replay.state, err = u.cfg.Machine.Begin(ctx, p.replay.genesis, c.image)
		}
		if err == nil {
			p.replay.cursor, p.replay.last, p.replay.times = c.cursor, c.last, c.times
			p.saved = c.cursor.Next
			p.at = &stateAt{slot: c.cursor.Next - 1, root: c.root, memory: c.image.Len()}
			return nil
		}
		p.replay.state = nil
		if ctx.Err() != nil {
			return fmt.Errorf("restore checkpoint: %w", ctx.Err())
		}
		u.cfg.Log.Warn("checkpoint is not used", "process", p.id, "slot", uint64(all[i]), "reason", string(ao.BadState), "err", err)
		if err := u.cfg.Store.RemoveFile(checkpointName(p.id, all[i])); err != nil {
			return storeFault("remove checkpoint", err)
		}
	}
	return nil
}

// checkpoint saves the state as it stands. Its failure is no caller's concern: replay makes the state again. The caller
// holds a place for work.
func (p *worker) checkpoint() {
	u, r := p.unit, p.replay
	img, err := r.state.Image()
	if err == nil {
		err = p.findRoot()
	}
	if err == nil {
		err = u.saveCheckpoint(checkpoint{cursor: r.cursor, times: r.times, last: r.last, root: p.at.root, profile: p.profile, image: img}, p.at)
	}
	p.saved, p.spent = r.cursor.Next, 0 // if it failed the next one is due as late as if it had not
	if err != nil {
		u.cfg.Log.Warn("checkpoint is not written", "process", p.id, "slot", uint64(p.at.slotOr(0)), "err", err)
	}
}

// Save writes a checkpoint of a process that is in memory as it stands, unless there is one of that slot, and says which slot
// it is. Refusals: unknown-process of one that is not in memory, store.
func (u *Unit) Save(ctx context.Context, process ao.ID) (last ao.AssignmentFields, err error) {
	err = u.do(ctx, process, &task{rest: true, visit: func(_ context.Context, p *worker) error {
		u.work(false, p.save)
		switch {
		case p.replay != nil && p.replay.state != nil && p.replay.cursor.Next > 0:
			last = p.replay.last
		case p.rest != nil:
			last = p.rest.last
		default:
			return ao.Refuse(hop, ao.UnknownProcess, "%s is not in memory", process)
		}
		all, err := u.shelf.list(process)
		if err == nil && !slices.Contains(all, last.Nonce+1) {
			err = errors.New("it was not kept; the unit's log says why")
		}
		if err != nil {
			return storeFault("write checkpoint", err)
		}
		return nil
	}})
	if err != nil {
		return ao.AssignmentFields{}, refusal(err)
	}
	return last, nil
}

// saveCheckpoint puts a checkpoint on the shelf, and its root where it can be settled from.
func (u *Unit) saveCheckpoint(c checkpoint, at *stateAt) error {
	if err := u.shelf.save(c); err != nil {
		u.checkStore(err)
		return err
	}
	if err := u.settler.noteRoot(c.cursor.Process, *at); err != nil {
		u.checkStore(err)
		return err
	}
	u.tally(func(c *Counters) { c.Checkpoints++ })
	return nil
}

func (s *stateAt) slotOr(none ao.Slot) ao.Slot {
	if s == nil {
		return none
	}
	return s.slot
}
