package wasmvm

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/aopeer/aopeer/attest"
)

// TestJournalModel drives a module that writes where its message says, marking and rolling back at random, and
// compares the memory with a plain copy of it.
func TestJournalModel(t *testing.T) {
	p := mustWat(t, testEngine(t), map[string]string{
		// message: address, value, pages to grow, whether to trap
		"data": `(data (i64.const 1000) "answer\00") (data (i64.const 70000) "some data that can be overwritten by zeros")`,
		"handle": `(drop (memory.grow (i64.load offset=16 (local.get 0))))
			(i64.store (i64.load (local.get 0)) (i64.load offset=8 (local.get 0)))
			(if (i32.wrap_i64 (i64.load offset=24 (local.get 0))) (then unreachable))
			i64.const 1000`,
	})
	for name, scan := range map[string]*pageScan{"page map": testScan(t), "comparing": nil} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			j := testJournal(t, p, scan)
			model := bytes.Clone(j.memory())
			follower := follow(nil, j.changes(true))
			var tree attest.PageTree
			tree.Update(j.changes(true))
			for step := range 600 {
				size := uint64(len(j.memory()))
				msg := make([]byte, 32)
				at := r.Uint64N(size - 8)
				switch r.IntN(4) {
				case 0:
					at = 70000 + r.Uint64N(64)
				case 1:
					at = at / PageSize % 8 * PageSize
				}
				binary.LittleEndian.PutUint64(msg, at)
				switch r.IntN(3) {
				case 1:
					binary.LittleEndian.PutUint64(msg[8:], r.Uint64())
				case 2: // two contents that a page swings between
					at = 80000 + r.Uint64N(6)*PageSize
					binary.LittleEndian.PutUint64(msg, at)
					binary.LittleEndian.PutUint64(msg[8:], 1+r.Uint64N(2))
				}
				if r.IntN(60) == 0 && size < 90*wasmPage {
					binary.LittleEndian.PutUint64(msg[16:], r.Uint64N(3))
				}
				if r.IntN(40) == 0 {
					msg[24] = 1
				}
				_, _, err := j.handle(msg, nil, MaxFuel)
				if err != nil || r.IntN(3) == 0 {
					if err := j.rollback(); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(j.memory(), model) {
						t.Fatalf("step %d: rollback left another state", step)
					}
					continue
				}
				dirty := j.mark()
				checkDirty(t, model, j.memory(), dirty)
				model = bytes.Clone(j.memory())
				if r.IntN(5) == 0 {
					c := j.changes(false)
					if follower = follow(follower, c); !bytes.Equal(follower, model) {
						t.Fatalf("step %d: the changes lead to another state", step)
					}
					if tree.Update(c) != attest.StateRoot(j.image()) {
						t.Fatalf("step %d: the tree has left the state", step)
					}
				}
				checkKept(t, j)
				if step%100 == 0 {
					checkImage(t, p, j.image(), model)
				}
			}
			checkImage(t, p, j.image(), model)
			if !bytes.Equal(follow(nil, j.changes(true)), model) || j.changes(false).Count() != 0 {
				t.Fatal("all changes are not the state")
			}
		})
	}
}

// checkKept counts what a journal keeps, and compares every leaf hash that it remembers with the page's.
func checkKept(t *testing.T, j *journal) {
	t.Helper()
	j.lock.Lock()
	defer j.lock.Unlock()
	owned, formers := 0, 0
	for index, s := range j.delta {
		for _, k := range []*kept{s.now, s.former} {
			if k == nil {
				continue
			}
			if !k.shared {
				owned++
			}
			if k.leaf != ([32]byte{}) && k.leaf != attest.LeafHash(k.page[:]) {
				t.Fatalf("page %d: the leaf is of another content", index)
			}
		}
		if s.former != nil {
			formers++
		}
	}
	if owned != j.owned || formers != j.formers {
		t.Fatalf("%d pages are kept and %d of them former ones, the journal says %d and %d", owned, formers, j.owned, j.formers)
	}
}

