package remote

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units"
)

// Doors are a peer's own units; nil where it has no such role.
type Doors struct {
	Scheduler units.Scheduler
	Log       units.Log
	Computer  units.Computer
}

// Directory finds units across the mesh, and processes and modules there or on Arweave. It implements units.Directory.
type Directory struct {
	network string
	address string // our own
	node    *p2p.Node
	mesh    *Mesh
	archive arweave.Archive
	store   store.Store
	settled units.Log // what Arweave has of any process
	log     *slog.Logger

	lock      sync.Mutex
	own       Doors
	elsewhere *Elsewhere           // nil: whoever is not on the mesh is not there
	market    *Market              // nil: nobody is paid
	processes map[ao.ID]ao.Process // bounded by maxRemembered
	modules   map[ao.ID]ao.Module
	chosen    map[ao.ID]string // which computer a process was given to
	given     map[string]int   // how many processes each computer was given
}

const (
	maxRemembered = 10_000
	maxModules    = 8
	maxAsk        = 64 // schedulers asked whether they host a process
	askAtOnce     = 16
)

// keyProcess begins the key of a process's item, which never changes.
const keyProcess = "dir/process/"

var _ units.Directory = (*Directory)(nil)

// NewDirectory builds a directory over a mesh. Without a mesh it knows Arweave and the own doors alone.
func NewDirectory(network, address string, node *p2p.Node, mesh *Mesh, archive arweave.Archive, st store.Store, log *slog.Logger) *Directory {
	d := &Directory{
		network: network, address: address, node: node, mesh: mesh, archive: archive, store: st, log: log,
		processes: map[ao.ID]ao.Process{}, modules: map[ao.ID]ao.Module{}, chosen: map[ao.ID]string{}, given: map[string]int{},
	}
	d.settled = NewArchiveLog(archive, d)
	return d
}

// SetDoors tells the directory of the peer's own units, which are asked before others. Call it before Run.
func (d *Directory) SetDoors(own Doors) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.own = own
}

// SetMarket has units chosen and paid on the market. Call it before Run.
func (d *Directory) SetMarket(m *Market) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.market = m
}

// SetElsewhere has schedulers that are not on the mesh looked for and asked by HTTP. Call it before Run.
func (d *Directory) SetElsewhere(e *Elsewhere) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.elsewhere = e
}

// place is the market, nil for none.
func (d *Directory) place() *Market {
	d.lock.Lock()
	defer d.lock.Unlock()
	return d.market
}

// HostAt is the Scheduler tag's one key.
func (d *Directory) HostAt(ctx context.Context, process ao.ID, _ ao.Slot) (units.SignaturePolicy, error) {
	p, err := d.Process(ctx, process)
	if err != nil {
		return units.SignaturePolicy{}, err
	}
	return units.SignaturePolicy{Keys: []string{p.Scheduler()}, Threshold: 1}, nil
}

// Process is the initial item, from memory, the store, schedulers of the mesh or Arweave. Its ID is the digest of its
// signature, so it does not matter who gave it.
func (d *Directory) Process(ctx context.Context, id ao.ID) (ao.Process, error) {
	d.lock.Lock()
	p, ok := d.processes[id]
	own := d.own
	d.lock.Unlock()
	if ok {
		return p, nil
	}
	if raw, err := d.store.Get(keyProcess + id.String()); err == nil {
		if p, err := parseProcess(raw, id); err == nil {
			d.remember(p)
			return p, nil
		}
	}
	raw, err := d.fetchProcess(ctx, id, own)
	if err != nil {
		return ao.Process{}, err
	}
	return d.keep(raw, id)
}

// keep stores a process for good.
func (d *Directory) keep(raw []byte, id ao.ID) (ao.Process, error) {
	p, err := parseProcess(raw, id)
	if err != nil {
		return ao.Process{}, Refusal("schedule", err)
	}
	var b store.Batch
	b.Put(keyProcess+id.String(), raw)
	if err := d.store.Commit(&b); err != nil {
		return ao.Process{}, Refusal("schedule", err)
	}
	d.remember(p)
	return p, nil
}

