package cu

import (
	"context"
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/wasmvm"
)

// genesisOf is what a process is computed from, with what its On-Boot names fetched and verified: the machine itself opens
// nothing. What is not on the archive is waited for, because everybody must read the same.
func genesisOf(ctx context.Context, a arweave.Archive, p ao.Process, m ao.Module) (wasmvm.Genesis, error) {
	g := wasmvm.Genesis{Process: p, Module: m}
	id, ok := wasmvm.BootOf(p, m)
	if !ok {
		return g, nil
	}
	if a == nil {
		return g, ao.Refuse(hop, ao.ArchiveDown, "On-Boot names %s, and this unit has no archive", id)
	}
	data, err := contentOf(ctx, a, id)
	if errors.Is(err, arweave.ErrNotFound) {
		return g, ao.Refuse(hop, ao.UnknownMessage, "On-Boot names %s, which is not on the archive", id)
	}
	if err != nil {
		return g, fmt.Errorf("fetch what On-Boot names: %w", err)
	}
	g.Boot = append([]byte{}, data...) // never nil, which is nothing
	return g, nil
}

// contentOf is the data of an item or of a base-layer transaction.
func contentOf(ctx context.Context, a arweave.Archive, id ao.ID) ([]byte, error) {
	item, err := a.Get(ctx, id)
	if err == nil {
		return item.Data(), nil
	}
	if !errors.Is(err, arweave.ErrNotFound) {
		return nil, err
	}
	tx, err := a.Tx(ctx, id)
	if err != nil {
		return nil, err
	}
	return tx.Data, nil
}
