package remote

import (
	"testing"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// TestAnnouncementsAreGossiped: what a unit announces again and again reaches those who pulled its roster once and will
// not again, before the first announcement expires.
func TestAnnouncementsAreGossiped(t *testing.T) {
	server, client := pair(t)
	mesh := func(name string, at int) *Mesh {
		n := server
		if at == 1 {
			n = client
		}
		m, err := NewMesh(n, network, ans104.NewEd25519Signer(keyOf(name)), name, []string{RoleComputer}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	from, to := mesh("server", 0), mesh("client", 1)
	var last int64
	for range 3 {
		until(t, "the announcement", func() bool { // nobody pulls: neither mesh runs
			from.announce(t.Context())
			u, ok := to.Roster.Get(from.own.Address)
			newer := ok && u.Sequence > last
			if newer {
				last = u.Sequence
			}
			return newer
		})
	}
	if own, ok := from.Roster.Get(from.own.Address); !ok || own.Sequence < last {
		t.Errorf("the own roster has %d, the other's %d", own.Sequence, last)
	}
}
