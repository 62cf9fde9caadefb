package ans104

import (
	"errors"
	"fmt"
)

const (
	// MaxDepth is how many levels of bundles [Expand] opens, the outermost included.
	MaxDepth = 8
	// MaxItems is how many entries [Expand] looks at, over all levels.
	MaxItems = 1 << 20
	// maxFaults bounds what is said about an unsound bundle.
	maxFaults = 16
)

// ErrSkipBundle is what the visitor of [Expand] returns so that the bundle it was shown is not opened.
var ErrSkipBundle = errors.New("ans104: skip this bundle")

// IsBundle reports whether the item's tags say that its data is a bundle.
func (it *Item) IsBundle() bool {
	format, _ := it.Tag("Bundle-Format")
	version, _ := it.Tag("Bundle-Version")
	return format == "binary" && version == "2.0.0"
}

// Expand walks a bundle and the bundles in it, in their order, an item before its contents, and calls visit
// with every sound item at its depth (0 for those of raw itself). Signatures are the visitor's to check,
// before its answer lets a nested bundle be opened.
//
// Anybody may get an item into somebody else's bundle, so one that does not parse, or has another ID than
// its entry says, is passed over; so is the data of a nested bundle that is none. The walk goes on and its
// error names the first of these faults. It stops at MaxItems, and at any other error of visit, which it
// returns as it is. Memory is bounded by MaxDepth, not by what the headers claim.
func Expand(raw []byte, visit func(depth int, it *Item) error) error {
	return (&expansion{visit: visit, limit: MaxItems}).walk(raw)
}

type expansion struct {
	visit  func(depth int, it *Item) error
	limit  int
	stack  []bundleCursor
	seen   int
	faults []error
}

func (w *expansion) walk(raw []byte) error {
	if err := w.open(raw); err != nil {
		return err
	}
	for len(w.stack) > 0 {
		top := &w.stack[len(w.stack)-1]
		if top.next == top.count {
			w.stack = w.stack[:len(w.stack)-1]
			continue
		}
		if w.seen == w.limit {
			w.faults = append(w.faults, ErrTooManyItems)
			break
		}
		w.seen++
		if err := w.step(top.entry()); err != nil {
			return err
		}
	}
	return errors.Join(w.faults...)
}

func (w *expansion) open(raw []byte) error {
	n, err := bundleCount(raw)
	if err != nil {
		return err
	}
	w.stack = append(w.stack, bundleCursor{raw: raw, count: n, at: bundleCountLen + n*bundleEntryLen})
	return nil
}

func (w *expansion) step(e Entry) error {
	it, err := Parse(e.Raw)
	if err != nil {
		w.fault(e.ID, err)
		return nil
	}
	if it.id != e.ID {
		w.fault(e.ID, fmt.Errorf("%w: its item is %s", ErrID, it.id))
		return nil
	}
	err = w.visit(len(w.stack)-1, it)
	if errors.Is(err, ErrSkipBundle) {
		return nil
	}
	if err != nil {
		return err
	}
	if !it.IsBundle() {
		return nil
	}
	if len(w.stack) == MaxDepth {
		w.fault(e.ID, ErrDepth)
		return nil
	}
	if err := w.open(it.Data()); err != nil {
		w.fault(e.ID, err)
	}
	return nil
}

func (w *expansion) fault(id ID, err error) {
	if len(w.faults) < maxFaults {
		w.faults = append(w.faults, fmt.Errorf("expand %s: %w", id, err))
	}
}
