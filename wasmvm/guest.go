package wasmvm

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed" // the module lies beside this file
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
)

//go:generate go run ./guest/build

//go:embed guest.wasm.gz
var guestArchive []byte

//go:embed guest.json
var guestManifest []byte

// manifest says what the embedded module is and what made it.
type manifest struct {
	SHA256    string `json:"sha256"`
	Bytes     int    `json:"bytes"`
	Toolchain string `json:"toolchain"`
}

// DefaultModule returns the wasm of the embedded module, which users' Lua runs on. Each call unpacks it anew, some
// 6 MB: keep the slice, which is the caller's own.
func DefaultModule() []byte {
	wasm, err := unpackGuest(guestArchive, guestManifest)
	if err != nil {
		panic(err) // the binary itself is damaged
	}
	return wasm
}

func unpackGuest(archive, manifestJSON []byte) ([]byte, error) {
	var want manifest
	if err := json.Unmarshal(manifestJSON, &want); err != nil {
		return nil, fmt.Errorf("read default module's manifest: %w", err)
	}
	r, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, fmt.Errorf("unpack default module: %w", err)
	}
	wasm, err := io.ReadAll(io.LimitReader(r, MaxModule+1))
	if err != nil {
		return nil, fmt.Errorf("unpack default module: %w", err)
	}
	if sum := sha256.Sum256(wasm); len(wasm) != want.Bytes || hex.EncodeToString(sum[:]) != want.SHA256 {
		return nil, fmt.Errorf("unpack default module: digest %x, manifest says %s", sum, want.SHA256)
	}
	return wasm, nil
}
