package node

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/units/remote"
)

// aloneNetwork is the network that claims of a computer name which has joined none.
const aloneNetwork = "today"

// Alone says whether the peer is to be a computer by itself, of a home that has joined no network: it needs no more than a
// gateway, serves over HTTP, and meets no other peer.
func (h Home) Alone(c Config) bool {
	_, err := os.Stat(h.network())
	return errors.Is(err, fs.ErrNotExist) && slices.Equal(c.Roles, []string{remote.RoleComputer}) && len(c.Gateways) > 0 && len(c.Bootstrap) == 0
}

// join reads the home's network file. A computer by itself has none.
func (n *Node) join(h Home) (err error) {
	if h.Alone(n.cfg) {
		n.alone, n.network = true, Network{ID: aloneNetwork}
		if n.cfg.HTTP.HyperBEAM != "" {
			n.network.ID = toldNetwork
		}
		if len(n.cfg.Listen) == 0 {
			n.cfg.Listen = []string{} // nobody is to call
		}
		return nil
	}
	if n.cfg.HTTP.HyperBEAM != "" {
		return errors.New("http.hyperbeam needs a home that has joined no network, a --gateway, and no --bootstrap")
	}
	n.network, err = h.Network()
	return err
}

// openElsewhere has the directory find schedulers that are not on the mesh.
func (n *Node) openElsewhere() error {
	e, err := remote.NewElsewhere(remote.ElsewhereConfig{Archive: n.archive, URL: n.cfg.Elsewhere.URL, Private: n.cfg.Elsewhere.Private})
	if err != nil {
		return fmt.Errorf("elsewhere.url: %w", err)
	}
	n.directory.SetElsewhere(e)
	return nil
}

// maxWallet bounds a file with an Ethereum key.
const maxWallet = 64 << 10

// abroad is the key that signs for schedulers of today's network, nil for none.
func (h Home) abroad(c ElsewhereConfig) (ans104.Signer, error) {
	if c.Wallet == "" {
		return nil, nil
	}
	path := c.Wallet
	if !filepath.IsAbs(path) {
		path = filepath.Join(string(h), path)
	}
	raw, err := readBounded(path, maxWallet)
	if err != nil {
		return nil, fmt.Errorf("elsewhere.wallet: %w", err)
	}
	if raw = bytes.TrimSpace(raw); bytes.HasPrefix(raw, []byte("{")) {
		w, err := arweave.LoadWallet(path)
		if err != nil {
			return nil, fmt.Errorf("elsewhere.wallet: %w", err)
		}
		return w.Signer(), nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("elsewhere.wallet: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("elsewhere.wallet: %s can be read by others: run `chmod 600 %s`", path, path)
	}
	key, err := hex.DecodeString(string(bytes.TrimPrefix(raw, []byte("0x"))))
	if err != nil {
		return nil, fmt.Errorf("elsewhere.wallet: %s is neither a JWK nor a key of 64 hexadecimal digits", path)
	}
	s, err := ans104.NewEthereumSigner(key)
	if err != nil {
		return nil, fmt.Errorf("elsewhere.wallet: %s: %w", path, err)
	}
	return s, nil
}
