package bench

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"sync"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/units/unitstest"
)

// itemSize is the size of a whole message item.
const itemSize = 1024

// wallet is one RSA-4096 key for all rows; making one takes seconds.
var wallet = sync.OnceValue(func() ans104.Signer {
	key, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		panic(err)
	}
	s, err := ans104.NewRSASigner(key)
	if err != nil {
		panic(err)
	}
	return s
})

// messages are the bytes of n different items for the targets in turn: of about itemSize, and more by what an RSA key and
// signature have more.
func messages(t testing.TB, s ans104.Signer, targets []ao.ID, round, n int) [][]byte {
	t.Helper()
	raws := make([][]byte, n)
	data := make([]byte, 0, itemSize)
	for i := range raws {
		data = data[:itemSize-222]
		if _, err := rand.Read(data); err != nil {
			t.Fatal(err)
		}
		tags := ao.Tags{{Name: "Action", Value: "Eval"}, {Name: "Number", Value: fmt.Sprintf("%d/%d", round, i)}}
		m, err := ao.SignMessage(s, targets[i%len(targets)], tags, data, nil)
		if err != nil {
			t.Fatal(err)
		}
		raws[i] = m.Raw()
	}
	return raws
}

func parse(raw []byte) *ans104.Item {
	it, err := ans104.Parse(raw)
	if err != nil {
		panic(err)
	}
	return it
}

// signedOf is what the primitives verify: the signatures of the items, as they stand.
func signedOf(raws [][]byte) []signed {
	list := make([]signed, len(raws))
	for i, raw := range raws {
		it := parse(raw)
		hash := it.DeepHash()
		list[i] = signed{key: it.Owner(), message: hash[:], signature: it.Signature()}
	}
	return list
}

func ans104Rows(t *testing.T) []Row {
	target := []ao.ID{unitstest.ID("process")}
	rsa := messages(t, wallet(), target, 0, 64)
	ed := messages(t, unitstest.Signer("user"), target, 0, 128)
	rsaSigned, edSigned := signedOf(rsa), signedOf(ed)
	return []Row{
		pair{
			rounds: 15, n: 128,
			ours: func(int, int) work {
				return func(n int) {
					for i := range n {
						if err := parse(rsa[i%len(rsa)]).Verify(); err != nil {
							panic(err)
						}
					}
				}
			},
			primitive: func(int, int) work {
				return func(n int) {
					for i := range n {
						s := rsaSigned[i%len(rsaSigned)]
						exponentiate(s.signature, s.key)
					}
				}
			},
		}.row(t, "rsa-4096 verify", "cpu us", 1.15),
		pair{
			rounds: 15, n: 512,
			ours: func(int, int) work {
				return func(n int) {
					for range n / len(ed) {
						items := make([]*ans104.Item, len(ed))
						for i, raw := range ed {
							items[i] = parse(raw)
						}
						for _, err := range ans104.VerifyBatch(items) {
							if err != nil {
								panic(err)
							}
						}
					}
				}
			},
			primitive: func(int, int) work {
				return func(n int) {
					for range n / len(edSigned) {
						verifyTogether(edSigned)
					}
				}
			},
		}.row(t, "ed25519 verify, batch of 128", "cpu us", 0),
		pair{
			rounds: 15, n: 256,
			ours: func(int, int) work {
				return func(n int) {
					for i := range n {
						if err := parse(ed[i%len(ed)]).Verify(); err != nil {
							panic(err)
						}
					}
				}
			},
			primitive: func(int, int) work {
				return func(n int) {
					for i := range n {
						verifyOne(edSigned[i%len(edSigned)])
					}
				}
			},
		}.row(t, "ed25519 verify, one by one", "cpu us", 0),
	}
}

// filled is a state of so many pages that are not zero, each fourth of its memory.
type filled struct{ pages []byte }

func (f filled) Len() uint64 { return uint64(len(f.pages)) * 4 }

func (f filled) Tail() []byte { return nil }

func (f filled) Pages(yield func(index uint32, page *[attest.PageSize]byte) bool) {
	for i := range len(f.pages) / attest.PageSize {
		if !yield(uint32(4*i), (*[attest.PageSize]byte)(f.pages[i*attest.PageSize:])) {
			return
		}
	}
}

func attestRows(t *testing.T) []Row {
	state := filled{make([]byte, 512*attest.PageSize)}
	if _, err := rand.Read(state.pages); err != nil {
		t.Fatal(err)
	}
	return []Row{pair{
		rounds: 9, n: 20,
		ours: func(int, int) work {
			return func(n int) {
				for range n {
					attest.StateRoot(state)
				}
			}
		},
		primitive: func(int, int) work {
			return func(n int) {
				for range n {
					hashPages(state.pages)
				}
			}
		},
	}.row(t, "state root from nothing, 512 pages", "cpu ms", 0)}
}
