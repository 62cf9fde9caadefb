package node

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aopeer/aopeer/internal/gateway"
)

// openHTTP has the peer's roles answer clients over HTTP where the config says.
func (n *Node) openHTTP() error {
	doors := n.cfg.HTTP.doors(n.cfg.Roles)
	if len(doors) == 0 {
		return nil
	}
	c := gateway.Config{
		Doors: doors, Address: Address(n.key), Directory: n.finder(), Height: n.height, NotReady: n.notReady,
		Status: func() (any, error) { return n.public(), nil }, Logger: n.log,
		Limits: gateway.Limits{
			Requests: n.cfg.HTTP.Requests, Conns: n.cfg.HTTP.Conns, Rate: n.cfg.HTTP.Rate, Burst: n.cfg.HTTP.Burst,
			DryRate: n.cfg.HTTP.DryRate, DryBurst: n.cfg.HTTP.DryBurst, DryRuns: n.cfg.HTTP.DryRuns,
			BodyTime: time.Duration(n.cfg.HTTP.BodyTime), AnswerTime: time.Duration(n.cfg.HTTP.Patience),
		},
	}
	if n.scheduler != nil {
		c.Scheduler = schedulerDoor{n.scheduler, n.doors, true}
		if !n.cfg.HTTP.everyLog {
			c.Log = n.scheduler
		}
	}
	if n.computer != nil {
		c.Computer, c.States = computerDoor{n.computer, n.doors, true}, statesDoor{n.computer, n.doors}
		c.Standing, c.Save = n.computer.Standing, n.computer.Save
	}
	if n.messenger != nil {
		c.Messenger = messengerDoor{n.messenger, n.doors}
	}
	g, err := gateway.New(c)
	if err != nil {
		return err
	}
	n.http = g
	n.runs = append(n.runs, run{"http", g.Run})
	return nil
}

// defaultHTTP serves nothing, within the gateway's own bounds.
func defaultHTTP() HTTPConfig {
	l := gateway.DefaultLimits()
	return HTTPConfig{
		Patience: Duration(l.AnswerTime), Rate: l.Rate, Burst: l.Burst, DryRate: l.DryRate, DryBurst: l.DryBurst, DryRuns: l.DryRuns,
		Requests: l.Requests, Conns: l.Conns, BodyTime: Duration(l.BodyTime),
	}
}

// doors are the addresses of a peer with those roles.
func (h HTTPConfig) doors(roles []string) (out []gateway.Door) {
	if h.Listen != "" {
		d := gateway.Door{Listen: h.Listen}
		for _, s := range gateway.Surfaces() {
			if h.listen(s) == "" && contains(roles, string(s)) {
				d.Surfaces = append(d.Surfaces, s)
			}
		}
		if len(d.Surfaces) > 0 {
			out = append(out, d)
		}
	}
	for _, s := range gateway.Surfaces() {
		if at := h.listen(s); at != "" {
			out = append(out, gateway.Door{Listen: at, Surfaces: []gateway.Surface{s}})
		}
	}
	if h.HyperBEAM != "" {
		for i, d := range out {
			if slices.Contains(d.Surfaces, gateway.Computer) {
				out[i].Surfaces = append(d.Surfaces, gateway.HyperBEAM)
			}
		}
	}
	return out
}

// listen is the surface's own address, "" for none.
func (h HTTPConfig) listen(s gateway.Surface) string {
	switch s {
	case gateway.Messenger:
		return h.MU
	case gateway.Scheduler:
		return h.SU
	case gateway.Computer:
		return h.CU
	}
	return ""
}

// validate wants addresses, and roles to serve there.
func (h HTTPConfig) validate(roles []string) error {
	for key, at := range map[string]string{"http.listen": h.Listen, "http.mu": h.MU, "http.su": h.SU, "http.cu": h.CU} {
		if at == "" {
			continue
		}
		if err := gateway.CheckListen(at); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	for _, s := range gateway.Surfaces() {
		if h.listen(s) != "" && !contains(roles, string(s)) {
			return fmt.Errorf("http.%s is set, and the peer does not have the role %s", s, s)
		}
	}
	if h.Listen != "" && len(roles) == 0 {
		return errors.New("http.listen is set, and the peer has no role that it could serve there")
	}
	return errors.Join(h.checkURL(roles), h.checkHyperBEAM(roles))
}

func contains(roles []string, role string) bool { return Config{Roles: roles}.Does(role) }

// height is the newest block height that the peer has heard of.
func (n *Node) height() (uint64, bool) {
	s := n.scheduler.Status()
	return s.Height, s.HeightKnown
}

// publicStatus is what anybody may know of the peer.
type publicStatus struct {
	Version string   `json:"version"`
	Network string   `json:"network"`
	Address string   `json:"address"`
	Peer    string   `json:"peer"`
	Name    string   `json:"name"`
	Roles   []string `json:"roles"`
	Ready   bool     `json:"ready"`
	Peers   int      `json:"peers"`
	SU      any      `json:"su,omitempty"`
	CU      any      `json:"cu,omitempty"`
	MU      any      `json:"mu,omitempty"`
}

// public asks every part that can say without asking others.
func (n *Node) public() publicStatus {
	s := publicStatus{
		Version: Version(), Network: n.network.ID, Address: Address(n.key), Peer: n.p2p.ID().String(), Name: n.cfg.Name,
		Roles: n.cfg.Roles, Ready: n.notReady() == "", Peers: len(n.p2p.Peers()),
	}
	if n.scheduler != nil {
		s.SU = n.scheduler.Status()
	}
	if n.computer != nil {
		s.CU = n.computer.Status()
	}
	if n.messenger != nil {
		s.MU = n.messenger.Status()
	}
	return s
}

// urls are where the peer's roles answer over HTTP, once they do.
func (n *Node) urls() map[string]string {
	if n.http == nil {
		return nil
	}
	out := map[string]string{}
	for s, u := range n.http.URLs() {
		out[string(s)] = u
	}
	return out
}
