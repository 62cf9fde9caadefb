package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Stores are the folders in which this home, and if it is a devnet's those of its peers and of its Arweave, keep what is
// durable. They are there; whoever opens one while its peer runs is refused.
func (h Home) Stores() ([]string, error) {
	candidates := []string{h.store(), filepath.Join(string(h), ownArweave), filepath.Join(string(h), otherArweave)}
	peers, err := filepath.Glob(filepath.Join(string(h), "peers", "*", "store"))
	if err != nil {
		return nil, fmt.Errorf("list stores of %s: %w", h, err)
	}
	var out []string
	for _, dir := range append(candidates, peers...) {
		switch info, err := os.Stat(dir); {
		case err == nil && info.IsDir():
			out = append(out, dir)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("list stores of %s: %w", h, err)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no store in %s: it is made when the peer first runs", h)
	}
	return out, nil
}
