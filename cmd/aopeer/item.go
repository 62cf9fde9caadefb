package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// maxInspect bounds the bytes that item inspect reads, and so its memory; maxItems the signatures that it checks, and so
// its time.
const (
	maxInspect = 64 << 20
	maxItems   = 20_000
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
				raw, err := readFileArg(c, c.Args().First())
				if err != nil {
					return err
				}
				return inspect(c, raw)
			},
		}},
	}
}

// inspected is what item inspect prints as JSON: an item, with Items if it carries a bundle. A raw bundle has no fields
// of an item, so it is a bundled by itself.
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
	*bundled
}

// bundled is what a bundle adds, or is.
type bundled struct {
	Bundle bool        `json:"bundle"`
	Items  []inspected `json:"items"`
}

func inspect(c *cli.Command, raw []byte) error {
	i := inspector{left: maxItems}
	if looksLikeBundle(raw) {
		b, err := i.bundle(raw, 1)
		if err != nil {
			return fmt.Errorf("invalid: %w", err)
		}
		v := struct {
			*bundled
			Valid bool `json:"valid"`
		}{b, true}
		return output(c).value(v, func(w io.Writer) {
			fmt.Fprintf(w, "bundle of %d items, all valid\n", len(b.Items))
			for _, v := range b.Items {
				printInspected(w, v, "  ")
			}
		})
	}
	v, err := i.item(raw, 0)
	if err != nil {
		return fmt.Errorf("invalid: %w", err)
	}
	return output(c).value(v, func(w io.Writer) { printInspected(w, v, "") })
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

// maxNesting is how deep bundles may lie in bundles.
const maxNesting = 8

// inspector counts down the items that it may still look at.
type inspector struct{ left int }

func (i *inspector) bundle(raw []byte, depth int) (*bundled, error) {
	if depth > maxNesting {
		return nil, ans104.ErrDepth
	}
	entries, err := ans104.ParseBundle(raw)
	if err != nil {
		return nil, err
	}
	out := &bundled{Bundle: true, Items: make([]inspected, 0, min(len(entries), 1024))}
	for n, e := range entries {
		v, err := i.item(e.Raw, depth)
		if err == nil && v.ID != e.ID.String() {
			err = fmt.Errorf("%w: the header says %s", ans104.ErrID, e.ID)
		}
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", n, err)
		}
		out.Items = append(out.Items, v)
	}
	return out, nil
}

func (i *inspector) item(raw []byte, depth int) (inspected, error) {
	if i.left--; i.left < 0 {
		return inspected{}, fmt.Errorf("%w: more than %d", ans104.ErrTooManyItems, maxItems)
	}
	it, err := ans104.Parse(raw)
	if err != nil {
		return inspected{}, err
	}
	if err := it.Verify(); err != nil {
		return inspected{}, err
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
	if it.IsBundle() {
		if v.bundled, err = i.bundle(it.Data(), depth+1); err != nil {
			return inspected{}, err
		}
	}
	return v, nil
}

func printInspected(w io.Writer, v inspected, indent string) {
	fmt.Fprintf(w, "%sitem    %s\n%ssigner  %s (type %d)\n", indent, v.ID, indent, v.OwnerAddress, v.SignatureType)
	if v.Target != "" {
		fmt.Fprintf(w, "%starget  %s\n", indent, v.Target)
	}
	for _, t := range v.Tags {
		fmt.Fprintf(w, "%s  %s: %s\n", indent, plain(t.Name), plain(t.Value))
	}
	fmt.Fprintf(w, "%sdata    %d bytes, SHA-256 %s\n", indent, v.DataLength, v.DataSHA256)
	if v.bundled != nil {
		for _, i := range v.Items {
			printInspected(w, i, indent+"  ")
		}
	}
}

// readFileArg reads a file or, for -, standard input, at most maxInspect bytes.
func readFileArg(c *cli.Command, path string) ([]byte, error) {
	if path != "-" {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, err
		case info.Size() > maxInspect:
			return nil, fmt.Errorf("read %s: more than %d MiB", path, maxInspect>>20)
		case info.Mode().IsRegular():
			return os.ReadFile(path)
		case info.IsDir():
			return nil, fmt.Errorf("read %s: it is a folder", path)
		}
	}
	r := c.Root().Reader
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxInspect+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(b) > maxInspect {
		return nil, fmt.Errorf("read %s: more than %d MiB", path, maxInspect>>20)
	}
	return b, nil
}