func parseProcess(raw []byte, id ao.ID) (ao.Process, error) {
	m, err := ao.ParseMessage(raw)
	if err != nil {
		return ao.Process{}, err
	}
	if m.ID() != id {
		return ao.Process{}, ao.ErrMismatch
	}
	return m.Process()
}

func (d *Directory) remember(p ao.Process) {
	d.lock.Lock()
	defer d.lock.Unlock()
	if len(d.processes) >= maxRemembered {
		clear(d.processes)
	}
	d.processes[p.ID()] = p
}

// fetchProcess asks, in this order, our own log, the scheduler elsewhere that is asked for all, the mesh's schedulers and
// Arweave.
func (d *Directory) fetchProcess(ctx context.Context, id ao.ID, own Doors) ([]byte, error) {
	if own.Log != nil {
		if es, err := own.Log.Range(ctx, id, 0, 1); err == nil && len(es) == 1 {
			return es[0].Message.Raw(), nil
		}
	}
	if u, ok := d.outside().forAll(); ok {
		if it, err := u.process(ctx, id); err == nil {
			return it.Raw(), nil
		}
	}
	all := true
	if d.mesh != nil {
		var raw []byte
		if raw, all = d.askLogs(ctx, id, d.schedulers()); raw != nil {
			return raw, nil
		}
	}
	it, err := d.archive.Get(ctx, id)
	if err == nil {
		return it.Raw(), nil
	}
	if !errors.Is(err, arweave.ErrNotFound) {
		return nil, Refusal("schedule", err)
	}
	if !all { // a young process is not on Arweave yet, and the one that does not answer may be its scheduler
		return nil, ao.Refuse("schedule", ao.Unreachable, "%s is not on Arweave, and not every scheduler could be asked for it", id)
	}
	return nil, ao.Refuse("schedule", ao.UnknownProcess, "%s", id)
}

// schedulers is whom to ask for a process: of very many a random part, so that addresses ground to sort first gain nothing.
func (d *Directory) schedulers() []peer.ID {
	var peers []peer.ID
	for _, u := range d.mesh.Roster.With(RoleScheduler) {
		if u.Address != d.address {
			peers = append(peers, u.Peer)
		}
	}
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	return peers[:min(len(peers), maxAsk)]
}

// askLogs takes slot 0 from the first peer that has it; all says whether every one of them was heard. A peer that cannot be
// reached is asked for as long as it is announced, so whoever announces what is not there delays no more than that.
func (d *Directory) askLogs(ctx context.Context, id ao.ID, peers []peer.ID) (raw []byte, all bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		raw   []byte
		heard bool
	}
	answers := make(chan answer, len(peers))
	turns := make(chan struct{}, askAtOnce)
	for _, p := range peers {
		go func() {
			select {
			case turns <- struct{}{}:
				defer func() { <-turns }()
			case <-ctx.Done():
				answers <- answer{}
				return
			}
			es, err := Log(d.node, p).Range(ctx, id, 0, 1)
			switch {
			case err != nil:
				answers <- answer{heard: Refusal(verbLog, err).Code != ao.Unreachable}
			case len(es) != 1 || es[0].Message.ID() != id:
				answers <- answer{heard: true}
			default:
				answers <- answer{raw: es[0].Message.Raw()}
			}
		}()
	}
	all = true
	for range peers {
		a := <-answers
		if a.raw != nil {
			return a.raw, true
		}
		all = all && a.heard
	}
	return nil, all
}

