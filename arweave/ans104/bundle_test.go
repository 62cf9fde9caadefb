package ans104

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// bundleTags mark an item whose data is a bundle.
func bundleTags() []Tag {
	return []Tag{{"Bundle-Format", "binary"}, {"Bundle-Version", "2.0.0"}}
}

func plainItems(t testing.TB, n int) (items []*Item) {
	s := testSigners(t)[1]
	for i := range n {
		items = append(items, mustSign(t, s, Fields{Data: fmt.Append(nil, "item ", i)}))
	}
	return items
}

func TestBundleRoundTrip(t *testing.T) {
	items := plainItems(t, 3)
	items = append(items, items[0])
	raw := BuildBundle(items)
	entries, err := ParseBundle(raw)
	if err != nil || len(entries) != len(items) {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for i, e := range entries {
		if e.ID != items[i].ID() || !bytes.Equal(e.Raw, items[i].Raw()) {
			t.Errorf("entry %d is %s", i, e.ID)
		}
		if cap(e.Raw) != len(e.Raw) {
			t.Errorf("entry %d can be appended to over the next one", i)
		}
	}
	if entries, err := ParseBundle(BuildBundle(nil)); err != nil || len(entries) != 0 {
		t.Errorf("empty bundle: %v, %v", entries, err)
	}
}

func TestBundleVectors(t *testing.T) {
	for _, v := range readVectors(t).Bundles {
		raw := b64(t, v.Raw)
		entries, err := ParseBundle(raw)
		if err != nil || len(entries) != len(v.IDs) {
			t.Fatalf("%s: %d entries, %v", v.Name, len(entries), err)
		}
		var items []*Item
		ids := [2][]ID{}
		if err := Expand(raw, func(depth int, it *Item) error {
			ids[depth] = append(ids[depth], it.ID())
			if depth == 0 {
				items = append(items, it)
			}
			return it.Verify()
		}); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
		if !slices.Equal(ids[0], v.IDs) || !slices.Equal(ids[1], v.Inner) {
			t.Errorf("%s: expands to %v", v.Name, ids)
		}
		if !bytes.Equal(BuildBundle(items), raw) {
			t.Errorf("%s: built from its items it has other bytes", v.Name)
		}
	}
}

func TestParseBundleRefuses(t *testing.T) {
	good := BuildBundle(plainItems(t, 2))
	change := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	set := func(at int, v byte) []byte {
		return change(func(b []byte) []byte { b[at] = v; return b })
	}
	for name, raw := range map[string][]byte{
		"nothing":                 nil,
		"half a count":            good[:31],
		"count only":              good[:32],
		"header cut":              good[:32+64+63],
		"item cut":                good[:len(good)-1],
		"byte behind":             append(bytes.Clone(good), 0),
		"one item fewer":          set(0, 1),
		"one item more":           set(0, 3),
		"count in its ninth byte": set(8, 1),
		"count in its last byte":  set(31, 1),
		"count near 2^64":         set(7, 0xff),
		"size in its ninth byte":  set(32+8, 1),
		"size in its last byte":   set(32+31, 0x80),
		"size near 2^64":          set(32+7, 0xff),
		"first size one less":     change(func(b []byte) []byte { b[32]--; return b }),
		"second size one more":    change(func(b []byte) []byte { b[32+64]++; return b }),
	} {
		if entries, err := ParseBundle(raw); !errors.Is(err, ErrBundle) {
			t.Errorf("%s: %d entries, %v", name, len(entries), err)
		}
		if err := Expand(raw, func(int, *Item) error { return nil }); !errors.Is(err, ErrBundle) {
			t.Errorf("%s: expands, %v", name, err)
		}
	}
}

func TestIsBundle(t *testing.T) {
	for _, c := range []struct {
		tags []Tag
		want bool
	}{
		{bundleTags(), true},
		{append([]Tag{{"App", "x"}}, bundleTags()...), true},
		{nil, false},
		{bundleTags()[:1], false},
		{bundleTags()[1:], false},
		{[]Tag{{"Bundle-Format", "json"}, {"Bundle-Version", "2.0.0"}}, false},
		{[]Tag{{"Bundle-Format", "binary"}, {"Bundle-Version", "1.0.0"}}, false},
	} {
		if it := mustSign(t, testSigners(t)[1], Fields{Tags: c.tags}); it.IsBundle() != c.want {
			t.Errorf("%q: %v", c.tags, !c.want)
		}
	}
}

// wrap puts items into a bundle and that into an item.
func wrap(t testing.TB, items ...*Item) *Item {
	return mustSign(t, testSigners(t)[1], Fields{Tags: bundleTags(), Data: BuildBundle(items)})
}

// walk expands a bundle into lines of depth and data.
func walk(raw []byte) (lines []string, err error) {
	err = Expand(raw, func(depth int, it *Item) error {
		text := "bundle"
		if !it.IsBundle() {
			text = string(it.Data())
		}
		lines = append(lines, fmt.Sprint(depth, " ", text))
		return nil
	})
	return lines, err
}

func TestExpandOrder(t *testing.T) {
	p := plainItems(t, 4)
	lines, err := walk(BuildBundle([]*Item{p[0], wrap(t, p[1], wrap(t, p[2]), p[2]), wrap(t), p[3], p[0]}))
	want := "0 item 0, 0 bundle, 1 item 1, 1 bundle, 2 item 2, 1 item 2, 0 bundle, 0 item 3, 0 item 0"
	if got := strings.Join(lines, ", "); err != nil || got != want {
		t.Errorf("%s: %v", got, err)
	}
}

// TestExpandFaults shows that a bad item costs only itself.
func TestExpandFaults(t *testing.T) {
	s := testSigners(t)[1]
	p := plainItems(t, 2)
	notBundle := mustSign(t, s, Fields{Tags: bundleTags(), Data: []byte("no bundle")})
	swapped := BuildBundle([]*Item{p[0], p[1]})
	copy(swapped[64:96], make([]byte, 32))
	inner := mustSign(t, s, Fields{Tags: bundleTags(), Data: swapped})
	raw := BuildBundle([]*Item{p[0], notBundle, inner, p[1]})
	lines, err := walk(raw)
	want := "0 item 0, 0 bundle, 0 bundle, 1 item 1, 0 item 1"
	if got := strings.Join(lines, ", "); got != want {
		t.Errorf("%s", got)
	}
	if !errors.Is(err, ErrBundle) || !errors.Is(err, ErrID) {
		t.Errorf("faults: %v", err)
	}

	broken := bytes.Clone(BuildBundle(p))
	broken[32+2*64] = 99 // the type of the first item
	lines, err = walk(broken)
	if len(lines) != 1 || lines[0] != "0 item 1" || !errors.Is(err, ErrSignatureType) {
		t.Errorf("%q, %v", lines, err)
	}

	// Many faults are counted, not collected.
	empty := append(appendNumber(nil, 1000), make([]byte, 64000)...)
	if err := Expand(empty, func(int, *Item) error { return nil }); !errors.Is(err, ErrTooShort) || strings.Count(err.Error(), "\n") != maxFaults-1 {
		t.Errorf("faults: %v", err)
	}
}

func TestExpandStops(t *testing.T) {
	p := plainItems(t, 3)
	stop := errors.New("enough")
	n := 0
	err := Expand(BuildBundle(p), func(int, *Item) error {
		n++
		if n == 2 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || n != 2 {
		t.Errorf("%d visits, %v", n, err)
	}

	n = 0
	err = Expand(BuildBundle([]*Item{wrap(t, p...), p[0]}), func(int, *Item) error { n++; return ErrSkipBundle })
	if err != nil || n != 2 {
		t.Errorf("%d visits with bundles skipped, %v", n, err)
	}
}

func TestExpandLimits(t *testing.T) {
	p := plainItems(t, 3)
	it := p[0]
	for range MaxDepth - 1 {
		it = wrap(t, it)
	}
	lines, err := walk(BuildBundle([]*Item{it}))
	if err != nil || len(lines) != MaxDepth {
		t.Errorf("%d levels: %q, %v", MaxDepth, lines, err)
	}
	lines, err = walk(BuildBundle([]*Item{wrap(t, it), p[1]}))
	if !errors.Is(err, ErrDepth) || len(lines) != MaxDepth+1 || lines[MaxDepth] != "0 item 1" {
		t.Errorf("%d levels: %q, %v", MaxDepth+1, lines, err)
	}

	for limit, want := range map[int]int{1: 1, 3: 3, 4: 4, 5: 5, 6: 5} {
		n := 0
		w := &expansion{limit: limit, visit: func(int, *Item) error { n++; return nil }}
		err := w.walk(BuildBundle([]*Item{p[0], wrap(t, p[1], p[2]), p[0]}))
		if n != want || errors.Is(err, ErrTooManyItems) != (limit < 5) {
			t.Errorf("at most %d: %d visits, %v", limit, n, err)
		}
	}
}
