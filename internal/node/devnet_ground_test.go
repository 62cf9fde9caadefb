package node

import (
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// TestDevnetOnAnotherArweave: a devnet settles on somebody else's Arweave once its wallet can pay, and neither takes that one for
// its own nor the other way round.
func TestDevnetOnAnotherArweave(t *testing.T) {
	other := chain(t)
	server := httptest.NewServer(other)
	defer server.Close()
	h := home(t)
	w, err := arweave.NewWallet() // the tests' own has everything there already
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Save(h.Wallet()); err != nil {
		t.Fatal(err)
	}
	cfg := DevnetConfig{Archive: server.URL, Computers: 1, native: echo{}}
	_, err = NewDevnet(h, cfg)
	says(t, err, w.Address(), "/mint/"+w.Address()+"/")
	if _, err := other.Mint(w.Address(), big.NewInt(1_000_000_000_000)); err != nil {
		t.Fatal(err)
	}
	d, stop := runDevnet(t, h, cfg)
	if f := d.File(); f.Gateway != server.URL {
		t.Errorf("its gateway is %s", f.Gateway)
	}
	id, err := ans104.ParseID(d.File().Module)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Get(t.Context(), id); err != nil {
		t.Errorf("the module is not there: %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	_, err = NewDevnet(h, DevnetConfig{native: echo{}})
	says(t, err, "--archive")

	own := home(t)
	if err := os.Mkdir(filepath.Join(string(own), ownArweave), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = NewDevnet(own, cfg)
	says(t, err, "another --home")
}
