// Package simnet builds cities of peers in virtual time and shows that the machine keeps its promises when peers lie,
// crash and part: the sentences of the security model (§5.2 to §5.7) and of the market (§6.3.3) as tests.
//
// In come peers with roles, the links between them, and faults, said one after the other by a story, which is a test: Run
// gives it a City, City.Peer adds peers and Start starts them, Part, Heal, Stop and Crash happen to them, Await and Pass let
// virtual time go by. Out come virtual times, bytes and what the peers hold. Goroutines race in virtual time too, so that no
// two runs are the same to the byte: a story asserts properties and ranges.
//
// It never has a second implementation of a peer: what runs here is the composition of internal/node, with go-libp2p,
// gossip and the DHT as they are; only the wire, the archive, the store and the time that a message's evaluation takes are
// replaced. It never sleeps in real time and touches no network but its own. When a story ends, every goroutine has.
//
// Start with Run below and docs/simnet.md, which writes a story; peer.go is what a peer can be told, wire.go what a link is.
package simnet

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"hash/fnv"
	"log/slog"
	mathrand "math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/wasmvm"
)

const (
	// doorsteps is how many peers, drawn among those that run, another meets the mesh through.
	doorsteps = 6
	// glance is how often Await looks.
	glance = 10 * time.Millisecond
	// wake is how long libp2p has goroutines that outlive their host: those wait for a dial to fail, at most a minute.
	wake = 2 * time.Minute
	// nameOfNetwork is the network of every city; they never meet.
	nameOfNetwork = "simnet"
)

// City is peers, the links between them, an Arweave and a clock of its own. Its methods are for the story's goroutine.
type City struct {
	T    *testing.T
	seed uint64
	dir  string
	born time.Time

	near, far time.Duration
	wire      *wire
	network   node.Network
	archive   *archive
	machine   wasmvm.Machine
	module    ao.Module
	user      ans104.Signer
	peers     []*Peer
	strangers []*Stranger
	plugged   int // machines on the wire
	chance    *mathrand.Rand
	sparse    bool
	log       *slog.Logger
}

// Run plays a story in a city of its own, in virtual time, and clears it away: a goroutine that is left fails the test.
// The seed chooses the latencies of the links, and through whom each peer meets the mesh.
//
//	simnet.Run(t, 1, func(c *simnet.City) {
//		c.Peer("su").Does("su").Start()
//		c.Peer("cu").Does("cu").Takes(30 * time.Millisecond).BehindNAT().Start()
//		guests := c.Peers("guest", 17)
//		c.Await("the guests know two units", time.Minute, func() bool { return c.All(knows(2)) })
//		c.Part(guests)
//		c.Pass(2 * time.Minute)
//		c.Heal()
//	})
func Run(t *testing.T, seed uint64, story func(*City)) {
	t.Helper()
	machine, err := wasmvm.NewHost(wasmvm.Config{Natives: map[string]wasmvm.Native{ModuleName: actor{}}})
	if err != nil {
		t.Fatal(err)
	}
	defer machine.Close()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCity(t, seed, dir, machine)
		defer c.end()
		story(c)
	})
}

func newCity(t *testing.T, seed uint64, dir string, machine wasmvm.Machine) *City {
	t.Helper()
	c := &City{
		T: t, seed: seed, dir: dir, born: time.Now(), near: 20 * time.Millisecond, far: 150 * time.Millisecond,
		chance: mathrand.New(mathrand.NewPCG(seed, seed)), archive: newArchive(), machine: machine, user: newSigner(t), log: slog.New(slog.DiscardHandler),
	}
	if level := os.Getenv("SIMNET_LOG"); level != "" { // to look into a story that fails
		var l slog.Level
		if err := l.UnmarshalText([]byte(level)); err != nil {
			t.Fatal(err)
		}
		c.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l}))
	}
	c.wire = newWire(c.latency)
	var err error
	if c.network, err = node.SignNetwork(newSigner(t), node.Network{ID: nameOfNetwork}); err != nil {
		t.Fatal(err)
	}
	if c.module, err = ao.SignModule(c.user, wasmvm.FormatNative, "1-mb", "1000000", []byte(ModuleName)); err != nil {
		t.Fatal(err)
	}
	if err := c.archive.Put(t.Context(), c.module.Item()); err != nil {
		t.Fatal(err)
	}
	return c
}