// Module is a published module, kept as a file once it has been fetched.
func (d *Directory) Module(ctx context.Context, id ao.ID) (ao.Module, error) {
	d.lock.Lock()
	m, ok := d.modules[id]
	d.lock.Unlock()
	if ok {
		return m, nil
	}
	name := "modules/" + hex.EncodeToString(id[:])
	m, err := d.storedModule(name, id)
	if err != nil {
		it, err := d.archive.Get(ctx, id)
		if errors.Is(err, arweave.ErrNotFound) {
			return ao.Module{}, ao.Refuse("compute", ao.UnknownModule, "%s", id)
		}
		if err != nil {
			return ao.Module{}, Refusal("compute", err)
		}
		if m, err = ao.NewModule(it); err != nil {
			return ao.Module{}, ao.Refuse("compute", ao.BadModule, "%s: %v", id, err)
		}
		if err := d.store.PutFile(name, bytes.NewReader(it.Raw())); err != nil {
			return ao.Module{}, Refusal("compute", err)
		}
	}
	d.lock.Lock()
	defer d.lock.Unlock()
	if len(d.modules) >= maxModules {
		clear(d.modules)
	}
	d.modules[id] = m
	return m, nil
}

func (d *Directory) storedModule(name string, id ao.ID) (ao.Module, error) {
	f, err := d.store.OpenFile(name)
	if err != nil {
		return ao.Module{}, err
	}
	defer f.Close()
	raw, err := io.ReadAll(f)
	if err != nil {
		return ao.Module{}, err
	}
	it, err := ans104.Parse(raw)
	if err != nil {
		return ao.Module{}, err
	}
	if it.ID() != id {
		return ao.Module{}, ao.ErrMismatch
	}
	return ao.NewModule(it)
}

// Scheduler is our own, or the client of the peer whose key has that address, or of the unit elsewhere that says that it is
// its own.
func (d *Directory) Scheduler(ctx context.Context, address string) (units.Scheduler, error) {
	if s := d.doors().Scheduler; s != nil && address == d.address {
		return s, nil
	}
	if e := d.outside(); e.Knows(address) {
		return d.abroad(ctx, e, address)
	}
	id, err := d.locate(ctx, address)
	if err != nil {
		if e := d.outside(); e != nil {
			return d.abroad(ctx, e, address)
		}
		return nil, err
	}
	if unit, err := ao.ParseID(address); err == nil {
		if m := d.place(); m != nil {
			return m.Scheduler(unit, id), nil
		}
	}
	return Scheduler(d.node, id), nil
}

// Log is our own if we schedule the process, else that of its scheduler, on the mesh or elsewhere, else what Arweave has of
// it. Where the scheduler is known and cannot be reached, each call asks Arweave instead.
func (d *Directory) Log(ctx context.Context, process ao.ID) (units.Log, error) {
	host, err := d.HostAt(ctx, process, 0)
	if err != nil {
		return nil, err
	}
	if l := d.doors().Log; l != nil && slices.Contains(host.Keys, d.address) {
		return l, nil
	}
	e := d.outside()
	for _, address := range host.Keys {
		if e.Knows(address) {
			continue
		}
		if id, err := d.locate(ctx, address); err == nil {
			return liveLog{logClient{client{node: d.node, to: id}}, d.settled}, nil
		}
	}
	for _, address := range host.Keys {
		if e == nil {
			break
		}
		if u, err := e.unit(ctx, address); err == nil {
			return awayLog{u, d.settled}, nil
		}
	}
	return d.settled, nil
}

// outside is the schedulers elsewhere, nil for none.
func (d *Directory) outside() *Elsewhere {
	d.lock.Lock()
	defer d.lock.Unlock()
	return d.elsewhere
}

// abroad is the scheduler elsewhere of that address. Processes that it takes are remembered, for they are not on Arweave yet.
func (d *Directory) abroad(ctx context.Context, e *Elsewhere, address string) (units.Scheduler, error) {
	u, err := e.unit(ctx, address)
	if err != nil {
		return nil, err
	}
	return awayScheduler{u, d}, nil
}

