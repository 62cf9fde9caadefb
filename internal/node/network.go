package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/p2p"
)

// ErrNetwork says that bytes are no signed network file.
var ErrNetwork = errors.New("not a signed network file")

const (
	typeNetwork = "Network"
	// arweaveBlocks is the time between two blocks of Arweave itself.
	arweaveBlocks = 2 * time.Minute
	maxNetwork    = 64 << 10
)

// Network is what a peer must know to join: one signed file, the same for all. It is an ANS-104 item whose data is
// this as JSON.
type Network struct {
	ID        string   `json:"id"`        // in every protocol ID, topic and claim
	Bootstrap []string `json:"bootstrap"` // full multiaddrs of peers to meet the mesh through
	Gateways  []string `json:"gateways"`  // URLs of Arweave gateways
	BlockTime Duration `json:"blockTime"` // between two blocks of that Arweave; 0s is two minutes
	Genesis   Genesis  `json:"genesis"`

	raw   []byte
	owner string
}

// Genesis is what holds for the network from its beginning.
type Genesis struct {
	Module    string `json:"module,omitempty"`    // default module of new processes
	Scheduler string `json:"scheduler,omitempty"` // default scheduler's address
	Authority string `json:"authority,omitempty"` // default messenger's address
}

// SignNetwork makes the file.
func SignNetwork(s ans104.Signer, n Network) (Network, error) {
	if err := p2p.CheckNetwork(n.ID); err != nil {
		return Network{}, fmt.Errorf("network ID: %w", err)
	}
	data, err := json.Marshal(n)
	if err != nil {
		return Network{}, fmt.Errorf("sign network file: %w", err)
	}
	it, err := ans104.Sign(s, ans104.Fields{Data: data, Tags: []ans104.Tag{
		{Name: "Data-Protocol", Value: ao.DataProtocol},
		{Name: "Type", Value: typeNetwork},
		{Name: "Network", Value: n.ID},
		{Name: "Content-Type", Value: "application/json"},
	}})
	if err != nil {
		return Network{}, fmt.Errorf("sign network file: %w", err)
	}
	return ParseNetwork(it.Raw())
}

// ParseNetwork parses and verifies the file. Errors: ErrNetwork, those of ans104.
func ParseNetwork(raw []byte) (Network, error) {
	if len(raw) > maxNetwork {
		return Network{}, fmt.Errorf("%w: %d bytes", ErrNetwork, len(raw))
	}
	it, err := ans104.Parse(raw)
	if err != nil {
		return Network{}, fmt.Errorf("%w: %w", ErrNetwork, err)
	}
	if err := it.Verify(); err != nil {
		return Network{}, fmt.Errorf("%w: %w", ErrNetwork, err)
	}
	n := Network{raw: raw, owner: it.OwnerAddress()}
	tags := ao.Tags(it.Tags())
	if err := json.Unmarshal(it.Data(), &n); err != nil {
		return Network{}, fmt.Errorf("%w: %w", ErrNetwork, err)
	}
	if tags.Get("Type") != typeNetwork || tags.Get("Network") != n.ID || p2p.CheckNetwork(n.ID) != nil {
		return Network{}, fmt.Errorf("%w: tags and content differ", ErrNetwork)
	}
	if err := p2p.CheckPeers(n.Bootstrap); err != nil {
		return Network{}, fmt.Errorf("%w: bootstrap: %w", ErrNetwork, err)
	}
	return n, nil
}

// blockTime is by which the heights of gateways are judged.
func (n Network) blockTime() time.Duration {
	if n.BlockTime == 0 {
		return arweaveBlocks
	}
	return time.Duration(n.BlockTime)
}

// LoadNetwork reads the file at path.
func LoadNetwork(path string) (Network, error) {
	raw, err := readBounded(path, maxNetwork)
	if err != nil {
		return Network{}, fmt.Errorf("read network file: %w", err)
	}
	n, err := ParseNetwork(raw)
	if err != nil {
		return Network{}, fmt.Errorf("read network file %s: %w", path, err)
	}
	return n, nil
}

// Raw is the signed file.
func (n Network) Raw() []byte { return n.raw }

// Owner is the address that signed it.
func (n Network) Owner() string { return n.owner }

func readBounded(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s has %d bytes, at most %d expected", path, info.Size(), most)
	}
	return os.ReadFile(path)
}
