package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// What item inspect spends at most: bytes that it reads, items that it looks at, and bytes that it hashes, which bundles
// within bundles multiply. memoryGoal makes the collector keep up with a large file.
const (
	maxInspect = 64 << 20
	maxItems   = 10_000
	maxHashed  = 4 * maxInspect
	memoryGoal = 160 << 20
)

func itemCommand() *cli.Command {
	return &cli.Command{
		Name: "item", Usage: "look at ANS-104 items and bundles",
		Commands: []*cli.Command{{
			Name: "inspect", Usage: "parse and verify an item or a raw bundle", ArgsUsage: "FILE|-",
			Description: "Exits with 1 and the reason if the file is anything but a valid item or bundle.",
			Action: func(_ context.Context, c *cli.Command) error {
				if err := args(c, 1, 1); err != nil {
					return err
				}
				defer debug.SetMemoryLimit(debug.SetMemoryLimit(memoryGoal))
				raw, err := readFileArg(c, c.Args().First())
				if err != nil {
					return err
				}
				return inspect(c, raw)
			},
		}},
	}
}

// inspected is what item inspect prints of an item as JSON. If the item carries a bundle, "bundle" and "items" follow.
type inspected struct {
	ID            string       `json:"id"`
	SignatureType int          `json:"signatureType"`
	Owner         string       `json:"owner"`
	OwnerAddress  string       `json:"ownerAddress"`
	Target        string       `json:"target"`
	Anchor        string       `json:"anchor"`
	Tags          []ans104.Tag `json:"tags"`
	DataLength    int          `json:"dataLength"`
	DataSHA256    string       `json:"dataSha256"`
	Valid         bool         `json:"valid"`
}

// inspect verifies everything first, so that nothing is printed of what turns out invalid, and then walks the bytes once
// more to print: a bundle's worth of descriptions would take many times the memory of the bundle.
func inspect(c *cli.Command, raw []byte) error {
	bundle := looksLikeBundle(raw)
	p := startProgress(c, "verifying signatures")
	err := verifyAll(raw, bundle)
	p.end()
	if err != nil {
		return fmt.Errorf("invalid: %w", err)
	}
	w := bufio.NewWriterSize(c.Root().Writer, 64<<10)
	d := describer{w: w, json: c.Bool("json")}
	if bundle {
		err = d.bundle(raw)
	} else {
		err = d.item(raw, "")
	}
	if d.json {
		fmt.Fprintln(w)
	}
	return errors.Join(err, w.Flush())
}

// looksLikeBundle holds for files whose bytes 8 to 31 are zero, the high bytes of a bundle's count.
func looksLikeBundle(raw []byte) bool {
	if len(raw) < 32 {
		return false
	}
	for _, b := range raw[8:32] {
		if b != 0 {
			return false
		}
	}
	return true
}

// describer prints what a verifier has passed.
type describer struct {
	w    io.Writer
	json bool
}

// bundle prints a raw bundle.
func (d describer) bundle(raw []byte) error {
	if !d.json {
		entries, err := ans104.ParseBundle(raw)
		if err != nil {
			return err
		}
		fmt.Fprintf(d.w, "bundle of %d items, all valid\n", len(entries))
		return d.items(raw, "  ")
	}
	fmt.Fprint(d.w, `{"bundle":true,"valid":true,"items":[`)
	err := d.items(raw, "")
	fmt.Fprint(d.w, "]}")
	return err
}

func (d describer) items(raw []byte, indent string) error {
	entries, err := ans104.ParseBundle(raw)
	if err != nil {
		return err
	}
	for i, e := range entries {
		if d.json && i > 0 {
			fmt.Fprint(d.w, ",")
		}
		if err := d.item(e.Raw, indent); err != nil {
			return err
		}
	}
	return nil
}

func (d describer) item(raw []byte, indent string) error {
	it, err := ans104.Parse(raw)
	if err != nil {
		return err
	}
	b64 := base64.RawURLEncoding.EncodeToString
	sum := sha256.Sum256(it.Data())
	v := inspected{
		ID: it.ID().String(), SignatureType: int(it.SignatureType()), Owner: b64(it.Owner()), OwnerAddress: it.OwnerAddress(),
		Target: b64(it.Target()), Anchor: b64(it.Anchor()), Tags: it.Tags(), DataLength: len(it.Data()),
		DataSHA256: hex.EncodeToString(sum[:]), Valid: true,
	}
	if v.Tags == nil {
		v.Tags = []ans104.Tag{}
	}
	if !d.json {
		v.print(d.w, indent)
		if it.IsBundle() {
			return d.items(it.Data(), indent+"  ")
		}
		return nil
	}
	var b bytes.Buffer
	if err := (printer{out: &b, json: true}).value(v, nil); err != nil {
		return err
	}
	text := bytes.TrimSpace(b.Bytes())
	if !it.IsBundle() {
		_, err = d.w.Write(text)
		return err
	}
	fmt.Fprintf(d.w, `%s,"bundle":true,"items":[`, text[:len(text)-1])
	err = d.items(it.Data(), indent)
	fmt.Fprint(d.w, "]}")
	return err
}

func (v inspected) print(w io.Writer, indent string) {
	fmt.Fprintf(w, "%sitem    %s\n%ssigner  %s (type %d)\n", indent, v.ID, indent, v.OwnerAddress, v.SignatureType)
	if v.Target != "" {
		fmt.Fprintf(w, "%starget  %s\n", indent, v.Target)
	}
	if v.Anchor != "" {
		fmt.Fprintf(w, "%sanchor  %s\n", indent, v.Anchor)
	}
	for _, t := range v.Tags {
		fmt.Fprintf(w, "%s  %s: %s\n", indent, oneLine(plain(t.Name)), oneLine(plain(t.Value)))
	}
	fmt.Fprintf(w, "%sdata    %d bytes, SHA-256 %s\n", indent, v.DataLength, v.DataSHA256)
}

// readFileArg reads a file or, for -, standard input, at most maxInspect bytes.
func readFileArg(c *cli.Command, path string) ([]byte, error) {
	r := c.Root().Reader
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, bare(err))
		}
		defer f.Close()
		r = f
	}
	size := maxInspect + 1 // room that is not used takes no memory
	if f, ok := r.(*os.File); ok {
		info, err := f.Stat()
		switch {
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", path, bare(err))
		case info.IsDir():
			return nil, fmt.Errorf("read %s: it is a folder", path)
		case info.Mode().IsRegular():
			size = int(min(info.Size(), maxInspect+1))
		}
	}
	var b bytes.Buffer
	b.Grow(size + 2*bytes.MinRead)
	if _, err := b.ReadFrom(io.LimitReader(r, maxInspect+1)); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, bare(err))
	}
	if b.Len() > maxInspect {
		return nil, fmt.Errorf("read %s: more than %d MiB", path, maxInspect>>20)
	}
	return b.Bytes(), nil
}