// Computer is our own, or whom the market gives the process to. While nobody offers anything it is one of the mesh's.
func (d *Directory) Computer(_ context.Context, process ao.ID) (units.Computer, error) {
	if c := d.doors().Computer; c != nil {
		return c, nil
	}
	announced, err := d.announced(process)
	if m := d.place(); m != nil && (err != nil || m.offering(market.Computer) > 0) {
		return m.Computer(d.format(process), announced), nil
	}
	return announced, err
}

// format is the Module-Format of a process, as far as it is known without asking anybody.
func (d *Directory) format(process ao.ID) string {
	d.lock.Lock()
	defer d.lock.Unlock()
	p, ok := d.processes[process]
	if !ok {
		return ""
	}
	if m, ok := d.modules[p.Module()]; ok {
		return m.Format()
	}
	return ""
}

// announced is computers that announce themselves, whatever they may ask. A process stays with the one that it was first
// given to, the one with the fewest, so that it is hot in one place; the next takes over when that one does not answer.
func (d *Directory) announced(process ao.ID) (units.Computer, error) {
	var us []Unit
	if d.mesh != nil {
		us = d.mesh.Roster.With(RoleComputer)
	}
	if len(us) == 0 {
		return nil, ao.Refuse("compute", ao.UnknownUnit, "no computing unit is known")
	}
	d.rank(process, us)
	f := &failover{}
	for _, u := range us[:min(3, len(us))] {
		f.doors = append(f.doors, Computer(d.node, d.network, u.Peer))
	}
	return f, nil
}

// rank puts the computer that has the process first, the others by how few they have and then in an order of the
// process's own, which is the same at every peer. A computer keeps its processes while its announcement lasts, answering
// or not; then they go to others.
func (d *Directory) rank(process ao.ID, us []Unit) {
	d.lock.Lock()
	defer d.lock.Unlock()
	own := d.chosen[process]
	order := func(u Unit) [32]byte { return sha256.Sum256(append(process[:], u.Address...)) }
	slices.SortFunc(us, func(a, b Unit) int {
		if (a.Address == own) != (b.Address == own) {
			if a.Address == own {
				return -1
			}
			return 1
		}
		x, y := order(a), order(b)
		return cmp.Or(cmp.Compare(d.given[a.Address], d.given[b.Address]), bytes.Compare(x[:], y[:]))
	})
	if us[0].Address == own {
		return
	}
	if d.given[own]--; d.given[own] <= 0 {
		delete(d.given, own)
	}
	if len(d.chosen) >= maxRemembered {
		clear(d.chosen)
		clear(d.given)
	}
	d.chosen[process] = us[0].Address
	d.given[us[0].Address]++
}

// Messenger is whom the market gives messages to; while nobody offers anything one of the mesh's, which is then named.
func (d *Directory) Messenger() (units.Messenger, Unit, error) {
	m := d.place()
	if m == nil || m.offering(market.Messenger) == 0 {
		return d.announcedMessenger()
	}
	return m.Messenger(d, func() (units.Messenger, error) {
		door, _, err := d.announcedMessenger()
		return door, err
	}), Unit{}, nil
}

func (d *Directory) announcedMessenger() (units.Messenger, Unit, error) {
	if d.mesh != nil {
		if us := d.mesh.Roster.With(RoleMessenger); len(us) > 0 {
			return Messenger(d.node, us[0].Peer), us[0], nil
		}
	}
	return nil, Unit{}, ao.Refuse("push", ao.UnknownUnit, "no messenger is known")
}

func (d *Directory) doors() Doors {
	d.lock.Lock()
	defer d.lock.Unlock()
	return d.own
}

func (d *Directory) locate(ctx context.Context, address string) (peer.ID, error) {
	if d.mesh != nil {
		if id, ok := d.mesh.locate(ctx, address); ok {
			return id, nil
		}
	}
	return "", ao.Refuse("schedule", ao.UnknownUnit, "%s", address)
}
