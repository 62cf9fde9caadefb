package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/internal/store"
)

// Level says how bad a finding is.
type Level string

// The levels of findings.
const (
	LevelOK   Level = "ok"
	LevelWarn Level = "warn"
	LevelFail Level = "fail"
)

// Finding is one thing that a Doctor looked at.
type Finding struct {
	Check string `json:"check"`        // config, key, wallet, disk, gateway, clock, runway, instance, port, mesh, reach or push
	Level Level  `json:"level"`        //
	Found string `json:"found"`        // what was found
	Do    string `json:"do,omitempty"` // what to do about it
}

// Doctor examines a home, the machine it is on, and the peer or devnet that may run in it.
type Doctor struct {
	Home   Home
	Config Config
	Log    *slog.Logger
	NoPush bool // do not push a message, which costs a real network some bytes

	Clock func() time.Time                 // time.Now
	Free  func(dir string) (uint64, error) // bytes free where a folder is

	findings []Finding
	network  Network
	devnet   *DevnetFile     // if the home is a devnet's that runs
	running  *PeerFile       // if the home's peer runs
	client   *arweave.Client // nil without gateways
	keys     bool            // are there and can be read, the wallet too if there is one
	probes   []arweave.Probe
	clocks   []reading
}

// What is still fine, and what is not.
const (
	diskFail   = 256 << 20
	diskWarn   = 2 << 30
	clockWarn  = 5 * time.Second
	clockFail  = 30 * time.Second
	runwayFail = 1 << 20
	runwayWarn = 100 << 20
	// examination bounds each check that asks somebody.
	examination = 20 * time.Second
)

