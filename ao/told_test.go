package ao

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// toldID is an ID in its 43 characters.
func toldID(n int) string { return ID(sha256.Sum256([]byte{byte(n)})).String() }

// toldPage is a page with one slot, as a HyperBEAM node posts it.
const toldPage = `{"page_info":{"process":"P","has_next_page":false,"timestamp":"1755000009000","block-height":"1700001","block-hash":"H"},"edges":[{"cursor":3,"node":{
 "message":{"Id":"M","Anchor":"00000000000000000000000000000007","Owner":"O","From":"F","Target":"P","Data":"hé\"llo","Signature":"sig","Tags":[
  {"name":"Action","value":"Eval"},{"name":"From-Process","value":"F"},{"name":"Count","value":7},{"name":"On","value":true}]},
 "assignment":{"Id":"A","Anchor":"","Owner":"N","From":"N","Target":"","Data":"","Signature":"","Tags":[
  {"name":"Block-Height","value":"000001700000"},{"name":"Block-Timestamp","value":1755000000},{"name":"Data-Protocol","value":"ao"},
  {"name":"Epoch","value":0},{"name":"Hash-Chain","value":"H"},{"name":"Path","value":"compute"},{"name":"Process","value":"P"},
  {"name":"Slot","value":3},{"name":"Timestamp","value":1755000003000},{"name":"Exclude","value":"Anchor"},{"name":"Exclude","value":"Signature"},{"name":"Variant","value":"ao.N.1"}]}}}]}`

// withIDs puts IDs in the places of the letters.
func withIDs(page string) string {
	for n, letter := range []string{"P", "M", "A", "H", "N"} {
		page = strings.ReplaceAll(page, `"`+letter+`"`, `"`+toldID(n)+`"`)
	}
	return page
}

func TestParseTold(t *testing.T) {
	quoted, err := json.Marshal(withIDs(toldPage))
	check(t, err)
	for _, raw := range []string{withIDs(toldPage), string(quoted)} {
		p, err := ParseTold([]byte(raw))
		check(t, err)
		if len(p.Entries) != 1 || p.HasNext || p.Cursor != "3" {
			t.Fatalf("%+v", p)
		}
		e := p.Entries[0]
		f := e.Assignment.Fields()
		if f.Process.String() != toldID(0) || f.Nonce != 3 || f.Message.String() != toldID(1) || f.BlockHeight != 1_700_000 || f.Timestamp != 1_755_000_003_000 ||
			ID(f.HashChain).String() != toldID(3) || !reflect.DeepEqual(f.Exclude, []string{"Anchor", "Signature"}) {
			t.Errorf("assignment %+v", f)
		}
		if e.Proof != ProofTold || !e.Assignment.IsTold() || e.Assignment.IsElsewhere() || e.Assignment.IsVoid() || e.Assignment.Epoch() != "0" ||
			e.Assignment.ID().String() != toldID(2) || e.Assignment.Item() != nil || e.Assignment.Raw() != nil || e.Assignment.Owner() != toldID(4) {
			t.Errorf("%+v", e.Assignment)
		}
		m := e.Message
		if m.ID().String() != toldID(1) || m.Owner() != "O" || m.From() != "F" || string(m.Data()) != `hé"llo` || string(m.Anchor()) != strings.Repeat("0", 31)+"7" ||
			m.SignatureText() != "sig" || m.Target() != f.Process || m.IsSpawn() || m.Item() != nil || m.Raw() != nil || m.Tags().Get("Count") != "7" || m.Tags().Get("On") != "true" {
			t.Errorf("message %+v", m.is)
		}
	}
}

