package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// knowing is an archive that says one thing about everything.
type knowing struct {
	arweave.Archive
	err error
}

func (k knowing) Confirm(context.Context, ans104.ID) (arweave.Confirmation, error) {
	return arweave.Confirmation{}, k.err
}

func TestMissingModuleIsToldAtSpawn(t *testing.T) {
	module := ans104.ID{1}.String()
	for _, c := range []struct {
		err    error
		module string
		warned bool
	}{
		{nil, module, false},
		{fmt.Errorf("confirm: %w", arweave.ErrNotFound), module, true},
		{arweave.ErrUnavailable, module, false},
		{arweave.ErrNotFound, "no ID", false},
	} {
		var out strings.Builder
		warnOfModule(t.Context(), &out, knowing{err: c.err}, c.module)
		if warned := strings.Contains(out.String(), module) && strings.Contains(out.String(), "--module"); warned != c.warned {
			t.Errorf("archive says %v: %q", c.err, out.String())
		}
	}
}
