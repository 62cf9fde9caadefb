package attest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

func TestBatch(t *testing.T) {
	state := fill(5)
	for _, n := range []int{1, 2, 3, 7, 8, MaxBatch} {
		for _, root := range []*Hash{nil, &state} {
			cs := claims(10, n)
			b, err := SignBatch(signer("unit"), cs, root)
			check(t, err)
			var leaves [][]byte
			var data []byte
			for _, c := range cs {
				leaves = append(leaves, c.Bytes())
				data = append(binary.BigEndian.AppendUint16(data, uint16(len(c.Bytes()))), c.Bytes()...)
			}
			want := []ans104.Tag{
				{Name: "Data-Protocol", Value: "ao"},
				{Name: "Type", Value: "Result-Claim-Batch"},
				{Name: "Network", Value: "testnet"},
				{Name: "Process", Value: ao.ID(fill(1)).String()},
				{Name: "From-Nonce", Value: "10"},
				{Name: "To-Nonce", Value: ao.Slot(9 + n).String()},
				{Name: "Claim-Root", Value: ao.ID(naive(leaves)).String()},
			}
			if root != nil {
				want = append(want, ans104.Tag{Name: "State-Root", Value: ao.ID(state).String()})
			}
			if it := b.Item(); !slices.Equal(it.Tags(), want) || !bytes.Equal(it.Data(), data) {
				t.Errorf("tags %q", it.Tags())
			}
			parsed, err := ParseBatch(b.Item().Raw())
			check(t, err)
			for _, b := range []Batch{b, parsed} {
				if !reflect.DeepEqual(b.Claims(), cs) || !reflect.DeepEqual(b.State(), root) || b.Unit() != address(t, signer("unit")) {
					t.Fatalf("batch of %d: %d claims of %s, state %v", n, len(b.Claims()), b.Unit(), b.State())
				}
			}
			for _, i := range []int{0, n / 2, n - 1} {
				p := parsed.Prove(i)
				c, unit, err := p.Check()
				check(t, err)
				if !reflect.DeepEqual(c, cs[i]) || unit != b.Unit() {
					t.Errorf("proof of %d gives %+v of %s", i, c, unit)
				}
				if len(p.Path) > 10 || p.Head.DataLength != int64(len(data)) {
					t.Errorf("%d hashes", len(p.Path))
				}
				if size := proofSize(p); size > 1024+10*32 {
					t.Errorf("a proof of %d bytes", size)
				}
			}
		}
	}
}

// proofSize is what a proof is made of, in bytes.
func proofSize(p Proof) int {
	h := p.Head
	return len(h.Signature) + len(h.Owner) + len(h.Target) + len(h.Anchor) + len(h.RawTags) + len(h.DataSHA384) + 8 + 8 + 2 + len(p.Claim) + 32*len(p.Path)
}

func TestSignBatchRefuses(t *testing.T) {
	change := func(f func([]Claim)) []Claim {
		cs := claims(10, 3)
		f(cs)
		return cs
	}
	for name, cs := range map[string][]Claim{
		"none":            {},
		"too many":        claims(0, MaxBatch+1),
		"gap":             change(func(cs []Claim) { cs[2].Nonce++ }),
		"repeated":        change(func(cs []Claim) { cs[2].Nonce-- }),
		"backwards":       change(func(cs []Claim) { cs[0], cs[2] = cs[2], cs[0] }),
		"another process": change(func(cs []Claim) { cs[1].Process = ao.ID(fill(9)) }),
		"another network": change(func(cs []Claim) { cs[2].Network = "other" }),
		"no network":      change(func(cs []Claim) { cs[0].Network, cs[1].Network, cs[2].Network = "", "", "" }),
		"long profile":    change(func(cs []Claim) { cs[1].Profile = string(make([]byte, MaxProfile+1)) }),
		"past the end":    claims(math.MaxUint64-1, 3),
	} {
		s := &counter{Signer: signer("unit")}
		if _, err := SignBatch(s, cs, nil); !errors.Is(err, ErrClaim) || s.signed != 0 {
			t.Errorf("%s: %v, %d signatures", name, err, s.signed)
		}
	}
	_, err := SignBatch(signer("unit"), claims(math.MaxUint64-2, 3), nil)
	check(t, err)
}

