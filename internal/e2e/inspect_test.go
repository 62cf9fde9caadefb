//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// What item inspect may use, whatever it is given. Time is the processors': how long they are busy elsewhere is not its.
const (
	inspectMemory = 256 << 20
	inspectTime   = 5 * time.Second
)

// TestInspectHostileFiles looks at files that were made to harm. They are written by another process: what this one
// holds when it starts the command would count as the command's memory.
func TestInspectHostileFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestWriteHostileFiles$")
	write.Env = append(os.Environ(), hostileFolder+"="+dir)
	if out, err := write.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var files []hostileFile
	readJSON(t, filepath.Join(dir, "index.json"), &files)
	if len(files) < 20 {
		t.Fatalf("%d files were written", len(files))
	}
	for _, f := range files {
		t.Run(f.Name, func(t *testing.T) {
			inspectFile(t, f.Valid, nil, f.Path, "--json")
			if inspectFile(t, f.Valid, nil, f.Path); f.Valid {
				return
			}
			in, err := os.Open(f.Path)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			inspectFile(t, f.Valid, in, "-", "--json")
		})
	}
	t.Run("folder", func(t *testing.T) { inspectFile(t, false, nil, dir) })
	t.Run("missing", func(t *testing.T) { inspectFile(t, false, nil, filepath.Join(dir, "missing")) })
	t.Run("empty input", func(t *testing.T) { inspectFile(t, false, nil, "-") })
	t.Run("endless device", func(t *testing.T) { inspectFile(t, false, nil, "/dev/zero") })
}

// inspectFile runs the command and holds it to its bounds.
func inspectFile(t *testing.T, valid bool, stdin *os.File, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append([]string{"item", "inspect"}, args...)...)
	var errs bytes.Buffer
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if cmd.Stdout, cmd.Stderr = out, &errs; stdin != nil {
		cmd.Stdin = stdin
	}
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if took := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(); took > inspectTime {
		t.Errorf("%v: took %v", args, took)
	}
	if rss := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10; rss > inspectMemory {
		t.Errorf("%v: used %d MiB", args, rss>>20)
	}
	want := 1
	if valid {
		want = 0
	}
	if code := cmd.ProcessState.ExitCode(); code != want || strings.Contains(errs.String(), "goroutine") {
		t.Errorf("%v: exit %d, want %d: %.500s", args, code, want, &errs)
	}
	if lines := strings.Count(errs.String(), "aopeer: "); lines != want {
		t.Errorf("%v: %d lines of reason, want %d: %.500s", args, lines, want, &errs)
	}
}

// hostileFolder is the variable that makes TestWriteHostileFiles write.
const hostileFolder = "AOPEER_HOSTILE_FILES"

type hostileFile struct {
	Name, Path string
	Valid      bool
}

