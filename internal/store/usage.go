package store

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Usage is what a store holds.
type Usage struct {
	Disk    uint64 `json:"disk"`    // bytes on disk in all
	Journal uint64 `json:"journal"` // of them, the engine's journal
	Files   uint64 `json:"files"`   // of them, stored files
	Free    uint64 `json:"free"`    // bytes free on the disk; 0 if it does not say
	Parts   []Part `json:"parts"`
}

// Part is everything of one kind whose names begin alike, up to the first slash.
type Part struct {
	Kind  string `json:"kind"` // key, log, queue, view or file
	Name  string `json:"name"`
	Count int    `json:"count"` // keys, records, entries or files
	Bytes uint64 `json:"bytes"` // of keys and content, before the engine compresses them
}

type partName struct{ kind, name string }

// Usage implements Store.
func (d *database) Usage() (Usage, error) {
	if err := d.enter(); err != nil {
		return Usage{}, fmt.Errorf("measure store: %w", err)
	}
	defer d.gate.leave()
	parts := make(map[partName]*Part)
	add := func(kind, name string, bytes uint64) {
		k := partName{kind, name}
		if parts[k] == nil {
			parts[k] = &Part{Kind: kind, Name: name}
		}
		parts[k].Count++
		parts[k].Bytes += bytes
	}
	err := d.iterate(nil, nil, func(key, value []byte) (bool, error) {
		if kind, name := kindOf(key); kind != "" {
			add(kind, name, uint64(len(key)+len(value)))
		}
		return true, nil
	})
	if err != nil {
		return Usage{}, fmt.Errorf("measure store: %w", err)
	}
	m := d.db.Metrics()
	u := Usage{Journal: m.WAL.PhysicalSize, Disk: m.DiskSpaceUsage()}
	files, err := d.listFiles("")
	if err != nil {
		return Usage{}, fmt.Errorf("measure store: %w", err)
	}
	for _, f := range files {
		name, _, _ := strings.Cut(f.Name, "/")
		add("file", name, uint64(f.Size))
		u.Files += uint64(sizeOnDisk(f.Size))
	}
	u.Disk += u.Files
	if usage, err := d.fs.GetDiskUsage(d.dir); err == nil {
		u.Free = usage.AvailBytes
	}
	for _, p := range parts {
		u.Parts = append(u.Parts, *p)
	}
	slices.SortFunc(u.Parts, func(a, b Part) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return u, nil
}

// kindOf says where an engine key belongs; "" for what is not counted.
func kindOf(key []byte) (kind, name string) {
	first, _, _ := strings.Cut(string(key[1:]), "/")
	switch key[0] {
	case spaceValue:
		return "key", first
	case spaceRecord:
		first, _, _ = strings.Cut(first, "\x00")
		return "log", first
	case spaceQueued:
		first, _, _ = strings.Cut(first, "\x00")
		return "queue", first
	case '/':
		if namespace, err := hex.DecodeString(strings.TrimPrefix(first, "n")); err == nil {
			first = string(namespace)
		}
		return "view", first
	}
	return "", ""
}

// Compact implements Store.
func (d *database) Compact(ctx context.Context) error {
	if err := d.enter(); err != nil {
		return fmt.Errorf("compact store: %w", err)
	}
	defer d.gate.leave()
	if err := d.db.Compact(ctx, []byte{0}, []byte{0xff}, true); err != nil {
		return fmt.Errorf("compact store: %w", err)
	}
	return nil
}
