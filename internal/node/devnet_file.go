package node

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/units/remote"
)

// DevnetFile is devnet.json: where everything is, for clients and tests.
type DevnetFile struct {
	Gateway   string       `json:"gateway"`
	MU        string       `json:"mu"` // where the first messenger, scheduler and computer answer over HTTP
	SU        string       `json:"su"`
	CU        string       `json:"cu"`
	Wallet    string       `json:"wallet"`
	Module    string       `json:"module"`
	Scheduler string       `json:"scheduler"`
	Authority string       `json:"authority"`
	Network   string       `json:"network"` // the signed network file
	Peers     []DevnetPeer `json:"peers"`
}

// DevnetPeer is one unit of a devnet.
type DevnetPeer struct {
	Name    string   `json:"name"`
	Role    string   `json:"role"`
	ID      string   `json:"id"`
	Address string   `json:"address"`
	Addrs   []string `json:"addrs"`
}

// note takes down where a peer answers over HTTP.
func (f *DevnetFile) note(p PeerFile) {
	for role, url := range p.HTTP {
		switch role {
		case remote.RoleMessenger:
			f.MU = url
		case remote.RoleScheduler:
			f.SU = url
		case remote.RoleComputer:
			f.CU = url
		}
	}
}

// LoadDevnet reads devnet.json of a running devnet.
func (h Home) LoadDevnet() (DevnetFile, error) {
	var f DevnetFile
	raw, err := readBounded(h.devnet(), 1<<20)
	if err != nil {
		return f, err
	}
	return f, unmarshalFile(h.devnet(), raw, &f)
}

// serveHTTP has the first unit of each role answer over HTTP, where users of a local ao expect it.
func (d *Devnet) serveHTTP(h *HTTPConfig, role string) {
	at := func(above int) string {
		if d.cfg.PortBase == 0 {
			above = 0
		}
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(d.cfg.PortBase+above))
	}
	h.everyLog = true
	switch role {
	case remote.RoleMessenger:
		h.MU = at(PortMU)
	case remote.RoleScheduler:
		h.SU = at(PortSU)
	case remote.RoleComputer:
		h.CU = at(PortCU)
	}
}

// The ports of a devnet above its base.
const (
	PortMU    = 2 // HTTP of the first messenger
	PortSU    = 3 // of the first scheduler
	PortCU    = 4 // of the first computer
	PortPeers = 10
)

// devnetLocation is how long clients may remember where the scheduler is.
const devnetLocation = time.Hour

// publishLocation says on Arweave where the first scheduler answers over HTTP, for clients that know nothing but a process.
func (d *Devnet) publishLocation(ctx context.Context, n *Node) error {
	at, err := url.Parse(d.file.SU)
	if err != nil {
		return fmt.Errorf("publish where the scheduler is: %w", err)
	}
	it, err := remote.SignLocation(ans104.NewEd25519Signer(n.key), at, devnetLocation, time.Now())
	if err == nil {
		err = d.ground.Put(ctx, it)
	}
	if err != nil {
		return fmt.Errorf("publish where the scheduler is: %w", err)
	}
	return nil
}
