package wasmvm

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGuestRebuild: the embedded module is what its sources make under the toolchain that its manifest names.
func TestGuestRebuild(t *testing.T) {
	if testing.Short() {
		t.Skip("rebuilding the default module takes half a minute with a cold cache")
	}
	var made manifest
	if err := json.Unmarshal(guestManifest, &made); err != nil {
		t.Fatal(err)
	}
	version, err := exec.Command("go", "env", "GOVERSION").Output()
	if err != nil {
		t.Skipf("no Go toolchain to rebuild with: %v", err)
	}
	if here := strings.TrimSpace(string(version)); here != made.Toolchain {
		t.Skipf("the default module was made by %s; the toolchain here is %s", made.Toolchain, here)
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "./guest/build", "-out", dir).CombinedOutput(); err != nil {
		t.Fatalf("rebuild: %v\n%s", err, out)
	}
	for name, want := range map[string][]byte{"guest.wasm.gz": guestArchive, "guest.json": guestManifest} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is stale: run go generate ./wasmvm", name)
		}
	}
}

// TestDefaultModule: every caller has a copy of his own.
func TestDefaultModule(t *testing.T) {
	a := DefaultModule()
	a[0] = 'x'
	if b := DefaultModule(); !bytes.HasPrefix(b, []byte("\x00asm")) {
		t.Errorf("module begins % x", b[:4])
	}
	for name, c := range map[string][2][]byte{
		"cut short":        {guestArchive[:len(guestArchive)/2], guestManifest},
		"no archive":       {[]byte("x"), guestManifest},
		"another manifest": {guestArchive, []byte(`{"sha256":"00","bytes":1}`)},
		"no manifest":      {guestArchive, nil},
	} {
		if _, err := unpackGuest(c[0], c[1]); err == nil {
			t.Errorf("%s: unpacked", name)
		}
	}
}

// BenchmarkGuestEval is the smallest message of a hot process, without what the journal adds.
func BenchmarkGuestEval(b *testing.B) {
	benchmarkGuest(b, guestMessage{Data: "1+1", Tags: [][2]string{{"Action", "Eval"}}})
}

// BenchmarkGuestTransfer is a token transfer with its two notices.
func BenchmarkGuestTransfer(b *testing.B) {
	benchmarkGuest(b, guestMessage{From: "alice", Owner: "alice", Tags: [][2]string{{"Action", "Transfer"}, {"Recipient", "bob"}, {"Quantity", "3"}}})
}

func benchmarkGuest(b *testing.B, m guestMessage) {
	g := newGuestProcess(b)
	g.eval(guestToken)
	g.eval("Balances.alice = 1 << 60")
	msg, env := m.encode(5), guestEnv()
	fuel := uint64(0)
	for b.Loop() {
		_, used, err := g.inst.handle(msg, env, MaxFuel)
		if err != nil {
			b.Fatal(err)
		}
		fuel += used
	}
	b.ReportMetric(float64(fuel)/float64(b.N), "fuel/op")
	b.ReportMetric(float64(len(g.inst.memory())), "memory-bytes")
}

// BenchmarkGuestStart is a new process, up to its first message.
func BenchmarkGuestStart(b *testing.B) {
	p := guestFor(b)
	for b.Loop() {
		inst, err := p.start(guestLimit)
		if err != nil {
			b.Fatal(err)
		}
		inst.close()
	}
}
