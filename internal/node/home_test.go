package node

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/arweave/ans104"
)

func home(t testing.TB) Home {
	t.Helper()
	h := Home(filepath.Join(t.TempDir(), "home"))
	if err := h.Make(); err != nil {
		t.Fatal(err)
	}
	return h
}

// says fails the test unless err is one line that holds every word.
func says(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one that says %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error is %q, want that it says %q", err, w)
		}
	}
}

func TestKeyIsMadeOnceAndKeptPrivate(t *testing.T) {
	h := home(t)
	_, err := h.LoadKey()
	says(t, err, "aopeer init")
	key, err := h.EnsureKey()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(h.key()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(string(h)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the home's mode is %v, %v", info.Mode(), err)
	}
	again, err := h.EnsureKey()
	if err != nil || !again.Equal(key) {
		t.Errorf("asked again it is another key, %v", err)
	}
	k, err := h.Keys()
	if err != nil || k.Unit != Address(key) || k.Peer == "" || k.Wallet != "" {
		t.Errorf("the keys are %+v, %v", k, err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o620, 0o644} {
		if err := os.Chmod(h.key(), mode); err != nil {
			t.Fatal(err)
		}
		_, err := h.LoadKey()
		says(t, err, "chmod 600")
		_, err = h.EnsureKey()
		says(t, err, "chmod 600")
	}
	if err := os.Chmod(h.key(), 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err = h.LoadKey(); err != nil || !again.Equal(key) {
		t.Errorf("the key was replaced: %v", err)
	}
}

func TestDamagedKeyIsNotReplaced(t *testing.T) {
	for _, text := range []string{"", "x", strings.Repeat("A", 42), strings.Repeat("A", 44), strings.Repeat("!", 43), strings.Repeat("A", 2000)} {
		h := home(t)
		if err := os.WriteFile(h.key(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := h.EnsureKey(); err == nil {
			t.Errorf("took %.50q for a key", text)
		}
		if raw, err := os.ReadFile(h.key()); err != nil || string(raw) != text {
			t.Errorf("%.50q was replaced", text)
		}
	}
	_, err := home(t).Keys()
	says(t, err, "no keys", "aopeer init")
}

func TestConfigFile(t *testing.T) {
	h := home(t)
	cfg, err := h.LoadConfig()
	if err != nil || cfg.Compute != DefaultConfig().Compute || cfg.Settle != DefaultConfig().Settle {
		t.Fatalf("a home without a config has %+v, %v", cfg, err)
	}
	cfg.Name, cfg.Roles, cfg.Settle.MaxAge = "peer", []string{"su", "cu"}, Duration(90*time.Second)
	if err := h.SaveConfig(cfg); err != nil {
		t.Fatal(err)
	}
	got, err := h.LoadConfig()
	if err != nil || got.Name != "peer" || !got.Does("cu") || got.Does("mu") || got.Settle.MaxAge != cfg.Settle.MaxAge {
		t.Errorf("read back %+v, %v", got, err)
	}
	for name, c := range map[string]struct {
		text  string
		words []string
	}{
		"an unknown setting":      {"nmae = 'x'", []string{"unknown setting", "nmae"}},
		"an unknown nested one":   {"[settle]\nmaxage = '2s'", []string{"unknown setting", "maxage"}},
		"no TOML":                 {"= =", []string{"config.toml"}},
		"another type":            {"roles = 3", []string{"config.toml"}},
		"a duration without unit": {"[settle]\nmax_age = '2'", []string{"not a duration"}},
		"a negative duration":     {"[settle]\nmax_age = '-2s'", []string{"not a duration"}},
	} {
		if err := os.WriteFile(h.config(), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := h.LoadConfig()
		if err == nil {
			t.Errorf("%s: taken", name)
		}
		says(t, err, c.words...)
	}
	if err := os.WriteFile(h.config(), bytes.Repeat([]byte("#"), 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = h.LoadConfig()
	says(t, err, "bytes")
}

func TestConfigIsValidated(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	for word, change := range map[string]func(*Config){
		"role":             func(c *Config) { c.Roles = []string{"su", "king"} },
		"name":             func(c *Config) { c.Name = strings.Repeat("x", 33) },
		"max_hot":          func(c *Config) { c.Compute.MaxHot = 0 },
		"checkpoint_every": func(c *Config) { c.Compute.CheckpointEvery = -1 },
	} {
		c := DefaultConfig()
		change(&c)
		says(t, c.Validate(), word)
	}
}

func TestWalletOfTheConfig(t *testing.T) {
	h := Home("/home/of/peer")
	for in, want := range map[string]string{
		"": "/home/of/peer/wallet.json", "mine.json": "/home/of/peer/mine.json", "/elsewhere/w.json": "/elsewhere/w.json",
	} {
		if got := h.wallet(Config{Wallet: in}); got != want {
			t.Errorf("wallet %q is %s, want %s", in, got, want)
		}
	}
}

func signed(t testing.TB, change ...func(*Network)) Network {
	t.Helper()
	key, err := Home(t.TempDir()).ensure()
	if err != nil {
		t.Fatal(err)
	}
	peer, err := peerID(key)
	if err != nil {
		t.Fatal(err)
	}
	n := Network{
		ID: "node-test", Bootstrap: []string{"/ip4/127.0.0.1/tcp/1/p2p/" + peer}, Gateways: []string{"http://127.0.0.1:1"},
		Genesis: Genesis{Module: "m", Scheduler: "s", Authority: "a"},
	}
	for _, c := range change {
		c(&n)
	}
	out, err := SignNetwork(ans104.NewEd25519Signer(key), n)
	if err != nil {
		t.Fatal(err)
	}
	if out.Owner() != Address(key) {
		t.Errorf("signed by %s, not by %s", out.Owner(), Address(key))
	}
	return out
}

func TestNetworkFile(t *testing.T) {
	n := signed(t)
	got, err := ParseNetwork(n.Raw())
	if err != nil || got.ID != "node-test" || got.Genesis != n.Genesis || len(got.Bootstrap) != 1 || len(got.Gateways) != 1 {
		t.Fatalf("read back %+v, %v", got, err)
	}
	for i := range n.Raw() {
		b := bytes.Clone(n.Raw())
		b[i] ^= 1
		if _, err := ParseNetwork(b); !errors.Is(err, ErrNetwork) {
			t.Fatalf("with byte %d altered: %v", i, err)
		}
	}
	for _, size := range []int{0, 1, len(n.Raw()) / 2, len(n.Raw()) - 1} {
		if _, err := ParseNetwork(n.Raw()[:size]); !errors.Is(err, ErrNetwork) {
			t.Errorf("cut to %d bytes: %v", size, err)
		}
	}
	if _, err := ParseNetwork(make([]byte, maxNetwork+1)); !errors.Is(err, ErrNetwork) {
		t.Errorf("oversize: %v", err)
	}
	key, err := home(t).EnsureKey()
	if err != nil {
		t.Fatal(err)
	}
	signer := ans104.NewEd25519Signer(key)
	for name, f := range map[string]ans104.Fields{
		"tags of another": {Data: []byte(`{"id":"node-test"}`), Tags: []ans104.Tag{{Name: "Type", Value: "Network"}, {Name: "Network", Value: "x"}}},
		"no tags":         {Data: []byte(`{"id":"node-test"}`)},
		"no JSON":         {Data: []byte(`{`), Tags: []ans104.Tag{{Name: "Type", Value: "Network"}, {Name: "Network", Value: "x"}}},
		"bootstrap, no ID": {
			Data: []byte(`{"id":"node-test","bootstrap":["/ip4/192.0.2.1/tcp/4001"]}`),
			Tags: []ans104.Tag{{Name: "Type", Value: "Network"}, {Name: "Network", Value: "node-test"}},
		},
		"a bad name": {Data: []byte(`{"id":"X/Y"}`), Tags: []ans104.Tag{{Name: "Type", Value: "Network"}, {Name: "Network", Value: "X/Y"}}},
	} {
		it, err := ans104.Sign(signer, f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseNetwork(it.Raw()); !errors.Is(err, ErrNetwork) {
			t.Errorf("%s: %v", name, err)
		}
	}
	fast := signed(t, func(n *Network) { n.BlockTime = Duration(time.Second) })
	if n.blockTime() != arweaveBlocks || fast.blockTime() != time.Second {
		t.Errorf("block times %v and %v", n.blockTime(), fast.blockTime())
	}
	if _, err := SignNetwork(signer, Network{ID: "Bad Name"}); err == nil {
		t.Error("signed a network with a bad name")
	}
}

func TestHomeBelongsToOneNetwork(t *testing.T) {
	h := home(t)
	_, err := h.Network()
	says(t, err, "aopeer init", "aopeer devnet")
	if err := h.Join(signed(t)); err != nil {
		t.Fatal(err)
	}
	if n, err := h.Network(); err != nil || n.ID != "node-test" {
		t.Errorf("the network is %q, %v", n.ID, err)
	}
	if err := h.Join(signed(t, func(n *Network) { n.Gateways = nil })); err != nil {
		t.Errorf("a newer file of the same network: %v", err)
	}
	says(t, h.Join(signed(t, func(n *Network) { n.ID = "another" })), "belongs to network node-test", "another --home")
	if n, err := h.Network(); err != nil || n.ID != "node-test" {
		t.Errorf("the network is %q, %v", n.ID, err)
	}
}

func TestFilesAreReplacedWhole(t *testing.T) {
	h := home(t)
	path := filepath.Join(string(h), "file")
	for _, text := range []string{"first", "second"} {
		if err := writeFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	entries, derr := os.ReadDir(string(h))
	if err != nil || derr != nil || string(raw) != "second" || len(entries) != 1 {
		t.Errorf("the file holds %q, the folder %d files (%v, %v)", raw, len(entries), err, derr)
	}
	if err := writeFile(filepath.Join(string(h), "no", "folder"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into no folder: %v", err)
	}
}

func FuzzParseNetwork(f *testing.F) {
	f.Add(signed(f).Raw())
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, err := ParseNetwork(raw)
		if err != nil {
			if !errors.Is(err, ErrNetwork) {
				t.Errorf("%v is not ErrNetwork", err)
			}
			return
		}
		if n.ID == "" || n.Owner() == "" || !bytes.Equal(n.Raw(), raw) {
			t.Errorf("took %+v", n)
		}
	})
}