// batchFields are those of a sound batch, for a test to spoil.
func batchFields(cs []Claim) ans104.Fields {
	var f ans104.Fields
	leaves := make([]Hash, len(cs))
	for i, c := range cs {
		b := c.Bytes()
		leaves[i] = LeafHash(b)
		f.Data = append(binary.BigEndian.AppendUint16(f.Data, uint16(len(b))), b...)
	}
	f.Tags = rangeOf(cs, Root(leaves), nil).tags()
	return f
}

func TestParseBatchStrictly(t *testing.T) {
	sign := func(cs []Claim, change func(*ans104.Fields)) []byte {
		f := batchFields(cs)
		change(&f)
		it, err := ans104.Sign(signer("unit"), f)
		check(t, err)
		return it.Raw()
	}
	keep := func(*ans104.Fields) {}
	tag := func(name, value string) func(*ans104.Fields) {
		return func(f *ans104.Fields) {
			for i := range f.Tags {
				if f.Tags[i].Name == name {
					f.Tags[i].Value = value
					return
				}
			}
			f.Tags = append(f.Tags, ans104.Tag{Name: name, Value: value})
		}
	}
	three := claims(10, 3)
	_, err := ParseBatch(sign(three, keep))
	check(t, err)
	for name, change := range map[string]func(*ans104.Fields){
		"protocol":      tag("Data-Protocol", "x"),
		"type":          tag("Type", TypeClaim),
		"network":       tag("Network", "other"),
		"process":       tag("Process", ao.ID(fill(9)).String()),
		"from":          tag("From-Nonce", "9"),
		"from, long":    tag("From-Nonce", "010"),
		"to":            tag("To-Nonce", "13"),
		"to before":     tag("To-Nonce", "9"),
		"to, none":      tag("To-Nonce", ""),
		"root":          tag("Claim-Root", ao.ID(fill(9)).String()),
		"root, none":    tag("Claim-Root", ""),
		"bad state":     tag("State-Root", "x"),
		"one more":      tag("X", "1"),
		"twice":         func(f *ans104.Fields) { f.Tags = append(f.Tags, f.Tags[6]) },
		"order":         func(f *ans104.Fields) { f.Tags[2], f.Tags[3] = f.Tags[3], f.Tags[2] },
		"target":        func(f *ans104.Fields) { f.Target = make([]byte, 32) },
		"anchor":        func(f *ans104.Fields) { f.Anchor = make([]byte, 32) },
		"no data":       func(f *ans104.Fields) { f.Data = nil },
		"byte more":     func(f *ans104.Fields) { f.Data = append(f.Data, 0) },
		"two more":      func(f *ans104.Fields) { f.Data = append(f.Data, 0, 0) },
		"byte less":     func(f *ans104.Fields) { f.Data = f.Data[:len(f.Data)-1] },
		"length beyond": func(f *ans104.Fields) { f.Data[0] = 0xff },
		"claim less":    func(f *ans104.Fields) { f.Data = batchFields(three[:2]).Data },
	} {
		if _, err := ParseBatch(sign(three, change)); !errors.Is(err, ErrClaim) {
			t.Errorf("%s: %v", name, err)
		}
	}
	gap := claims(10, 3)
	gap[2].Nonce++
	for name, raw := range map[string][]byte{"gap": sign(gap, keep), "1025": sign(claims(0, MaxBatch+1), keep), "empty lengths": sign(three, func(f *ans104.Fields) { f.Data = make([]byte, 4096) })} {
		_, err := ParseBatch(raw)
		if wantErr(t, err, ErrClaim); err == nil {
			t.Error(name)
		}
	}
	raw := sign(three, keep)
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		if _, err := ParseBatch(bad); err == nil {
			t.Fatalf("byte %d can be changed", i)
		}
	}
}

