package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/units"
)

// Next is one more than what the scheduler calls its latest entry.
func (u httpUnit) Next(ctx context.Context, process ao.ID) (ao.Slot, error) {
	n, err := u.node(ctx, verbLog, process, "/"+process.String()+"/latest")
	if err != nil {
		return 0, noneIs(verbLog, ao.UnknownProcess, err)
	}
	slot, err := n.slot(process)
	if err != nil {
		return 0, Refusal(verbLog, err)
	}
	return slot + 1, nil
}

// Find asks for the entry of a message or an assignment.
func (u httpUnit) Find(ctx context.Context, process, message ao.ID) (ao.Slot, error) {
	n, err := u.slotNode(ctx, verbLog, process, message)
	if none, ok := errors.AsType[errNone](err); ok {
		if _, err := u.Next(ctx, process); err != nil { // the reference says the same of an unknown process
			return 0, err
		}
		return 0, ao.Refuse(verbLog, ao.UnknownMessage, "%s", none.words)
	}
	if err != nil {
		return 0, err
	}
	slot, err := n.slot(process)
	if err != nil {
		return 0, Refusal(verbLog, err)
	}
	return slot, nil
}

// slotNode asks for the entry of a message or an assignment. Where the process itself is named the answer is its log, which
// begins with it.
func (u httpUnit) slotNode(ctx context.Context, hop string, process, id ao.ID) (httpNode, error) {
	if id != process {
		return u.node(ctx, hop, process, "/"+id.String())
	}
	nodes, _, err := u.page(ctx, process, 0, 1)
	switch {
	case err != nil:
		return httpNode{}, err
	case len(nodes) == 0 || ao.Tags(nodes[0].Assignment.Tags).Get("Message") != "":
		return httpNode{}, errNone{"the process is not in its log"}
	}
	return nodes[0], nil
}

// node asks for a single entry. Errors: errNone, refusals.
func (u httpUnit) node(ctx context.Context, hop string, process ao.ID, path string) (n httpNode, err error) {
	body, err := u.ask(ctx, httpAsk{
		hop: hop, process: process, method: http.MethodGet, path: path, query: url.Values{"show-anchor": {"true"}}, limit: elsewhereOne,
	})
	if err != nil {
		return n, err
	}
	if err := json.Unmarshal(body, &n); err != nil {
		return n, ao.Refuse(hop, ao.Malformed, "%s: %v", u.base, fmt.Errorf("%w: %w", ErrPage, err))
	}
	if slot, err := n.slot(process); err == nil && len(body) <= maxFoundNode {
		u.of.nodes.put(process, foundNode{u.base, slot, n})
	}
	return n, nil
}

// noneIs says what an answer of 400 or 404 means here.
func noneIs(hop string, code ao.Code, err error) error {
	if none, ok := errors.AsType[errNone](err); ok {
		return ao.Refuse(hop, code, "%s", none.words)
	}
	return err
}

// Range asks for a page, unless it begins with the entry that was met last. One that is too large is asked for again by
// halves.
func (u httpUnit) Range(ctx context.Context, process ao.ID, from ao.Slot, limit int) ([]ao.Entry, error) {
	if n, ok := u.of.nodes.take(process, u.base, from); ok {
		return u.entries(ctx, []httpNode{n}, []ao.Slot{from})
	}
	limit = min(max(limit, 1), maxPage)
	for {
		nodes, slots, err := u.page(ctx, process, from, limit)
		if err == nil {
			return u.entries(ctx, nodes, slots)
		}
		if limit == 1 || !errors.Is(err, &ao.Refusal{Code: ao.TooLarge}) {
			return nil, noneIs(verbLog, ao.UnknownProcess, err)
		}
		limit /= 2
	}
}

func (u httpUnit) page(ctx context.Context, process ao.ID, from ao.Slot, limit int) ([]httpNode, []ao.Slot, error) {
	if from > maxSlot {
		return nil, nil, nil
	}
	most := int64(elsewherePage)
	if limit == 1 {
		most = elsewhereOne
	}
	body, err := u.ask(ctx, httpAsk{
		hop: verbLog, process: process, method: http.MethodGet, path: "/" + process.String(), limit: most,
		query: url.Values{"from-nonce": {strconv.FormatInt(int64(from)-1, 10)}, "limit": {strconv.Itoa(limit)}, "show-anchor": {"true"}},
	})
	if err != nil {
		return nil, nil, err
	}
	nodes, slots, err := parseHTTPPage(body, process, from, limit)
	if err != nil {
		return nil, nil, ao.Refuse(verbLog, ao.BadLog, "slot %d: %s: %v", from, u.base, err)
	}
	return nodes, slots, nil
}

