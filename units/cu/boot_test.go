package cu

import (
	"context"
	"fmt"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/units/unitstest"
	"github.com/aopeer/aopeer/wasmvm"
)

// bookshelf is an archive with a few items and transactions.
type bookshelf struct {
	arweave.Archive
	items map[ao.ID]*ans104.Item
	txs   map[ao.ID]*l1.Tx
	fail  error
}

func (s bookshelf) Get(_ context.Context, id ans104.ID) (*ans104.Item, error) {
	if s.fail != nil {
		return nil, s.fail
	}
	if it := s.items[id]; it != nil {
		return it, nil
	}
	return nil, fmt.Errorf("get: %w", arweave.ErrNotFound)
}

func (s bookshelf) Tx(_ context.Context, id ans104.ID) (*l1.Tx, error) {
	if tx := s.txs[id]; tx != nil {
		return tx, nil
	}
	return nil, fmt.Errorf("get: %w", arweave.ErrNotFound)
}

// TestGenesisHoldsWhatBootNames: it is fetched for modules that read it, from an item or a transaction, and a process whose
// boot is not to be had is not evaluated without it.
func TestGenesisHoldsWhatBootNames(t *testing.T) {
	owner := unitstest.Signer("owner")
	it, err := ans104.Sign(owner, ans104.Fields{Data: []byte("code in an item")})
	if err != nil {
		t.Fatal(err)
	}
	empty, err := ans104.Sign(owner, ans104.Fields{Tags: ao.Tags{{Name: "a", Value: "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	tx, none := ao.ID{7}, unitstest.ID("nothing")
	archive := bookshelf{
		items: map[ao.ID]*ans104.Item{it.ID(): it, empty.ID(): empty},
		txs:   map[ao.ID]*l1.Tx{tx: {Data: []byte("code in a transaction")}},
	}
	module := func(format string) ao.Module {
		m, err := ao.SignModule(owner, format, "1-mb", "1", []byte(format))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	process := func(boot ...string) ao.Process {
		var tags ao.Tags
		for _, b := range boot {
			tags = append(tags, ao.Tag{Name: "On-Boot", Value: b})
		}
		p, err := unitstest.Spawn(t, owner, "s", "p", tags...).Process()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for name, c := range map[string]struct {
		format  string
		boot    []string
		archive arweave.Archive
		want    string
		is      bool
		code    ao.Code
	}{
		"an item":          {wasmvm.FormatAOS, []string{it.ID().String()}, archive, "code in an item", true, ""},
		"a transaction":    {wasmvm.FormatAOS32, []string{tx.String()}, archive, "code in a transaction", true, ""},
		"without data":     {wasmvm.FormatAOS, []string{empty.ID().String()}, archive, "", true, ""},
		"the last counts":  {wasmvm.FormatAOS, []string{none.String(), it.ID().String()}, archive, "code in an item", true, ""},
		"its own data":     {wasmvm.FormatAOS, []string{"Data"}, nil, "", false, ""},
		"nothing":          {wasmvm.FormatAOS, nil, nil, "", false, ""},
		"embedded":         {wasmvm.FormatDefault, []string{it.ID().String()}, archive, "code in an item", true, ""},
		"a module without": {wasmvm.FormatNative, []string{none.String()}, nil, "", false, ""},
		"not there":        {wasmvm.FormatAOS, []string{none.String()}, archive, "", false, ao.UnknownMessage},
		"no archive":       {wasmvm.FormatAOS, []string{it.ID().String()}, nil, "", false, ao.ArchiveDown},
		"a broken archive": {wasmvm.FormatAOS, []string{it.ID().String()}, bookshelf{fail: arweave.ErrCorrupt}, "", false, ao.Corrupt},
	} {
		g, err := genesisOf(t.Context(), c.archive, process(c.boot...), module(c.format))
		if c.code != "" {
			if err == nil || refusal(err).Code != c.code {
				t.Errorf("%s: %v, want %s", name, err, c.code)
			}
			continue
		}
		if err != nil || string(g.Boot) != c.want || (g.Boot != nil) != c.is {
			t.Errorf("%s: %q (%t), %v", name, g.Boot, g.Boot != nil, err)
		}
	}
}