// TestToldKinds: what an entry can be besides a message with everything in it.
func TestToldKinds(t *testing.T) {
	parse := func(edits ...string) Entry {
		t.Helper()
		p, err := ParseTold([]byte(withIDs(strings.NewReplacer(edits...).Replace(toldPage))))
		check(t, err)
		return p.Entries[0]
	}
	if e := parse(`"value":3`, `"value":0`, `{"name":"Action","value":"Eval"}`, `{"name":"Type","value":"Process"},{"name":"Module","value":"N"}`); !e.Message.IsSpawn() ||
		e.Message.ID().String() != toldID(0) || e.Assignment.Message() != e.Message.ID() {
		t.Errorf("the process itself: %+v", e)
	} else if p, err := e.Message.Process(); err != nil || p.Module().String() != toldID(4) || p.Owner() != "F" {
		t.Errorf("the process itself: %+v, %v", p, err)
	}
	void := parse(`{"name":"Path","value":"compute"}`, `{"name":"Skip","value":true},{"name":"Original-Assignment-Id","value":"N"}`)
	if !void.Assignment.IsVoid() || void.Assignment.ID().String() != toldID(4) {
		t.Errorf("a void one: %+v", void.Assignment.is)
	}
	start := strings.Index(toldPage, `"message":`)
	end := strings.Index(toldPage, ",\n \"assignment\"")
	for _, message := range []string{`"message":{"Id":"M"}`, `"message":null`} {
		page := strings.Replace(toldPage[:start]+message+toldPage[end:], `{"name":"Path","value":"compute"}`, `{"name":"Message","value":"M"}`, 1)
		p, err := ParseTold([]byte(withIDs(page)))
		check(t, err)
		if e := p.Entries[0]; !e.Message.IsZero() || e.Assignment.Message().String() != toldID(1) {
			t.Errorf("%s: %+v", message, e)
		}
	}
	if e := parse(`"Data":"hé\"llo"`, `"Data":null`); e.Message.Data() != nil || !e.Message.LacksData() {
		t.Errorf("no text: %q", e.Message.Data())
	}
	if e := parse(`"Data":"hé\"llo"`, `"Data":""`); e.Message.Data() == nil || len(e.Message.Data()) != 0 || e.Message.LacksData() {
		t.Errorf("no data: %q", e.Message.Data())
	}
	const key = "BHm-Zn753LusVaBilc6HCwcCm_zbLc4o2VnygVsW-BeYSDradyajxGVdpPv8DhEIqP0XtEimhVQZnEfQj_sQ1Lg"
	if e := parse(`"Owner":"O"`, `"Owner":"O","PublicKey":"`+key+`"`); e.Message.Owner() != "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf" {
		t.Errorf("of an Ethereum key the owner is %s", e.Message.Owner())
	}
	if e := parse(`"Owner":"O"`, `"Owner":"O","PublicKey":"`+key[1:]+`"`); e.Message.Owner() != "O" {
		t.Errorf("of a key that is none the owner is %s", e.Message.Owner())
	}
	if e := parse(`"has_next_page":false`, `"has_next_page":"false"`); e.Message.IsZero() {
		t.Errorf("%+v", e)
	}
	for text, want := range map[string]bool{`true`: true, `"true"`: true, `"false"`: false, `"undefined"`: false, `null`: false} {
		p, err := ParseTold([]byte(withIDs(strings.Replace(toldPage, `"has_next_page":false`, `"has_next_page":`+text, 1))))
		if err != nil || p.HasNext != want {
			t.Errorf("has_next_page %s: %v, %v", text, p.HasNext, err)
		}
	}
}

