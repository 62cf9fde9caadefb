package market

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

func TestOfferComesBack(t *testing.T) {
	for r := range roles {
		tm := terms(5)
		tm.Role = r
		tm.Prices = Parts{}
		for i := range PartNames(r) {
			tm.Prices[i] = uint64(math.MaxInt64 - i)
		}
		o := offerOf(t, "unit", tm)
		got, err := ParseOffer(o.Raw())
		check(t, err)
		if !reflect.DeepEqual(got.Terms(), tm) {
			t.Errorf("%s: %+v, want %+v", r, got.Terms(), tm)
		}
		if got.Peer() != peerOf("unit") || got.Peer().String() != o.item.OwnerAddress() || !bytes.Equal(got.Key(), signer("unit").Owner()) || got.ID() != o.ID() {
			t.Error("another seller")
		}
	}
}

func TestOfferRefused(t *testing.T) {
	long := strings.Repeat("x", 200)
	for _, c := range []struct {
		name string
		bad  func(*Terms)
		want Reason
	}{
		{"network", func(o *Terms) { o.Network = "Test Net" }, BadShape},
		{"role", func(o *Terms) { o.Role = roles }, BadShape},
		{"life", func(o *Terms) { o.Expires = o.Sequence + MaxOfferLife + 1 }, TooLongLived},
		{"backwards", func(o *Terms) { o.Expires = o.Sequence - 1 }, BadShape},
		{"negative", func(o *Terms) { o.Sequence = -1 }, BadShape},
		{"far", func(o *Terms) { o.Sequence = math.MaxInt64 }, BadShape},
		{"overflow", func(o *Terms) { o.Prices[CUBase] = 1 << 63 }, Absurd},
		{"foreign part", func(o *Terms) { o.Prices[SUWindow] = 1 }, BadShape},
		{"memory", func(o *Terms) { o.Memory = 1 << 60 }, Absurd},
		{"region", func(o *Terms) { o.Region = "e u" }, BadShape},
		{"format", func(o *Terms) { o.Formats = []string{long} }, BadShape},
		{"blank", func(o *Terms) { o.Extensions = []string{"a b"} }, BadShape},
		{"formats", func(o *Terms) { o.Formats = slices.Repeat([]string{"f"}, 9) }, TooLarge},
		{"ledgers", func(o *Terms) { o.Ledgers = make([]ao.ID, 9) }, TooLarge},
		{"address", func(o *Terms) { o.Addrs = []string{"192.0.2.1"} }, BadShape},
		{"addresses", func(o *Terms) { o.Addrs = slices.Repeat([]string{"/ip4/192.0.2.1"}, 9) }, TooLarge},
	} {
		tm := terms(5)
		c.bad(&tm)
		_, err := SignOffer(signer("unit"), tm)
		if ReasonOf(err) != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	_, err := SignOffer(ans104.NewSolanaSigner(nil), terms(1))
	wantErr(t, err, BadSignature)
}

// What a hostile seller can sign without SignOffer.
func TestOfferHostileBytes(t *testing.T) {
	s := signer("unit")
	body := `{"prices":{"base":"5"},"capacity":1,"addrs":[]}`
	for _, c := range []struct {
		name, data string
		tags       func([]ans104.Tag) []ans104.Tag
		want       Reason
	}{
		{"sound, with what nobody knows", `{"prices":{"base":"5","moon":"x"},"capacity":1,"addrs":[],"later":{}}`, nil, ""},
		{"10^77", `{"prices":{"base":"1` + strings.Repeat("0", 77) + `"}}`, nil, Absurd},
		{"2^63", `{"prices":{"base":"9223372036854775808"}}`, nil, Absurd},
		{"negative", `{"prices":{"base":"-1"}}`, nil, Absurd},
		{"fraction", `{"prices":{"base":"1.5"}}`, nil, Absurd},
		{"number", `{"prices":{"base":1}}`, nil, BadShape},
		{"zero", `{"prices":{"base":"05"}}`, nil, Absurd},
		{"empty", `{"prices":{"base":""}}`, nil, Absurd},
		{"null", `{"prices":null}`, nil, BadShape},
		{"no prices", `{"capacity":1}`, nil, BadShape},
		{"list", `[]`, nil, BadShape},
		{"capacity", `{"prices":{},"capacity":-1}`, nil, BadShape},
		{"tag twice", body, func(x []ans104.Tag) []ans104.Tag { return append(x, x[3]) }, BadShape},
		{"order", body, func(x []ans104.Tag) []ans104.Tag { x[0], x[1] = x[1], x[0]; return x }, BadShape},
		{"type", body, func(x []ans104.Tag) []ans104.Tag { x[1].Value = "Unit"; return x }, BadShape},
		{"role", body, func(x []ans104.Tag) []ans104.Tag { x[3].Value = "CU"; return x }, BadShape},
		{"zeros", body, func(x []ans104.Tag) []ans104.Tag { x[4].Value = "0" + x[4].Value; return x }, BadShape},
		{"large", `{"prices":{},"later":"` + strings.Repeat("x", MaxOffer) + `"}`, nil, TooLarge},
	} {
		tags := offerTags(terms(5))
		if c.tags != nil {
			tags = c.tags(tags)
		}
		it, err := sign(s, tags, []byte(c.data))
		check(t, err)
		if _, err = ParseOffer(it.Raw()); ReasonOf(err) != c.want || err != nil && c.want == "" {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	forged := bytes.Clone(offerOf(t, "unit", terms(5)).Raw())
	forged[10] ^= 1
	_, err := ParseOffer(forged)
	wantErr(t, err, BadSignature)
	_, err = ParseOffer(nil)
	wantErr(t, err, BadShape)
	anchored, err := ans104.Sign(s, ans104.Fields{Anchor: make([]byte, 32), Tags: offerTags(terms(5)), Data: []byte(body)})
	check(t, err)
	_, err = ParseOffer(anchored.Raw())
	wantErr(t, err, BadShape)
}

func TestParseOffers(t *testing.T) {
	var raws [][]byte
	for i := range 40 {
		raws = append(raws, bytes.Clone(offerOf(t, name(i), terms(uint64(i))).Raw()))
	}
	raws[3][20] ^= 1
	raws[7] = []byte("x")
	offers, errs := ParseOffers(raws)
	for i := range raws {
		switch {
		case i == 3:
			wantErr(t, errs[i], BadSignature)
		case i == 7:
			wantErr(t, errs[i], BadShape)
		case errs[i] != nil || offers[i].terms.Prices[CUBase] != uint64(i):
			t.Errorf("%d: %v", i, errs[i])
		}
		if errs[i] != nil && !offers[i].IsZero() {
			t.Errorf("a refused offer is there")
		}
	}
}

func TestOfferFresh(t *testing.T) {
	o := offerOf(t, "unit", terms(5))
	for _, c := range []struct {
		network string
		now     int64
		want    Reason
	}{
		{testnet, start, ""},
		{testnet, start - MaxAhead, ""},
		{testnet, start - MaxAhead - 1, FromFuture},
		{testnet, start + 599_999, ""},
		{testnet, start + 600_000, Expired},
		{"other", start, OtherNetwork},
	} {
		if err := o.Fresh(c.network, c.now); ReasonOf(err) != c.want {
			t.Errorf("%s at %d: %v, want %s", c.network, c.now-start, err, c.want)
		}
	}
}

func TestOfferBlock(t *testing.T) {
	for addr, want := range map[string]string{
		"/ip4/192.0.2.77/tcp/1":                   "192.0.2.0/24",
		"/ip6/2001:db8:1:2::1/udp/1/quic-v1":      "2001:db8:1::/48",
		"/ip6/::ffff:192.0.2.1/tcp/1":             "192.0.2.0/24",
		"/dns4/A.b.Example.org/tcp/1":             "example.org",
		"/ip4/198.51.100.1/tcp/1/p2p-circuit":     "198.51.100.0/24",
		"/ip4/not-one/tcp/1":                      "nowhere",
		"/ip6/fe80::1%eth0/tcp/1":                 "fe80::/48",
		"/":                                       "nowhere",
		"/memory/1":                               "nowhere",
		"/ip4/192.0.2.7":                          "192.0.2.0/24",
		"/unix/ip4/192.0.2.1":                     "nowhere",
		"/dnsaddr/localhost":                      "localhost",
		"/ip4/0192.0.2.1/tcp/4001/ip4/192.0.2.1/": "nowhere",
	} {
		tm := Terms{Addrs: []string{addr}}
		if got := tm.block(); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// What SignOffer writes is read in one pass, whatever is offered; what is wrong is left to the strict reader.
func TestPlainOffers(t *testing.T) {
	full := terms(5)
	bare := Terms{Network: testnet, Role: Computer, Sequence: start, Expires: start + 1}
	lists := terms(0)
	lists.Formats, lists.Ledgers, lists.Addrs = []string{"a", "b"}, []ao.ID{{1}, {2}}, []string{"/ip4/192.0.2.1/tcp/1", "/dns/x/tcp/2"}
	for i, tm := range []Terms{full, bare, lists} {
		data := offerOf(t, "unit", tm).item.Data()
		fast, ok := plainOffer(data, Computer)
		slow, err := anyOffer(data, Computer)
		check(t, err)
		if !ok || !reflect.DeepEqual(fast, slow) {
			t.Errorf("%d: %v, %+v, want %+v", i, ok, fast, slow)
		}
	}
	data := string(offerOf(t, "unit", full).item.Data())
	for _, x := range [][2]string{
		{`"5"`, `"05"`},
		{`"5"`, `"-5"`},
		{`"5"`, `"+5"`},
		{`"5"`, `""`},
		{`"5"`, `5`},
		{`"5"`, `"9223372036854775808"`},
		{`"base"`, `"push"`},
		{`{"base"`, `{,"base"`},
		{`"1"}`, `"1",}`},
		{`"weavedrive"`, `"weave\u0064rive"`},
		{`"weavedrive"`, `"weavedriv\u00e9"`},
		{`"weavedrive"`, `"weavedrive",`},
		{`"weavedrive"`, `"weavedrive" "x"`},
		{`"weavedrive"`, `null`},
		{`["weavedrive"]`, `null`},
		{`:16,`, `:4294967296,`},
		{`:16,`, `:016,`},
		{`:16,`, `:1e1,`},
		{`:16,`, `:-1,`},
		{`:16,`, `:,`},
		{`"capacity"`, `"Capacity"`},
		{`]}`, `],"later":1}`},
		{`]}`, `]} `},
		{`]}`, `]`},
		{`{`, ` {`},
		{`"ledgers":["`, `"ledgers":["_`},
		{`"region":"eu"`, `"region":"eu","region":"us"`},
	} {
		changed := strings.Replace(data, x[0], x[1], 1)
		if _, ok := plainOffer([]byte(changed), Computer); ok || changed == data {
			t.Errorf("%s is read in one pass", changed)
		}
	}
}

func FuzzParseOffer(f *testing.F) {
	o := offerOf(f, "unit", terms(5))
	f.Add(o.item.Data(), o.item.RawTags())
	f.Add([]byte(`{"prices":{"base":"1"},"later":1}`), o.item.RawTags())
	f.Fuzz(func(t *testing.T, data, rawTags []byte) {
		it, ok := unsigned(t, rawTags, data)
		if !ok {
			return
		}
		if _, err := ParseOffer(it.Raw()); err == nil {
			t.Fatal("an offer without a signature")
		} else if ReasonOf(err) == "" {
			t.Fatalf("no reason: %v", err)
		}
		if fast, ok := plainOffer(data, Computer); ok { // both readers say the same
			slow, err := anyOffer(data, Computer)
			check(t, err)
			if !reflect.DeepEqual(fast, slow) {
				t.Fatalf("%+v, want %+v", fast, slow)
			}
		}
		o, err := shapeOffer(it)
		if err != nil {
			return
		}
		// What is read can be signed, and reads the same.
		again, err := SignOffer(signer("unit"), o.Terms())
		if ReasonOf(err) == TooLarge { // what JSON escapes may grow
			return
		}
		check(t, err)
		text := func(tm *Terms) []byte {
			b, _ := json.Marshal(tm)
			return bytes.ReplaceAll(b, []byte("[]"), []byte("null"))
		}
		want := text(o.terms)
		if got := text(again.terms); !bytes.Equal(got, want) {
			t.Fatalf("%s, want %s", got, want)
		}
		_ = o.terms.block()
	})
}

func BenchmarkParseOffers(b *testing.B) {
	const n = 64
	var raws [][]byte
	var items []*ans104.Item
	for i := range n {
		raws = append(raws, offerOf(b, name(i), terms(uint64(i))).Raw())
	}
	b.Run("verify", func(b *testing.B) { // the primitive: as many signatures at once
		for b.Loop() {
			b.StopTimer()
			items = items[:0]
			for _, raw := range raws {
				it, err := ans104.Parse(raw)
				check(b, err)
				items = append(items, it)
			}
			b.StartTimer()
			for _, err := range ans104.VerifyBatch(items) {
				check(b, err)
			}
		}
	})
	b.Run("offers", func(b *testing.B) {
		for b.Loop() {
			_, errs := ParseOffers(raws)
			for _, err := range errs {
				check(b, err)
			}
		}
	})
}