func newSigner(t *testing.T) ans104.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return ans104.NewEd25519Signer(key)
}

// end stops all peers at once and waits until they are gone.
func (c *City) end() {
	c.Heal()
	var all sync.WaitGroup
	for _, p := range c.peers {
		all.Go(p.Stop)
	}
	for _, s := range c.strangers {
		all.Go(s.Stop)
	}
	all.Wait()
	c.Pass(wake) // the clock stands still once the story is over
	for _, p := range c.peers {
		if err := p.store.Close(); err != nil {
			c.T.Errorf("close the store of %s: %v", p.name, err)
		}
	}
}

// Links sets the range of the round-trip times between peers. Each pair draws its own by the seed, and keeps it.
func (c *City) Links(least, most time.Duration) {
	c.near, c.far = least, most
}

// latency is that of one way.
func (c *City) latency(a, b netip.Addr) time.Duration {
	if a == b {
		return 0
	}
	if b.Less(a) {
		a, b = b, a
	}
	h := fnv.New64a()
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, c.seed))
	_, _ = h.Write(a.AsSlice())
	_, _ = h.Write(b.AsSlice())
	part := time.Duration(h.Sum64() >> 11 % 1024)
	return (c.near + (c.far-c.near)*part/1024) / 2
}

// Time is how long the city exists.
func (c *City) Time() time.Duration { return time.Since(c.born) }

// Pass lets virtual time go by.
func (c *City) Pass(d time.Duration) { time.Sleep(d) }

// Await lets virtual time go by until something is so, and fails the story when it takes too long. It tells how long it
// took.
func (c *City) Await(what string, most time.Duration, so func() bool) time.Duration {
	c.T.Helper()
	begin := time.Now()
	for !so() {
		if time.Since(begin) > most {
			c.T.Fatalf("after %v, %v into the story, it is not so that %s", most, c.Time(), what)
		}
		time.Sleep(glance)
	}
	return time.Since(begin)
}

// All says whether something holds of every peer that runs.
func (c *City) All(holds func(*Peer) bool) bool {
	for _, p := range c.Running() {
		if !holds(p) {
			return false
		}
	}
	return true
}

// Count is of how many running peers something holds.
func (c *City) Count(holds func(*Peer) bool) (n int) {
	for _, p := range c.Running() {
		if holds(p) {
			n++
		}
	}
	return n
}

// Running are the peers that were started and not stopped.
func (c *City) Running() (running []*Peer) {
	for _, p := range c.peers {
		if p.node != nil {
			running = append(running, p)
		}
	}
	return running
}

// Named are the running peers whose names begin with one of these.
func (c *City) Named(prefixes ...string) (named []*Peer) {
	for _, p := range c.Running() {
		for _, prefix := range prefixes {
			if strings.HasPrefix(p.name, prefix) {
				named = append(named, p)
				break
			}
		}
	}
	return named
}

// Part cuts the links between groups of peers; those in no group make one more. What is on its way waits for Heal, and
// connections that wait too long break.
func (c *City) Part(groups ...[]*Peer) {
	sides := make(map[netip.Addr]int)
	for i, group := range groups {
		for _, p := range group {
			sides[p.station.addr] = i + 1
		}
	}
	c.wire.divide(sides)
}

// Heal brings all links back.
func (c *City) Heal() { c.wire.divide(nil) }

// home makes the folder of a peer.
func (c *City) home(name string) node.Home {
	h := node.Home(filepath.Join(c.dir, name))
	if err := h.Make(); err != nil {
		c.T.Fatal(err)
	}
	if _, err := h.EnsureKey(); err != nil {
		c.T.Fatal(err)
	}
	if err := h.Join(c.network); err != nil {
		c.T.Fatal(err)
	}
	return h
}

// doors are addresses of some peers, through which others meet the mesh.
func (c *City) doors() (addrs []string) {
	var open []*Peer
	for _, p := range c.Running() {
		if !p.station.hidden.Load() {
			open = append(open, p)
		}
	}
	c.chance.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
	for _, p := range open[:min(len(open), doorsteps)] {
		addrs = append(addrs, p.Addr())
	}
	return addrs
}

// Sparse keeps peers that start from now on from looking for more neighbours than they are told of and than find them. In a
// city of many the tables of all would otherwise connect nearly everybody to everybody, which is most of what it costs.
func (c *City) Sparse() { c.sparse = true }
