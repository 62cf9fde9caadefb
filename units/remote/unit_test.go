package remote

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units/unitstest"
)

// noon is when the roster's tests happen.
func noon() time.Time { return time.Unix(1_800_000_000, 0) }

// announced is an announcement made at noon, changed.
func announced(t testing.TB, s ans104.Signer, change ...func(*Unit)) []byte {
	t.Helper()
	u := Unit{
		Name: "unit", Roles: []string{RoleScheduler}, Addrs: []string{"/ip4/127.0.0.1/tcp/4001"},
		Sequence: noon().UnixMilli(), Expires: noon().Add(announceLife),
	}
	for _, c := range change {
		c(&u)
	}
	raw, err := SignUnit(s, network, u)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestUnitRoundTrip(t *testing.T) {
	s := unitstest.Signer("su")
	u, err := ParseUnit(network, announced(t, s))
	if err != nil {
		t.Fatal(err)
	}
	want, err := p2p.PeerIDFromKey(ed25519.PublicKey(s.Owner()))
	if err != nil {
		t.Fatal(err)
	}
	if u.Address != unitstest.Address(s) || u.Peer != want || u.Name != "unit" || !u.Does(RoleScheduler) || u.Does(RoleComputer) ||
		len(u.Addrs) != 1 || u.Sequence != noon().UnixMilli() || !u.Expires.Equal(noon().Add(announceLife)) {
		t.Errorf("came back as %+v", u)
	}
}

func TestBadAnnouncements(t *testing.T) {
	s := unitstest.Signer("su")
	good := announced(t, s)
	if _, err := ParseUnit("another-network", good); err == nil {
		t.Error("another network's announcement was taken")
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1
		if _, err := ParseUnit(network, b); err == nil {
			t.Errorf("an announcement with byte %d altered was taken", i)
		} else {
			enumerated(t, Refusal("units", err))
		}
	}
	for _, n := range []int{0, 1, 2, 100, len(good) - 1} {
		if _, err := ParseUnit(network, good[:n]); err == nil {
			t.Errorf("an announcement cut to %d bytes was taken", n)
		}
	}
	for name, change := range map[string]func(*Unit){
		"too large":      func(u *Unit) { u.Name = strings.Repeat("x", maxUnit) },
		"many addresses": func(u *Unit) { u.Addrs = make([]string, maxAddrs+1) },
		"no address":     func(u *Unit) { u.Addrs = []string{"\x1b[31m"} },
		"many roles":     func(u *Unit) { u.Roles = strings.Split(strings.Repeat("su ", maxRoles)+"su", " ") },
		"odd role":       func(u *Unit) { u.Roles = []string{"su\x1b[31m"} },
		"long role":      func(u *Unit) { u.Roles = []string{strings.Repeat("a", 17)} },
	} {
		if _, err := ParseUnit(network, announced(t, s, change)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	item := func(signer ans104.Signer, data string, tags ...ans104.Tag) []byte {
		it, err := ans104.Sign(signer, ans104.Fields{Tags: tags, Data: []byte(data)})
		if err != nil {
			t.Fatal(err)
		}
		return it.Raw()
	}
	tags := []ans104.Tag{{Name: "Type", Value: "Unit"}, {Name: "Network", Value: network}, {Name: "Sequence", Value: "1"}, {Name: "Expires", Value: "2"}}
	for name, raw := range map[string][]byte{
		"no JSON":     item(s, "{", tags...),
		"no tags":     item(s, "{}"),
		"no sequence": item(s, "{}", tags[0], tags[1], tags[3]),
		"not a unit":  item(s, "{}", append([]ans104.Tag{{Name: "Type", Value: "Message"}}, tags...)...),
		"a message":   unitstest.Message(t, s, unitstest.ID("x"), "x").Raw(),
	} {
		if _, err := ParseUnit(network, raw); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	u, err := ParseUnit(network, announced(t, s, func(u *Unit) { u.Name = "\x1b[31mred\n" + strings.Repeat("é", 100) }))
	if err != nil || strings.ContainsAny(u.Name, "\x1b\n") || len(u.Name) > 40 {
		t.Errorf("the name is %q, %v", u.Name, err)
	}
}

func TestRoster(t *testing.T) {
	now := noon()
	r := NewRoster(network, func() time.Time { return now })
	s, other := unitstest.Signer("su"), unitstest.Signer("cu")
	later := func(d time.Duration) func(*Unit) {
		return func(u *Unit) { u.Sequence += d.Milliseconds(); u.Expires = u.Expires.Add(d) }
	}
	forged := announced(t, s)
	forged[100] ^= 1
	for _, c := range []struct {
		name string
		raw  []byte
		want p2p.Verdict
	}{
		{"forged", forged, p2p.Reject},
		{"nonsense", []byte("nonsense"), p2p.Reject},
		{"good", announced(t, s), p2p.Accept},
		{"again", announced(t, s), p2p.Ignore},
		{"older", announced(t, s, later(-time.Second)), p2p.Ignore},
		{"newer", announced(t, s, later(time.Second)), p2p.Accept},
		{"too far ahead", announced(t, s, later(maxAhead+time.Second)), p2p.Ignore},
		{"forever", announced(t, s, func(u *Unit) { u.Sequence += 5000; u.Expires = now.Add(maxLife + time.Second) }), p2p.Ignore},
		{"over already", announced(t, s, func(u *Unit) { u.Sequence += 5000; u.Expires = now }), p2p.Ignore},
		{"another's", announced(t, other, func(u *Unit) { u.Roles = []string{RoleComputer} }), p2p.Accept},
	} {
		if _, got := r.Add(c.raw); got != c.want {
			t.Errorf("%s: verdict %d, want %d", c.name, got, c.want)
		}
	}
	if u, ok := r.Get(unitstest.Address(s)); !ok || u.Sequence != noon().UnixMilli()+1000 {
		t.Errorf("the newest is %d, %t", u.Sequence, ok)
	}
	if len(r.With("")) != 2 || len(r.With(RoleComputer)) != 1 || len(r.With(RoleMessenger)) != 0 {
		t.Errorf("%d units, %d computers", len(r.With("")), len(r.With(RoleComputer)))
	}
	now = now.Add(announceLife + 2*time.Second)
	if _, ok := r.Get(unitstest.Address(s)); ok || len(r.With("")) != 0 {
		t.Error("units are known beyond their time")
	}
}

func TestRosterUnderFlood(t *testing.T) {
	now := noon()
	r := NewRoster(network, func() time.Time { return now })
	known := unitstest.Signer("su")
	r.Add(announced(t, known))
	raw := announced(t, unitstest.Signer("flood"))
	u, err := ParseUnit(network, raw)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxRoster - 1 { // as if each had been announced: signing them all takes long
		u.Address = strconv.Itoa(i)
		r.units[u.Address] = u
	}
	newcomer := unitstest.Signer("newcomer")
	if _, v := r.Add(announced(t, newcomer)); v != p2p.Ignore || len(r.units) != maxRoster {
		t.Errorf("verdict %d, %d units", v, len(r.units))
	}
	if _, ok := r.Get(unitstest.Address(known)); !ok {
		t.Error("the flood pushed out a known unit")
	}
	soon := func(u *Unit) { u.Sequence += 1000; u.Expires = u.Expires.Add(maxLife - announceLife) }
	if _, v := r.Add(announced(t, known, soon)); v != p2p.Accept {
		t.Errorf("a known unit could not announce itself again: %d", v)
	}
	now = now.Add(announceLife + time.Second) // the flood is over, and swept out
	if _, v := r.Add(announced(t, newcomer, soon)); v != p2p.Accept || len(r.units) != 2 {
		t.Errorf("verdict %d, %d units after the flood", v, len(r.units))
	}
}

func TestMeshFindsUnits(t *testing.T) {
	start := func(n *p2p.Node, name string, roles ...string) *Mesh {
		m, err := NewMesh(n, network, ans104.NewEd25519Signer(keyOf(name)), name, roles, quiet())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	a, _ := node(t, "a")
	b, _ := node(t, "b")
	guest, _ := node(t, "guest")
	ma, mb, mg := start(a, "a", RoleScheduler), start(b, "b", RoleComputer), start(guest, "guest")
	for _, m := range []*Mesh{ma, mb} {
		runs(t, m)
	}
	connect(t, b, a)
	until(t, "the two know each other", func() bool { return len(ma.Roster.With("")) == 2 && len(mb.Roster.With("")) == 2 })
	connect(t, guest, a)
	if err := mg.Pull(t.Context(), a.ID()); err != nil {
		t.Fatal(err)
	}
	if us := mg.Roster.With(RoleComputer); len(us) != 1 || us[0].Peer != b.ID() || us[0].Name != "b" {
		t.Errorf("the guest knows the computers %+v", us)
	}
	if id, ok := mg.locate(t.Context(), ma.own.Address); !ok || id != a.ID() {
		t.Errorf("the scheduler is at %s, %t", id, ok)
	}
	if len(ma.Roster.With("")) != 2 {
		t.Error("a guest without a role is announced")
	}
}

// runs lets a mesh run until the test ends.
func runs(t *testing.T, m *Mesh) {
	t.Helper()
	ctx := t.Context()
	ended := make(chan struct{})
	go func() { defer close(ended); _ = m.Run(ctx) }()
	t.Cleanup(func() { <-ended })
}

func TestHostileSnapshot(t *testing.T) {
	server, client := pair(t)
	m, err := NewMesh(client, network, unitstest.Signer("guest"), "", nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	s := unitstest.Signer("su")
	good := func() []byte {
		raw, err := SignUnit(s, network, Unit{Roles: []string{RoleScheduler}, Sequence: time.Now().UnixMilli(), Expires: time.Now().Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}()
	raw(server, verbUnits, frames([]byte("nonsense"), nil, good))
	if err := m.Pull(t.Context(), server.ID()); err != nil || len(m.Roster.With("")) != 1 {
		t.Errorf("%d units, %v", len(m.Roster.With("")), err)
	}
	raw(server, verbUnits, frames(make([]byte, maxUnit+1)))
	enumerated(t, m.Pull(t.Context(), server.ID()))
	raw(server, verbUnits, func(s *p2p.Stream) error {
		var err error
		for i := 0; err == nil; i++ { // it ends because the reader has enough
			err = s.Write(fmt.Append(nil, i))
		}
		return err
	})
	if err := m.Pull(t.Context(), server.ID()); err != nil {
		t.Errorf("an endless snapshot: %v", err)
	}
	if err := m.Pull(t.Context(), peer.ID("nobody")); err == nil {
		t.Error("nobody answered")
	} else {
		enumerated(t, err)
	}
}

func FuzzParseUnit(f *testing.F) {
	f.Add(announced(f, unitstest.Signer("su")))
	f.Add(announced(f, unitstest.Signer("cu"), func(u *Unit) { u.Roles, u.Addrs, u.Name = nil, nil, "" }))
	f.Add(unitstest.Message(f, unitstest.Signer("su"), unitstest.ID("x"), "x").Raw())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		u, err := ParseUnit(network, raw)
		if err != nil {
			if r := Refusal("units", err); !isCode(r.Code) || r.Code == ao.Internal {
				t.Errorf("%v is not mapped", err)
			}
			return
		}
		if u.Address == "" || u.Peer == "" || len(u.Name) > 64 || len(u.Roles) > maxRoles || len(u.Addrs) > maxAddrs {
			t.Errorf("took %+v", u)
		}
	})
}
