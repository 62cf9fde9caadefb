package remote

import (
	"cmp"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/p2p"
)

// The roles that a unit can announce.
const (
	RoleScheduler = "su"
	RoleComputer  = "cu"
	RoleMessenger = "mu"
)

// ErrUnit says that bytes are no announcement of a unit on this network.
var ErrUnit = errors.New("not an announcement of a unit on this network")

const (
	typeUnit  = "Unit"
	maxUnit   = 8 << 10          // bytes of an announcement
	maxAhead  = 2 * time.Minute  // how far in the future a sequence number may lie
	maxLife   = 15 * time.Minute // how long an announcement may hold: those of a flood are gone soon
	maxRoster = 4096
	maxRoles  = 8
	maxAddrs  = 16
)

// Unit is what a unit says of itself: who it is, what it does and where it listens. It is signed by the unit key,
// which is its libp2p identity as well.
type Unit struct {
	Address  string    `json:"address"` // of the unit key
	Peer     peer.ID   `json:"peer"`
	Roles    []string  `json:"roles"`
	Name     string    `json:"name,omitempty"`
	Addrs    []string  `json:"addrs"`
	Sequence int64     `json:"sequence"` // milliseconds; the highest counts
	Expires  time.Time `json:"expires"`

	raw []byte
}

type unitBody struct {
	Name  string   `json:"name,omitempty"`
	Addrs []string `json:"addrs"`
}

// SignUnit makes an announcement for a network.
func SignUnit(s ans104.Signer, network string, u Unit) ([]byte, error) {
	body, err := json.Marshal(unitBody{Name: u.Name, Addrs: u.Addrs})
	if err != nil {
		return nil, fmt.Errorf("sign announcement: %w", err)
	}
	tags := []ans104.Tag{
		{Name: "Data-Protocol", Value: ao.DataProtocol},
		{Name: "Type", Value: typeUnit},
		{Name: "Network", Value: network},
		{Name: "Sequence", Value: strconv.FormatInt(u.Sequence, 10)},
		{Name: "Expires", Value: strconv.FormatInt(u.Expires.UnixMilli(), 10)},
	}
	for _, r := range u.Roles {
		tags = append(tags, ans104.Tag{Name: "Role", Value: r})
	}
	it, err := ans104.Sign(s, ans104.Fields{Tags: tags, Data: body})
	if err != nil {
		return nil, fmt.Errorf("sign announcement: %w", err)
	}
	return it.Raw(), nil
}

// ParseUnit parses and verifies an announcement. Errors: ErrUnit, those of ans104.
func ParseUnit(network string, raw []byte) (Unit, error) {
	if len(raw) > maxUnit {
		return Unit{}, fmt.Errorf("%w: %d bytes", ErrUnit, len(raw))
	}
	it, err := ans104.Parse(raw)
	if err != nil {
		return Unit{}, err
	}
	tags := ao.Tags(it.Tags())
	if tags.Get("Type") != typeUnit || tags.Get("Network") != network || it.SignatureType() != ans104.Ed25519 {
		return Unit{}, ErrUnit
	}
	u := Unit{Address: it.OwnerAddress(), Roles: tags.All("Role"), raw: raw}
	if u.Peer, err = p2p.PeerIDFromKey(ed25519.PublicKey(it.Owner())); err != nil {
		return Unit{}, fmt.Errorf("%w: %w", ErrUnit, err)
	}
	var body unitBody
	seq, err1 := strconv.ParseInt(tags.Get("Sequence"), 10, 64)
	exp, err2 := strconv.ParseInt(tags.Get("Expires"), 10, 64)
	if err := errors.Join(err1, err2, json.Unmarshal(it.Data(), &body)); err != nil {
		return Unit{}, fmt.Errorf("%w: %w", ErrUnit, err)
	}
	if len(body.Addrs) > maxAddrs || len(u.Roles) > maxRoles {
		return Unit{}, fmt.Errorf("%w: %d addresses, %d roles", ErrUnit, len(body.Addrs), len(u.Roles))
	}
	for _, role := range u.Roles {
		if !isWord(role) {
			return Unit{}, fmt.Errorf("%w: role %.16q", ErrUnit, role)
		}
	}
	for _, a := range body.Addrs {
		if _, err := multiaddr.NewMultiaddr(a); err != nil {
			return Unit{}, fmt.Errorf("%w: %w", ErrUnit, err)
		}
	}
	u.Name, u.Addrs, u.Sequence, u.Expires = printable(body.Name, 32), body.Addrs, seq, time.UnixMilli(exp)
	if err := it.Verify(); err != nil {
		return Unit{}, err
	}
	return u, nil
}

// Does says whether the unit announces that role.
func (u Unit) Does(role string) bool { return slices.Contains(u.Roles, role) }

// Roster is the newest announcement of every unit heard of, bounded. Safe for concurrent use.
type Roster struct {
	network string
	now     func() time.Time

	lock  sync.Mutex
	units map[string]Unit // by address
}

// NewRoster is an empty roster of a network.
func NewRoster(network string, now func() time.Time) *Roster {
	return &Roster{network: network, now: now, units: map[string]Unit{}}
}

// Add takes an announcement if it is newer than the one known. A bad one is the sender's fault; a stale one is not.
func (r *Roster) Add(raw []byte) (Unit, p2p.Verdict) {
	u, err := ParseUnit(r.network, raw)
	if err != nil {
		return Unit{}, p2p.Reject
	}
	now := r.now()
	if !u.Expires.After(now) || u.Expires.Sub(now) > maxLife || u.Sequence > now.Add(maxAhead).UnixMilli() {
		return u, p2p.Ignore
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	if old, ok := r.units[u.Address]; ok && old.Sequence >= u.Sequence {
		return u, p2p.Ignore
	} else if !ok && len(r.units) >= maxRoster {
		r.sweep(now)
		if len(r.units) >= maxRoster { // a flood of identities does not push out known ones
			return u, p2p.Ignore
		}
	}
	r.units[u.Address] = u
	return u, p2p.Accept
}

func (r *Roster) sweep(now time.Time) {
	for a, u := range r.units {
		if !u.Expires.After(now) {
			delete(r.units, a)
		}
	}
}

// Get is the unit of that address, if it is known and has not expired.
func (r *Roster) Get(address string) (Unit, bool) {
	r.lock.Lock()
	defer r.lock.Unlock()
	u, ok := r.units[address]
	return u, ok && u.Expires.After(r.now())
}

// With is the units of a role ("" for all), by address.
func (r *Roster) With(role string) []Unit {
	r.lock.Lock()
	defer r.lock.Unlock()
	var out []Unit
	for _, u := range r.units {
		if (role == "" || u.Does(role)) && u.Expires.After(r.now()) {
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b Unit) int { return cmp.Compare(a.Address, b.Address) })
	return out
}
