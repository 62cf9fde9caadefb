package node

import (
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/remote"
)

// toldNetwork is the network that a computer beside a HyperBEAM node would name if it signed anything.
const toldNetwork = "hyperbeam"

// keyTold marks a store with results that rest on a HyperBEAM node's word; keysComputed begin those of any computer.
const (
	keyTold      = "node/told"
	keysComputed = "cu/"
)

// checkHyperBEAM wants the node on this machine, or whoever is between could write into its processes' logs, and a computer.
func (h HTTPConfig) checkHyperBEAM(roles []string) error {
	if h.HyperBEAM == "" {
		return nil
	}
	u, err := url.Parse(h.HyperBEAM)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("http.hyperbeam: %q is not a URL such as http://localhost:8734", h.HyperBEAM)
	}
	switch {
	case !slices.Equal(roles, []string{remote.RoleComputer}):
		return errors.New("http.hyperbeam is set, and the peer is not a computer alone: it needs the role cu and no other")
	case h.Listen == "" && h.CU == "":
		return errors.New("http.hyperbeam is set, and the node cannot ask the peer: http.listen has to say where, such as 127.0.0.1:6363")
	}
	return nil
}

// openHyperBEAM has the peer's logs told by a HyperBEAM node, if it is to be that node's computer.
func (n *Node) openHyperBEAM(st store.Store) error {
	_, err := st.Get(keyTold)
	isTold := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("look whose word is in the store: %w", err)
	}
	if n.cfg.HTTP.HyperBEAM == "" {
		if isTold {
			return fmt.Errorf("%s holds what a HyperBEAM node told, which nobody may sign for: give --hyperbeam again, or another --home", n.home)
		}
		return nil
	}
	if !isTold {
		computed, err := st.Scan(keysComputed, "", 1)
		if err != nil {
			return fmt.Errorf("look whose word is in the store: %w", err)
		}
		if len(computed) > 0 {
			return fmt.Errorf("%s holds results of logs that were verified: what a HyperBEAM node tells needs a --home of its own", n.home)
		}
		var b store.Batch
		b.Put(keyTold, []byte{1})
		if err := st.Commit(&b); err != nil {
			return fmt.Errorf("mark store: %w", err)
		}
	}
	h, err := remote.NewHyperBEAM(n.cfg.HTTP.HyperBEAM, n.archive)
	if err != nil {
		return fmt.Errorf("http.hyperbeam: %w", err)
	}
	n.told = n.directory.Told(h)
	return nil
}

// finder is where the computer and its callers find processes and their logs.
func (n *Node) finder() units.Directory {
	if n.told != nil {
		return n.told
	}
	return n.directory
}
