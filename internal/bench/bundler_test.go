package bench

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/devnet"
)

const (
	bundledItems = 10_000
	// bundlerMemory is what settling them may take at most above what there was before, in MiB. It stands in for a
	// primitive: no memory at all would be the floor.
	bundlerMemory = 256
)

// bundlerRows settles many items to the embedded Arweave, both in this process, and looks at the process's memory.
func bundlerRows(t *testing.T) []Row {
	ctx, stop := context.WithCancel(context.Background())
	raw, err := os.ReadFile("../../arweave/testdata/wallet.json")
	must(err)
	wallet, err := arweave.ParseWallet(raw)
	must(err)
	chain, err := devnet.New(devnet.Config{
		Store: openStore(t, filepath.Join(t.TempDir(), "chain")), Wallet: wallet, BlockEvery: 200 * time.Millisecond,
	})
	must(err)
	server := httptest.NewServer(chain)
	defer server.Close()
	client, err := arweave.NewClient(arweave.ClientConfig{Gateways: []string{server.URL}})
	must(err)
	bundler, err := arweave.NewBundler(arweave.BundlerConfig{
		Store: openStore(t, filepath.Join(t.TempDir(), "queue")), Client: client, Wallet: wallet, MaxAge: time.Second,
		Poll: 200 * time.Millisecond, Depth: 2,
	})
	must(err)
	var all sync.WaitGroup
	all.Go(func() { must(chain.Run(ctx)) })
	all.Go(func() { must(bundler.Run(ctx)) })
	defer all.Wait()
	defer stop()

	debug.FreeOSMemory() // what the rows before have left
	before := resident()
	most := before
	look := func() { most = max(most, resident()) }
	signer := ans104.NewEd25519Signer(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	for from := 0; from < bundledItems; from += 100 {
		var items []*ans104.Item
		for i := range 100 {
			data := make([]byte, itemSize)
			copy(data, fmt.Sprint(from+i))
			it, err := ans104.Sign(signer, ans104.Fields{Data: data})
			must(err)
			items = append(items, it)
		}
		must(bundler.Put(ctx, items...))
		look()
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for done := false; !done; look() {
		<-tick.C
		left, err := bundler.Backlog()
		must(err)
		done = left.Items+left.InFlight == 0
	}
	height, err := chain.Height(ctx)
	must(err)
	settled := 0
	for h := range height + 1 {
		block, err := chain.Block(ctx, h)
		must(err)
		for _, tx := range block.Txs {
			rec := httptest.NewRecorder()
			chain.ServeHTTP(rec, httptest.NewRequest("GET", "/raw/"+tx.String(), nil))
			entries, err := ans104.ParseBundle(rec.Body.Bytes())
			must(err)
			settled += len(entries)
		}
	}
	if settled != bundledItems {
		t.Fatalf("%d items are settled, want %d", settled, bundledItems)
	}
	name := fmt.Sprintf("memory to settle %d items of 1 KiB, with the Arweave they go to", bundledItems)
	return []Row{makeRow(name, most-before, bundlerMemory, "MiB", 1)}
}