// entries makes the entries of nodes, those whose items must be fetched at once. On an error, that of the first one that
// cannot be made, it gives those before; the next call meets it at its own slot.
func (u httpUnit) entries(ctx context.Context, nodes []httpNode, slots []ao.Slot) ([]ao.Entry, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, errs := make([]ao.Entry, len(nodes)), make([]error, len(nodes))
	turns := make(chan struct{}, archiveAtOnce)
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			if errs[i] = ctx.Err(); errs[i] == nil {
				out[i], errs[i] = u.entry(ctx, n)
			}
			if i == 0 && errs[i] != nil {
				cancel() // nothing will come of the rest
			}
		})
	}
	all.Wait()
	for i, err := range errs {
		if err == nil {
			continue
		}
		if i > 0 {
			return out[:i], nil
		}
		r := Refusal(verbLog, err)
		return nil, ao.Refuse(verbLog, r.Code, "slot %d: %s", slots[0], r.Detail)
	}
	return out, nil
}

// entry makes an entry of a node: each item from its parts or, where those are not whole, from the archive. A message that is
// not there at all may be a transaction.
func (u httpUnit) entry(ctx context.Context, n httpNode) (ao.Entry, error) {
	a, err := u.assignment(ctx, n)
	if err != nil {
		return ao.Entry{}, err
	}
	m, err := u.message(ctx, n, a.Message())
	if err != nil {
		return ao.Entry{}, err
	}
	return ao.Entry{Proof: ao.ProofAssignment, Assignment: a, Message: m}, nil
}

func (u httpUnit) message(ctx context.Context, n httpNode, id ao.ID) (ao.Message, error) {
	if n.Message != nil && n.Message.ID == id.String() {
		if it, err := n.Message.item(&u.of.together); err == nil {
			return ao.NewMessage(it)
		}
	}
	m, err := messageOf(ctx, u.of.cfg.Archive, id)
	return m, u.notWhole(id, err)
}

func (u httpUnit) assignment(ctx context.Context, n httpNode) (ao.Assignment, error) {
	it, err := n.Assignment.item(&u.of.together)
	if err != nil {
		id, bad := ans104.ParseID(n.Assignment.ID)
		if bad != nil {
			return ao.Assignment{}, err
		}
		if it, err = u.fetch(ctx, id); err != nil {
			return ao.Assignment{}, err
		}
	}
	return ao.NewAssignment(it)
}

// fetch is an item from the archive, verified there.
func (u httpUnit) fetch(ctx context.Context, id ao.ID) (*ans104.Item, error) {
	it, err := u.of.cfg.Archive.Get(ctx, id)
	return it, u.notWhole(id, err)
}

// notWhole says what it means that the archive does not have something either.
func (u httpUnit) notWhole(id ao.ID, err error) error {
	if errors.Is(err, arweave.ErrNotFound) {
		return ao.Refuse(verbLog, ao.Corrupt, "%s does not give %s whole, and it is not on Arweave yet", u.base, id)
	}
	return err
}

// Follow asks for more now and then, also while the scheduler cannot be reached.
func (u httpUnit) Follow(ctx context.Context, process ao.ID, from ao.Slot, visit func(ao.Entry) error) error {
	return followPages(ctx, u, process, from, visit)
}

// followPages follows a log that does not tell when there is more.
func followPages(ctx context.Context, log units.Log, process ao.ID, from ao.Slot, visit func(ao.Entry) error) error {
	for {
		es, err := log.Range(ctx, process, from, maxPage)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !isPassing(err) {
			return err
		}
		for _, e := range es {
			if err := visit(e); err != nil {
				return err
			}
			from = e.Assignment.Nonce() + 1
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

// isPassing says whether a failure to read a log may be over soon.
func isPassing(err error) bool {
	for _, code := range []ao.Code{ao.Unreachable, ao.Deadline, ao.Busy, ao.ArchiveDown, ao.Corrupt} {
		if errors.Is(err, &ao.Refusal{Code: code}) {
			return true
		}
	}
	return false
}

// process is the initial item of a log, as the scheduler describes it by itself.
func (u httpUnit) process(ctx context.Context, id ao.ID) (*ans104.Item, error) {
	body, err := u.ask(ctx, httpAsk{
		hop: verbLog, process: id, method: http.MethodGet, path: "/processes/" + id.String(),
		query: url.Values{"show-anchor": {"true"}}, limit: elsewhereOne,
	})
	if err != nil {
		return nil, noneIs(verbLog, ao.UnknownProcess, err)
	}
	var p httpProcess
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, ao.Refuse(verbLog, ao.Malformed, "%s: %v", u.base, err)
	}
	p.httpItem.ID = p.ID
	if p.ID != id.String() {
		return nil, ao.Refuse(verbLog, ao.Malformed, "%s answers for another process", u.base)
	}
	it, err := p.item(&u.of.together)
	if err != nil {
		return u.fetch(ctx, id)
	}
	return it, nil
}
