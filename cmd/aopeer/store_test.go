package main

import (
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/aopeer/aopeer/internal/store"
)

// store FOLDER makes a store with something of every kind.
func makeStore(ts *testscript.TestScript, _ bool, args []string) {
	s, err := store.Open(ts.MkAbs(args[0]), store.Options{})
	ts.Check(err)
	var b store.Batch
	b.Append("su/log", 0, []byte("one"))
	b.Append("su/log", 1, []byte("two"))
	b.Put("greeting", []byte("hello"))
	b.Push("q", []byte("entry"))
	ts.Check(s.Commit(&b))
	ts.Check(s.PutFile("checkpoints/one", strings.NewReader("state")))
	ts.Check(s.Close())
}

// locked FOLDER opens a store until unlocked.
func lockStore(ts *testscript.TestScript, _ bool, args []string) {
	s, err := store.Open(ts.MkAbs(args[0]), store.Options{})
	ts.Check(err)
	heldStores(ts)[args[0]] = s
	ts.Defer(func() { _ = s.Close() })
}

func unlockStore(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(heldStores(ts)[args[0]].Close())
}

func heldStores(ts *testscript.TestScript) map[string]store.Store {
	return ts.Value("stores").(map[string]store.Store)
}

// flip FILE changes one bit in the middle of a file.
func flipBit(ts *testscript.TestScript, _ bool, args []string) {
	name := ts.MkAbs(args[0])
	raw, err := os.ReadFile(name)
	ts.Check(err)
	raw[len(raw)/2] ^= 4
	ts.Check(os.WriteFile(name, raw, 0o600))
}
