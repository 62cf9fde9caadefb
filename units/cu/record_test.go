package cu

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/wasmvm"
)

func sample(t testing.TB) *outcome {
	t.Helper()
	r, err := ao.ParseResponse([]byte(`{"ok":true,"response":{"Output":"x","Messages":[{"Target":"t","Data":"d"}],"Spawns":[{}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.GasUsed = 7
	return &outcome{result: r, claim: attest.Claim{
		Network: "n", Process: ao.ID{1}, Nonce: 5, Message: ao.ID{2}, Head: attest.Hash{3}, Result: attest.ResultDigest(r), Profile: "p",
	}}
}

func noFile() ([]byte, error) { return nil, os.ErrNotExist }

func TestOutcomeEncoding(t *testing.T) {
	want := sample(t)
	raw, file := want.encode()
	if file != nil {
		t.Error("a small result has a file")
	}
	got, err := decodeOutcome(raw, noFile)
	if err != nil || !bytes.Equal(got.result.Encode(), want.result.Encode()) || !bytes.Equal(got.claim.Bytes(), want.claim.Bytes()) {
		t.Errorf("read back %+v, %v", got, err)
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		o, err := decodeOutcome(bad, noFile)
		if err == nil && bytes.Equal(o.claim.Bytes(), want.claim.Bytes()) && o.result.GasUsed == want.result.GasUsed {
			t.Errorf("a flipped bit in byte %d goes unnoticed", i)
		}
		if _, err := decodeOutcome(raw[:i], noFile); !errors.Is(err, errRecord) {
			t.Errorf("cut to %d bytes: %v, want errRecord", i, err)
		}
	}
}

func FuzzOutcome(f *testing.F) {
	raw, _ := sample(f).encode()
	f.Add(raw)
	f.Add([]byte{recordVersion})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := decodeOutcome(raw, noFile)
		if err != nil {
			if !errors.Is(err, errRecord) {
				t.Errorf("error %v, want errRecord", err)
			}
			return
		}
		if attest.ResultDigest(o.result) != o.claim.Result {
			t.Error("the result is not the one that was claimed")
		}
	})
}

func sampleCheckpoint(t testing.TB) []byte {
	t.Helper()
	img, err := wasmvm.DecodeImage(smallImage(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	c := checkpoint{cursor: ao.NewCursor(ao.ID{1}), root: attest.Hash{2}, profile: "p", image: img}
	c.cursor.Next, c.cursor.Timestamp, c.cursor.Height = 5, 6, 7
	raw, err := c.encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// smallImage is the file of a state of one page.
func smallImage() []byte {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	page := make([]byte, wasmvm.PageSize)
	page[0] = 1
	packed := enc.EncodeAll(page, nil)
	b := []byte("AOPIMG\x00\x01")
	b = binary.LittleEndian.AppendUint64(b, 1<<16)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(packed)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	return seal(append(b, packed...))
}

// seal appends the digest that files end with.
func seal(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func TestCheckpointEncoding(t *testing.T) {
	raw := sampleCheckpoint(t)
	c, err := decodeCheckpoint(raw)
	if err != nil || c.cursor.Next != 5 || c.last.Nonce != 4 || c.last.Timestamp != 6 || c.last.BlockHeight != 7 ||
		c.root != (attest.Hash{2}) || c.profile != "p" || c.cursor.Link != ao.FirstLink(ao.ID{1}) {
		t.Errorf("read back %+v, %v", c, err)
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 0x80
		if _, err := decodeCheckpoint(bad); !errors.Is(err, errCheckpoint) {
			t.Errorf("a flipped bit in byte %d: %v, want errCheckpoint", i, err)
		}
		if _, err := decodeCheckpoint(raw[:i]); err == nil {
			t.Errorf("cut to %d bytes it is taken", i)
		}
	}
}

func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte(checkpointMagic))
	f.Add(bytes.Repeat([]byte{0}, 400))
	f.Fuzz(func(t *testing.T, body []byte) {
		// Sealed, so that the fuzzer gets past the digest.
		if _, err := decodeCheckpoint(seal(append([]byte(checkpointMagic), body...))); err != nil {
			if !errors.Is(err, errCheckpoint) && !errors.Is(err, wasmvm.ErrImage) {
				t.Errorf("error %v", err)
			}
		}
	})
}

func TestJournal(t *testing.T) {
	s := store.NewMemory()
	defer s.Close()
	c := sample(t).claim
	digest, other := attest.Hash{1}, attest.Hash{2}
	j := newJournal(s)
	var b store.Batch
	if _, err := j.stage(&b, journalKey(c), digest); err != nil {
		t.Fatal(err)
	}
	if err := j.Record(c, other); !errors.Is(err, attest.ErrContradiction) {
		t.Errorf("%v, want ErrContradiction while the first is on its way", err)
	}
	if err := j.Record(c, digest); err != nil {
		t.Errorf("the same claim again: %v", err)
	}
	for _, j := range []*journal{j, newJournal(s)} {
		if err := j.Record(c, other); !errors.Is(err, attest.ErrContradiction) {
			t.Errorf("%v, want ErrContradiction", err)
		}
		if err := j.Record(c, digest); err != nil {
			t.Errorf("the same claim again: %v", err)
		}
	}
	fork := c
	fork.Head[0]++
	if err := j.Record(fork, other); err != nil {
		t.Errorf("another head is another statement: %v", err)
	}
	// Of two batches with the same claim the first one's failure does not free the second one's way.
	c.Nonce++
	for range 2 {
		if _, err := j.stage(&b, journalKey(c), digest); err != nil {
			t.Fatal(err)
		}
	}
	j.settle(journalKey(c))
	if err := j.Record(c, other); !errors.Is(err, attest.ErrContradiction) {
		t.Errorf("%v, want ErrContradiction while one of two is on its way", err)
	}
	j.settle(journalKey(c))
	// A staged claim that never got to the disk does not bind.
	c.Nonce++
	if _, err := j.stage(&b, journalKey(c), digest); err != nil {
		t.Fatal(err)
	}
	j.settle(journalKey(c))
	if err := j.Record(c, other); err != nil {
		t.Errorf("after the first was given up: %v", err)
	}
}

// TestEveryErrorHasACode: what this package can fail with is never answered as internal.
func TestEveryErrorHasACode(t *testing.T) {
	for _, row := range codes() {
		if r := refusal(errors.Join(errors.New("x"), row.err)); r.Code != row.code || r.Hop != hop {
			t.Errorf("%v becomes %v, want %s", row.err, r, row.code)
		}
		if ao.RemedyOf(row.code) == "" {
			t.Errorf("%s is not in the table", row.code)
		}
	}
	if r := refusal(&badSlot{slot: 3, err: errSigner}); r.Code != ao.BadLog {
		t.Errorf("a bad slot becomes %v", r)
	}
	if r := refusal(ao.Refuse("schedule", ao.NotYet, "x")); r.Hop != hop || r.Code != ao.NotYet {
		t.Errorf("a refusal of another hop becomes %v", r)
	}
	if _, err := json.Marshal(Status{}); err != nil {
		t.Error(err)
	}
}