func TestProofTampering(t *testing.T) {
	state := fill(5)
	b, err := SignBatch(signer("unit"), claims(10, 5), &state)
	check(t, err)
	flip := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)/2] ^= 1
		return b
	}
	other, err := SignBatch(signer("unit"), claims(11, 5), nil)
	check(t, err)
	stranger, err := SignBatch(signer("stranger"), claims(10, 5), &state)
	check(t, err)
	for name, change := range map[string]func(*Proof){
		"type":          func(p *Proof) { p.Head.Type = ans104.Solana },
		"unknown type":  func(p *Proof) { p.Head.Type = 99 },
		"signature":     func(p *Proof) { p.Head.Signature = flip(p.Head.Signature) },
		"no signature":  func(p *Proof) { p.Head.Signature = nil },
		"owner":         func(p *Proof) { p.Head.Owner = stranger.Item().Owner() },
		"target":        func(p *Proof) { p.Head.Target = make([]byte, 32) },
		"anchor":        func(p *Proof) { p.Head.Anchor = make([]byte, 32) },
		"tag count":     func(p *Proof) { p.Head.TagCount-- },
		"huge count":    func(p *Proof) { p.Head.TagCount = math.MaxUint64 },
		"tags":          func(p *Proof) { p.Head.RawTags = flip(p.Head.RawTags) },
		"data length":   func(p *Proof) { p.Head.DataLength++ },
		"negative":      func(p *Proof) { p.Head.DataLength = -1 },
		"data":          func(p *Proof) { p.Head.DataSHA384[0] ^= 1 },
		"claim":         func(p *Proof) { p.Claim = flip(p.Claim) },
		"no claim":      func(p *Proof) { p.Claim = nil },
		"claim's end":   func(p *Proof) { p.Claim = append(bytes.Clone(p.Claim), 0) },
		"another claim": func(p *Proof) { p.Claim = b.Prove(3).Claim },
		"another path":  func(p *Proof) { p.Path = b.Prove(3).Path },
		"no path":       func(p *Proof) { p.Path = nil },
		"longer path":   func(p *Proof) { p.Path = append(slices.Clone(p.Path), Hash{}) },
		"another batch": func(p *Proof) { p.Head = other.Item().Head() },
		"zero":          func(p *Proof) { *p = Proof{} },
	} {
		p := b.Prove(2)
		change(&p)
		if c, unit, err := p.Check(); err == nil || unit != "" || !reflect.DeepEqual(c, Claim{}) {
			t.Errorf("%s: %+v of %q, %v", name, c, unit, err)
		}
	}
	if _, _, err := b.Prove(2).Check(); err != nil {
		t.Errorf("untouched: %v", err)
	}
}

// A unit's own key signs the head, so what the head says beside a batch's tags must not count either.
func TestProofOfAnotherItem(t *testing.T) {
	cs := claims(10, 4)
	prove := func(change func(*ans104.Fields)) Proof {
		f := batchFields(cs)
		change(&f)
		it, err := ans104.Sign(signer("unit"), f)
		check(t, err)
		leaves := make([]Hash, len(cs))
		for i, c := range cs {
			leaves[i] = LeafHash(c.Bytes())
		}
		return Proof{Head: it.Head(), Claim: cs[1].Bytes(), Path: Path(leaves, 1)}
	}
	_, _, err := prove(func(*ans104.Fields) {}).Check()
	check(t, err)
	for name, change := range map[string]func(*ans104.Fields){
		"message":  func(f *ans104.Fields) { f.Tags[1].Value = ao.TypeMessage },
		"protocol": func(f *ans104.Fields) { f.Tags[0].Value = "x" },
		"network":  func(f *ans104.Fields) { f.Tags[2].Value = "other" },
		"process":  func(f *ans104.Fields) { f.Tags[3].Value = ao.ID(fill(9)).String() },
		"later":    func(f *ans104.Fields) { f.Tags[4].Value = "12" },
		"earlier":  func(f *ans104.Fields) { f.Tags[5].Value = "10" },
		"too long": func(f *ans104.Fields) { f.Tags[5].Value = "1034" },
		"tag more": func(f *ans104.Fields) { f.Tags = append(f.Tags, ans104.Tag{Name: "Action", Value: "Transfer"}) },
		"target":   func(f *ans104.Fields) { f.Target = make([]byte, 32) },
		"anchor":   func(f *ans104.Fields) { f.Anchor = make([]byte, 32) },
		"root":     func(f *ans104.Fields) { f.Tags[6].Value = "x" },
		"state":    func(f *ans104.Fields) { f.Tags = append(f.Tags, ans104.Tag{Name: "State-Root", Value: "x"}) },
		"no tags":  func(f *ans104.Fields) { f.Tags = nil },
	} {
		if _, _, err := prove(change).Check(); !errors.Is(err, ErrClaim) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, _, err = prove(func(f *ans104.Fields) { f.Tags[6].Value = ao.ID(fill(9)).String() }).Check()
	wantErr(t, err, ErrProof)
}

func BenchmarkProof(b *testing.B) {
	batch, err := SignBatch(signer("unit"), claims(0, MaxBatch), nil)
	check(b, err)
	p := batch.Prove(700)
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := p.Check(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("primitive/verify", func(b *testing.B) {
		for b.Loop() {
			if err := p.Head.Verify(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