// TestFormersAreBounded: with no room for former contents a page's only copy is overwritten.
func TestFormersAreBounded(t *testing.T) {
	p := mustWat(t, testEngine(t), map[string]string{
		"handle": `(i64.store (i64.load (local.get 0)) (i64.load offset=8 (local.get 0))) i64.const 1000`,
	})
	j := testJournal(t, p, testScan(t))
	j.formers = maxFormers // as if other pages had taken all
	var tree attest.PageTree
	tree.Update(j.changes(true))
	owned := j.owned
	for value := range uint64(6) {
		var msg [16]byte
		binary.LittleEndian.PutUint64(msg[:], 90000)
		binary.LittleEndian.PutUint64(msg[8:], 1+value%2)
		if _, _, err := j.handle(msg[:], nil, MaxFuel); err != nil {
			t.Fatal(err)
		}
		j.mark()
		if tree.Update(j.changes(false)) != attest.StateRoot(j.image()) {
			t.Fatal("the tree has left the state")
		}
	}
	if j.formers != maxFormers || j.owned > owned+4 { // the stack's pages, the one written to
		t.Errorf("%d former contents, %d pages after %d", j.formers-maxFormers, j.owned, owned)
	}
}

// TestFormersOfFewAreKept: the process marked longest ago loses its former contents, beside whatever goes on, and no state.
func TestFormersOfFewAreKept(t *testing.T) {
	p := mustWat(t, testEngine(t), map[string]string{
		"handle": `(i64.store (i64.load (local.get 0)) (i64.load offset=8 (local.get 0))) i64.const 1000`,
	})
	var s swinging
	var journals []*journal
	trees := make([]attest.PageTree, maxSwinging+3)
	for range trees {
		journals = append(journals, testJournal(t, p, testScan(t)))
	}
	round := func(value uint64) {
		for i, j := range journals {
			var msg [16]byte
			binary.LittleEndian.PutUint64(msg[:], 90000)
			binary.LittleEndian.PutUint64(msg[8:], value)
			if _, _, err := j.handle(msg[:], nil, MaxFuel); err != nil {
				t.Fatal(err)
			}
			j.mark()
			s.touch(j)
			checkKept(t, j)
			if trees[i].Update(j.changes(value == 1)) != attest.StateRoot(j.image()) {
				t.Fatal("the tree has left the state")
			}
		}
	}
	round(1)
	full := journals[0].footprint() + PageSize // a second content of the page written to
	round(2)
	var beside sync.WaitGroup
	for _, j := range journals {
		beside.Go(j.shed)
	}
	round(3)
	beside.Wait()
	round(4)
	for i, j := range journals {
		want := i >= len(journals)-maxSwinging
		if got := j.formers > 0; got != want || want && j.footprint() < full {
			t.Errorf("process %d of %d has former contents: %v, and takes %d bytes", i, len(journals), got, j.footprint())
		}
	}
	for _, j := range journals {
		s.drop(j)
	}
	if len(s.journals) != 0 {
		t.Errorf("%d closed processes are remembered", len(s.journals))
	}
}

// follow takes changes over into a copy of the memory that they were made to.
func follow(mem []byte, c *Changes) []byte {
	mem = append(mem, make([]byte, c.Len()-uint64(len(mem)))...)
	for index, p := range c.Pages {
		copy(mem[int(index)*PageSize:], p[:])
	}
	return mem
}

func checkDirty(t *testing.T, before, after []byte, dirty []uint32) {
	t.Helper()
	before = append(bytes.Clone(before), make([]byte, len(after)-len(before))...)
	for i := range len(after) / PageSize {
		changed := !bytes.Equal(before[i*PageSize:][:PageSize], after[i*PageSize:][:PageSize])
		listed := len(dirty) > 0 && dirty[0] == uint32(i)
		if changed != listed {
			t.Fatalf("page %d changed %v, listed %v", i, changed, listed)
		}
		if listed {
			dirty = dirty[1:]
		}
	}
}

// checkImage saves an image, loads it and restores it.
func checkImage(t *testing.T, p program, img *Image, want []byte) {
	t.Helper()
	file, err := img.Encode()
	if err != nil {
		t.Fatal(err)
	}
	img, err = DecodeImage(file, testLimit)
	if err != nil {
		t.Fatal(err)
	}
	inst, err := p.restore(img, testLimit)
	if err != nil {
		t.Fatal(err)
	}
	defer inst.close()
	if !bytes.Equal(inst.memory(), want) {
		t.Fatal("restored memory differs")
	}
	if again := captureImage(inst.memory(), nil); !bytes.Equal(again.pages, img.pages) || again.Len() != img.Len() {
		t.Fatal("image of a restored instance differs")
	}
}