// TestWriteHostileFiles is the other process.
func TestWriteHostileFiles(t *testing.T) {
	dir := os.Getenv(hostileFolder)
	if dir == "" {
		t.Skip("run by TestInspectHostileFiles")
	}
	var index []hostileFile
	write := func(name string, raw []byte, valid bool) {
		f := hostileFile{Name: name, Path: filepath.Join(dir, strconv.Itoa(len(index))), Valid: valid}
		if err := os.WriteFile(f.Path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		index = append(index, f)
	}
	writeHostileFiles(t, write)
	b, err := json.Marshal(index)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "index.json"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func writeHostileFiles(t *testing.T, write func(name string, raw []byte, valid bool)) {
	t.Helper()
	key := ans104.NewEd25519Signer(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	sign := func(f ans104.Fields) *ans104.Item {
		it, err := ans104.Sign(key, f)
		if err != nil {
			t.Fatal(err)
		}
		return it
	}
	wrap := func(raw []byte) *ans104.Item {
		return sign(ans104.Fields{Data: raw, Tags: []ans104.Tag{
			{Name: "Bundle-Format", Value: "binary"}, {Name: "Bundle-Version", Value: "2.0.0"},
		}})
	}
	nest := func(raw []byte, levels int) []byte {
		for range levels {
			raw = ans104.BuildBundle([]*ans104.Item{wrap(raw)})
		}
		return raw
	}
	tiny := sign(ans104.Fields{})
	many := func(it *ans104.Item, n int) []byte {
		items := make([]*ans104.Item, n)
		for i := range items {
			items[i] = it
		}
		return ans104.BuildBundle(items)
	}
	header := func(count uint64) []byte {
		return binary.LittleEndian.AppendUint64(nil, count)
	}
	// An Ed25519 item's fixed part: type, signature, owner, no target, no anchor; then count and length of the tags.
	claiming := func(count, length uint64, size int) []byte {
		b := make([]byte, 2+64+32+2)
		b[0] = 2
		b = binary.LittleEndian.AppendUint64(b, count)
		b = binary.LittleEndian.AppendUint64(b, length)
		return append(b, make([]byte, size-len(b))...)
	}
	random := make([]byte, 4<<20)
	rand.New(rand.NewSource(1)).Read(random)
	unprintable := make([]ans104.Tag, 0, 3)
	for i := range 3 {
		unprintable = append(unprintable, ans104.Tag{
			Name: strings.Repeat("\x01", 1000) + string(rune('a'+i)), Value: strings.Repeat("\x02", 350),
		})
	}
	loud := sign(ans104.Fields{Tags: unprintable})
	whole := sign(ans104.Fields{Target: make([]byte, 32), Data: []byte("data"), Tags: []ans104.Tag{{Name: "a", Value: "b"}}}).Raw()

	write("64 MiB of zeros", make([]byte, 64<<20), false)
	write("more than 64 MiB", make([]byte, 64<<20+1), false)
	write("2^40 items", append(header(1<<40), make([]byte, 64)...), false)
	write("2^64-1 items", append(header(1<<64-1), make([]byte, 64)...), false)
	write("a million items of nothing", append(append(header(1<<20-1), make([]byte, 24)...), make([]byte, 64*(1<<20-1))...), false)
	write("4 GB of tags in 185 bytes", claiming(1, 4<<30, 185), false)
	write("2^63 tags in 185 bytes", claiming(1<<63, 16, 185), false)
	write("a tag block of 60 MiB", claiming(128, 60<<20, 61<<20), false)
	write("random", random, false)
	write("random behind a type", append([]byte{1, 0}, random...), false)
	write("nothing", nil, false)
	write("a bundle in 8 levels", nest(many(tiny, 2), 7), true)
	write("a bundle in 9 levels", nest(many(tiny, 2), 8), false)
	write("a bundle in 2000 levels", nest(many(tiny, 2), 2000), false)
	write("10000 items", many(tiny, 10_000), true)
	write("10001 items", many(tiny, 10_001), false)
	ethereum, err := ans104.NewEthereumSigner(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	coin, err := ans104.Sign(ethereum, ans104.Fields{})
	if err != nil {
		t.Fatal(err)
	}
	write("10000 items by an Ethereum key", many(coin, 10_000), true)
	write("20001 items", many(tiny, 20_001), false)
	write("10002 items in two levels", ans104.BuildBundle([]*ans104.Item{wrap(many(tiny, 5_000)), wrap(many(tiny, 5_000))}), false)
	big := ans104.BuildBundle([]*ans104.Item{sign(ans104.Fields{Data: make([]byte, 60<<20)})})
	write("4 levels of 60 MiB", nest(big, 3), true)
	write("8 levels of 60 MiB", nest(big, 7), false)
	write("tags that swell when printed", many(loud, 10_000), true)
	for _, n := range []int{1, 2, 65, 66, 98, 99, 132, 133, 140, len(whole) - 5} {
		write("the first "+strconv.Itoa(n)+" bytes", whole[:n], false)
	}
}
