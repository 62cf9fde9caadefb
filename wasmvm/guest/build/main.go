// Command build compiles the default module and packs it for embedding: guest.wasm.gz and guest.json of its parent's
// parent folder.
//
// In go the sources of package guest; out come the archive and a manifest with the digest and the toolchain. The same
// toolchain always makes the same bytes.
//
// It never takes anything but the Go toolchain and the modules pinned in go.mod.
//
// Start with main; go generate runs it.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

func main() {
	out := flag.String("out", ".", "folder for guest.wasm.gz and guest.json")
	pkg := flag.String("pkg", "./guest", "the package to build")
	flag.Parse()
	if err := build(*pkg, *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func build(pkg, out string) error {
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return fmt.Errorf("make build folder: %w", err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "guest.wasm")
	// noquotas leaves out the interpreter's own limits: the host's are the ones that count.
	cmd := exec.Command("go", "build", "-tags=noquotas", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", file, pkg)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOWASM=", "CGO_ENABLED=0", "GOFLAGS=", "GOEXPERIMENT=")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build guest: %w", err)
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read guest: %w", err)
	}
	return pack(wasm, out)
}

func pack(wasm []byte, out string) error {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression) // the header has no name and no time
	if err != nil {
		return fmt.Errorf("compress guest: %w", err)
	}
	if _, err := w.Write(wasm); err != nil {
		return fmt.Errorf("compress guest: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("compress guest: %w", err)
	}
	sum := sha256.Sum256(wasm)
	m, err := json.MarshalIndent(map[string]any{"sha256": hex.EncodeToString(sum[:]), "bytes": len(wasm), "toolchain": runtime.Version()}, "", "  ")
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if err := os.WriteFile(filepath.Join(out, "guest.wasm.gz"), b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write guest: %w", err)
	}
	return os.WriteFile(filepath.Join(out, "guest.json"), append(m, '\n'), 0o644)
}