// Examine looks at everything, each check once, in the order in which faults hide one another.
func (d *Doctor) Examine(ctx context.Context) []Finding {
	if d.Clock == nil {
		d.Clock = time.Now
	}
	if d.Free == nil {
		d.Free = diskFree
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	d.findings = nil
	if !d.checkHome() {
		return d.findings
	}
	d.checkKeys()
	d.checkInstance()
	d.checkDisk()
	d.checkGateways(ctx)
	d.checkWallet(ctx)
	d.checkPorts(ctx)
	d.checkMesh(ctx)
	d.checkClock()
	return d.findings
}

func (d *Doctor) note(level Level, check, found, do string) {
	d.findings = append(d.findings, Finding{Check: check, Level: level, Found: found, Do: do})
}

func (d *Doctor) ok(check, format string, args ...any) {
	d.note(LevelOK, check, fmt.Sprintf(format, args...), "")
}

// checkHome says whether there is anything to examine.
func (d *Doctor) checkHome() bool {
	var err error
	if d.network, err = d.Home.Network(); err != nil {
		d.note(LevelFail, "config", err.Error(), "make the home with `aopeer init`, or start `aopeer devnet`; --home names another one")
		return false
	}
	if err := d.Config.Validate(); err != nil {
		d.note(LevelFail, "config", err.Error(), "correct it: `aopeer config` shows where each value comes from")
		return false
	}
	what := "a peer"
	if d.isDevnet() {
		what = "a devnet"
	} else if len(d.Config.Roles) > 0 {
		what = "a peer with the role " + strings.Join(d.Config.Roles, ", ")
	}
	d.ok("config", "%s is the home of %s of network %s", d.Home, what, d.network.ID)
	return true
}

// isDevnet says whether the home is that of a whole devnet.
func (d *Doctor) isDevnet() bool {
	_, err := os.Stat(filepath.Join(string(d.Home), "arweave"))
	return err == nil
}

// homes are the home itself or, of a devnet, those of its peers.
func (d *Doctor) homes() []Home {
	if !d.isDevnet() {
		return []Home{d.Home}
	}
	all, err := filepath.Glob(filepath.Join(string(d.Home), "peers", "*"))
	if err != nil {
		return nil // the pattern is well formed
	}
	var out []Home
	for _, dir := range all {
		out = append(out, Home(dir))
	}
	return out
}

// checkKeys wants every unit key there, whole and private.
func (d *Doctor) checkKeys() {
	d.keys = true
	bad := func(found, do string) {
		d.keys = false
		d.note(LevelFail, "key", found, do)
	}
	count := 0
	for _, h := range d.homes() {
		info, err := os.Stat(h.key())
		switch {
		case errors.Is(err, fs.ErrNotExist):
			bad("there is no unit key: "+h.key()+" is missing",
				"put the backup back; without one, `aopeer init` makes another key, which is another peer")
			continue
		case err != nil:
			bad(err.Error(), "make it readable for whoever runs the peer")
			continue
		case info.Mode().Perm()&0o077 != 0:
			bad(fmt.Sprintf("others on this machine can read the unit key: %s has mode %04o", h.key(), info.Mode().Perm()),
				"run `chmod 600 "+h.key()+"`, and ask yourself who may have copied it")
			continue
		}
		if _, err := h.LoadKey(); err != nil {
			bad(err.Error(), "put the backup back")
			continue
		}
		count++
	}
	if d.keys {
		d.ok("key", "%s there, whole, and private (0600)", plural(count, "unit key is", "unit keys are"))
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// checkInstance finds out what runs in the home, and whether it is what it should be.
func (d *Doctor) checkInstance() {
	lock := d.Home.store()
	if d.isDevnet() {
		lock = filepath.Join(string(d.Home), "arweave")
	}
	pid, open, err := store.Owner(lock)
	if err != nil {
		d.note(LevelWarn, "instance", err.Error(), "")
		return
	}
	if p, err := d.Home.LoadPeer(); err == nil && open && p.PID == pid {
		d.running = &p
	}
	if f, err := d.Home.LoadDevnet(); err == nil && open {
		d.devnet = &f
	}
	switch {
	case !open:
		d.ok("instance", "nothing runs in this home")
	case d.running != nil || d.devnet != nil:
		d.ok("instance", "process %d runs in this home", pid)
	default:
		d.note(LevelFail, "instance", fmt.Sprintf("process %d has the store %s open and is no peer that is ready: a second instance is refused", pid, lock),
			fmt.Sprintf("see what it is (`ps -p %d`): wait if it is starting or stopping, else stop it, or use another --home", pid))
	}
}

// checkDisk looks for room where the home is.
func (d *Doctor) checkDisk() {
	free, err := d.Free(string(d.Home))
	switch {
	case err != nil:
		d.note(LevelWarn, "disk", err.Error(), "")
	case free < diskFail:
		d.note(LevelFail, "disk", fmt.Sprintf("%d MiB are free at %s: the store refuses new data when the disk is full", free>>20, d.Home),
			"make room or move the home; `aopeer store du` says what takes how much")
	case free < diskWarn:
		d.note(LevelWarn, "disk", fmt.Sprintf("%d MiB are free at %s", free>>20, d.Home), "make room before the disk is full")
	default:
		d.ok("disk", "%.1f GiB are free", float64(free)/(1<<30))
	}
}

// checkGateways asks each gateway for its height.
func (d *Doctor) checkGateways(ctx context.Context) {
	gateways := d.Config.Gateways
	if len(gateways) == 0 {
		gateways = d.network.Gateways
	}
	var err error
	if d.client, err = arweave.NewClient(arweave.ClientConfig{Gateways: gateways, Timeout: examination / 2, Tries: 1}); err != nil {
		d.note(LevelFail, "gateway", err.Error(), "give --gateway URL, or gateways in config.toml")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, examination)
	defer cancel()
	d.probes = d.client.Probe(ctx)
	var up, down []string
	lowest, highest := ^uint64(0), uint64(0)
	for _, p := range d.probes {
		if p.Err != nil {
			down = append(down, fmt.Sprintf("%s (%v)", p.URL, rootOf(p.Err)))
			continue
		}
		up = append(up, fmt.Sprintf("%s at height %d in %d ms", p.URL, p.Height, p.Took.Milliseconds()))
		lowest, highest = min(lowest, p.Height), max(highest, p.Height)
		if !p.Clock.IsZero() {
			// The header has no parts of seconds: on average half of one has passed.
			d.clocks = append(d.clocks, reading{"gateway " + p.URL, p.Clock.Add(500 * time.Millisecond).Sub(d.Clock().Add(-time.Since(p.Asked)))})
		}
	}
	switch {
	case len(up) == 0:
		d.note(LevelFail, "gateway", "no gateway answers: "+strings.Join(down, ", "),
			"check the network and the URLs; is the devnet running? Without a gateway nothing settles and nobody can spawn")
	case len(down) > 0:
		d.note(LevelWarn, "gateway", "does not answer: "+strings.Join(down, ", ")+"; answers: "+strings.Join(up, ", "), "take it out, or see what is wrong with it")
	case highest-lowest > 20:
		d.note(LevelWarn, "gateway", "the gateways are at different heights: "+strings.Join(up, ", "), "take out those that lag or lie")
	default:
		d.ok("gateway", "%s", strings.Join(up, ", "))
	}
}

// rootOf is the innermost error that says something by itself, which reads best in a list.
func rootOf(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil || len(next.Error()) < 12 {
			return err
		}
		err = next
	}
}

// checkWallet wants a wallet that is private and can pay.
func (d *Doctor) checkWallet(ctx context.Context) {
	if len(d.Config.Roles) == 0 && !d.isDevnet() {
		d.ok("wallet", "none is needed: a peer without a role settles nothing")
		return
	}
	path := d.Home.wallet(d.Config)
	w, err := arweave.LoadWallet(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.note(LevelFail, "wallet", "there is no Arweave wallet: "+path+" is missing", "put the backup back, give --wallet FILE, or let `aopeer init` make one and send it AR")
		return
	case err != nil:
		d.keys = false
		d.note(LevelFail, "wallet", err.Error(), "a wallet is a JWK file of mode 0600; run `chmod 600 "+path+"` if others can read it")
		return
	case d.client == nil || !d.gatewayUp():
		d.note(LevelWarn, "runway", "the balance of "+w.Address()+" is not known: no gateway answers", "see gateway")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, examination)
	defer cancel()
	p, err := askPurse(ctx, d.client, w.Address())
	switch {
	case err != nil:
		d.note(LevelWarn, "runway", fmt.Sprintf("the balance of %s is not known: %v", w.Address(), err), "try again; a gateway without prices is of no use to a peer with a role")
	case p.PerMiB.Sign() == 0:
		d.ok("runway", "settling costs nothing here")
	case p.Bytes < runwayFail:
		d.note(LevelFail, "runway", fmt.Sprintf("the wallet %s is empty: it holds %s winston, and 1 MiB costs %s", w.Address(), p.Winston, p.PerMiB),
			"send AR to "+w.Address()+"; until then new messages are refused as unfunded")
	case p.Bytes < runwayWarn:
		d.note(LevelWarn, "runway", fmt.Sprintf("the wallet %s settles %.0f MiB more", w.Address(), p.Bytes/(1<<20)), "send AR to "+w.Address()+" soon")
	default:
		d.ok("runway", "the wallet %s settles %s more", w.Address(), roughly(p.Bytes))
	}
}

func (d *Doctor) gatewayUp() bool {
	for _, p := range d.probes {
		if p.Err == nil {
			return true
		}
	}
	return false
}

// roughly is an amount of bytes for a person.
func roughly(bytes float64) string {
	for _, u := range []struct {
		name string
		size float64
	}{{"PiB", 1 << 50}, {"TiB", 1 << 40}, {"GiB", 1 << 30}} {
		if bytes >= u.size {
			if bytes/u.size > 1e6 {
				return "more than a million " + u.name
			}
			return fmt.Sprintf("%.0f %s", bytes/u.size, u.name)
		}
	}
	return fmt.Sprintf("%.0f MiB", bytes/(1<<20))
}