func TestParseToldRefuses(t *testing.T) {
	for name, edit := range map[string][2]string{
		"no object": {toldPage, `[]`}, "no JSON": {toldPage, `{"edges":[`}, "no text": {toldPage, `"\q"`}, "a number": {toldPage, `7`},
		"no edges": {`"edges"`, `"others"`}, "no node": {`"node"`, `"knot"`}, "no assignment": {`"assignment"`, `"assigned"`},
		"an assignment's ID alone": {toldPage, `{"edges":[{"node":{"message":{"Id":"M"},"assignment":{"Id":"A"}}}]}`},
		"an ID that is none":       {`"Id":"M"`, `"Id":"x"`}, "no ID": {`"Id":"A",`, ``}, "no process": {`"name":"Process"`, `"name":"Prozess"`},
		"no slot": {`"name":"Slot"`, `"name":"Slit"`}, "a slot below 0": {`"value":3}`, `"value":-3}`}, "a slot that is none": {`"value":3}`, `"value":"03"}`},
		"a huge slot": {`"value":3}`, `"value":18446744073709551615}`}, "a chain that is none": {`"name":"Hash-Chain","value":"H"`, `"name":"Hash-Chain","value":"h"`},
		"a height that is none": {`"000001700000"`, `"high"`}, "no timestamp": {`"value":1755000003000`, `"value":"soon"`},
		"tags that are none": {`{"name":"Action","value":"Eval"}`, `7`}, "no list of tags": {`"Signature":"sig","Tags":[`, `"Signature":"sig","Tags":"none","Rest":[`},
		"too many tags": {`{"name":"Action","value":"Eval"}`, strings.Repeat(`{"name":"a","value":"b"},`, maxToldTags) + `{"name":"a","value":"b"}`},
		"long tags":     {`"Eval"`, `"` + strings.Repeat("x", maxToldText) + `"`}, "a long owner": {`"O"`, `"` + strings.Repeat("x", maxToldText+1) + `"`},
		"a void one in no place": {`{"name":"Path","value":"compute"}`, `{"name":"Skip","value":"true"},{"name":"Original-Assignment-Id","value":"x"}`},
	} {
		page := withIDs(strings.Replace(toldPage, edit[0], edit[1], 1))
		if page == withIDs(toldPage) {
			t.Errorf("%s: nothing is changed", name)
		}
		_, err := ParseTold([]byte(page))
		wantErr(t, err, ErrTold)
	}
	edge := toldPage[strings.Index(toldPage, `{"cursor"`):strings.LastIndex(toldPage, `]}`)]
	_, err := ParseTold([]byte(withIDs(`{"edges":[` + strings.Repeat(edge+",", MaxToldPage) + edge + `]}`)))
	wantErr(t, err, ErrTold)
	_, err = ParseTold(make([]byte, MaxTold+1))
	wantErr(t, err, ErrTold)
}

// TestPatches: what a module says to a HyperBEAM node is kept beside the result.
func TestPatches(t *testing.T) {
	for patches, want := range map[string]int{`[{"a":1},2]`: 2, `[]`: 0, `{}`: 0, `null`: 0, `7`: 0, `[` + strings.Repeat("1,", MaxOutbox) + `1]`: 0} {
		r, err := ParseResponse([]byte(`{"ok":true,"response":{"Output":"x","Patches":` + patches + `}}`))
		if err != nil || len(r.Patches) != want || r.Error != nil || r.Outbox() != 0 {
			t.Errorf("%.40s: %d patches, %s, %v", patches, len(r.Patches), r.Error, err)
		}
	}
}

// TestToldLog: the cursor takes told entries in order, and no link that is broken in a log of today.
func TestToldLog(t *testing.T) {
	entry := func(slot int, height string, link [32]byte) Entry {
		t.Helper()
		p, err := ParseTold([]byte(withIDs(strings.NewReplacer(
			`"value":3}`, fmt.Sprintf(`"value":%d}`, slot), `"000001700000"`, `"`+height+`"`, `"name":"Hash-Chain","value":"H"`,
			`"name":"Hash-Chain","value":"`+ID(link).String()+`"`,
		).Replace(toldPage))))
		check(t, err)
		return p.Entries[0]
	}
	process, err := ParseID(toldID(0))
	check(t, err)
	for height, sound := range map[string]bool{"1440000": true, "1439999": false} {
		c := NewCursor(process)
		first := entry(0, height, [32]byte{9}) // whatever it is
		check(t, c.Step(first))
		if e := entry(2, height, first.Assignment.Link()); c.Skips(e) {
			t.Error("a slot may be left out")
		} else {
			wantErr(t, c.Step(e), ErrGap)
		}
		broken := c
		if err := broken.Step(entry(1, height, [32]byte{9})); (err == nil) == sound {
			t.Errorf("a broken link from height %s on: %v", height, err)
		}
		check(t, c.Step(entry(1, height, first.Assignment.Link())))
	}
}

func FuzzParseTold(f *testing.F) {
	f.Add([]byte(withIDs(toldPage)))
	f.Add([]byte(`"{\"edges\":[]}"`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := ParseTold(raw)
		if err != nil {
			return
		}
		if len(p.Entries) > MaxToldPage {
			t.Fatalf("%d entries", len(p.Entries))
		}
		for _, e := range p.Entries {
			_ = e.Assignment.Link()
			if !e.Message.IsZero() && (len(e.Message.Data()) > MaxItem || e.Message.ID() != e.Assignment.Message()) {
				t.Fatalf("%+v", e)
			}
		}
	})
}
