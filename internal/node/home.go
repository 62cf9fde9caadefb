package node

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/p2p"
)

// Home is a peer's folder: its key, config, network file, store and caches.
type Home string

// The files of a home.
func (h Home) key() string     { return filepath.Join(string(h), "unit.key") }
func (h Home) config() string  { return filepath.Join(string(h), "config.toml") }
func (h Home) network() string { return filepath.Join(string(h), "network.item") }
func (h Home) store() string   { return filepath.Join(string(h), "store") }
func (h Home) cache() string   { return filepath.Join(string(h), "cache") }
func (h Home) devnet() string  { return filepath.Join(string(h), "devnet.json") }

// Wallet is where the Arweave wallet lies unless the config names another file.
func (h Home) Wallet() string { return filepath.Join(string(h), "wallet.json") }

// wallet is the wallet that the config names, relative to the home, or the home's own.
func (h Home) wallet(cfg Config) string {
	switch {
	case cfg.Wallet == "":
		return h.Wallet()
	case filepath.IsAbs(cfg.Wallet):
		return cfg.Wallet
	}
	return filepath.Join(string(h), cfg.Wallet)
}

// Peer is the file that a running peer keeps with its ID and addresses.
func (h Home) Peer() string { return filepath.Join(string(h), "peer.json") }

// History is the file that keeps what was typed in consoles.
func (h Home) History() string { return filepath.Join(string(h), "console.history") }

// Make creates the folder, private.
func (h Home) Make() error {
	if err := os.MkdirAll(string(h), 0o700); err != nil {
		return fmt.Errorf("make home: %w", err)
	}
	return nil
}

// LoadKey reads the unit key. A key that others can read is refused.
func (h Home) LoadKey() (ed25519.PrivateKey, error) {
	info, err := os.Stat(h.key())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no unit key in %s: make one with `aopeer init --home %s`", h, h)
	}
	if err != nil {
		return nil, fmt.Errorf("read unit key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("unit key %s can be read by others: run `chmod 600 %s`", h.key(), h.key())
	}
	raw, err := readBounded(h.key(), 1024)
	if err != nil {
		return nil, fmt.Errorf("read unit key: %w", err)
	}
	seed, err := base64.RawURLEncoding.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("unit key %s is damaged: it must be 43 base64url characters", h.key())
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// EnsureKey reads the unit key or makes one, 0600.
func (h Home) EnsureKey() (ed25519.PrivateKey, error) {
	if _, err := os.Stat(h.key()); !errors.Is(err, fs.ErrNotExist) { // one that cannot be read is not replaced either
		return h.LoadKey()
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		return nil, fmt.Errorf("make unit key: %w", err)
	}
	if err := writeFile(h.key(), []byte(base64.RawURLEncoding.EncodeToString(seed)+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write unit key: %w", err)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// openStore opens a durable store; one that is in use is told as what it is, a second instance.
func openStore(dir string, log *slog.Logger) (store.Store, error) {
	st, err := store.Open(dir, store.Options{Log: log})
	if errors.Is(err, store.ErrLocked) {
		return nil, fmt.Errorf("another aopeer runs on %s: stop it, or use another --home: %w", filepath.Dir(dir), err)
	}
	return st, err
}

// Address is the address of a unit key.
func Address(key ed25519.PrivateKey) string {
	a, err := ans104.Address(ans104.Ed25519, key.Public().(ed25519.PublicKey))
	if err != nil { // an Ed25519 key always has one
		panic(err)
	}
	return a
}

// Network is the network that the home has joined.
func (h Home) Network() (Network, error) {
	n, err := LoadNetwork(h.network())
	if errors.Is(err, fs.ErrNotExist) {
		return n, fmt.Errorf("%s has joined no network: run `aopeer init --home %s --network FILE`, or `aopeer devnet`", h, h)
	}
	return n, err
}

// Join keeps the network file. A home cannot change its network, because what its key has signed belongs to one.
func (h Home) Join(n Network) error {
	if old, err := LoadNetwork(h.network()); err == nil && old.ID != n.ID {
		return fmt.Errorf("%s belongs to network %s already: use another --home for %s", h, old.ID, n.ID)
	}
	return writeFile(h.network(), n.Raw(), 0o644)
}

// writeFile replaces a file whole or not at all.
func writeFile(path string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path)) // the new name must survive a power cut too
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(path, append(b, '\n'), 0o644)
}

func unmarshalFile(path string, raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// peerID is the libp2p identity of a unit key.
func peerID(key ed25519.PrivateKey) (string, error) {
	id, err := p2p.PeerIDFromKey(key.Public().(ed25519.PublicKey))
	if err != nil {
		return "", err
	}
	return id.String(), nil
}

// Signer is the key that signs a user's messages, and its address: the wallet in that file or, if none is named, the one of
// the home's config or, if there is none, the unit key.
func (h Home) Signer(wallet string) (ans104.Signer, string, error) {
	if wallet != "" {
		w, err := arweave.LoadWallet(wallet)
		if err != nil {
			return nil, "", err
		}
		return w.Signer(), w.Address(), nil
	}
	cfg, err := h.LoadConfig()
	if err != nil {
		return nil, "", err
	}
	return h.signer(h.wallet(cfg))
}

// signer is that wallet or, if there is none, the unit key.
func (h Home) signer(wallet string) (ans104.Signer, string, error) {
	w, err := arweave.LoadWallet(wallet)
	switch {
	case err == nil:
		return w.Signer(), w.Address(), nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, "", err
	}
	key, err := h.LoadKey()
	if err != nil {
		return nil, "", err
	}
	return ans104.NewEd25519Signer(key), Address(key), nil
}

// Keys are the addresses of a home's keys; empty where there is none.
type Keys struct {
	Unit   string `json:"unit"`   // address of the unit key
	Peer   string `json:"peer"`   // its libp2p identity
	Wallet string `json:"wallet"` // address of the Arweave wallet
}

// Keys reads the home's keys, or says that it has none.
func (h Home) Keys() (Keys, error) {
	var k Keys
	if _, err := os.Stat(h.key()); err == nil {
		key, err := h.LoadKey()
		if err != nil {
			return k, err
		}
		k.Unit = Address(key)
		if k.Peer, err = peerID(key); err != nil {
			return k, err
		}
	}
	w, err := arweave.LoadWallet(h.Wallet())
	switch {
	case err == nil:
		k.Wallet = w.Address()
	case !errors.Is(err, fs.ErrNotExist):
		return k, err
	case k.Unit == "":
		return k, fmt.Errorf("no keys in %s: make them with `aopeer init --home %s --network FILE`", h, h)
	}
	return k, nil
}
