package wasmvm

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func jsonValid(b []byte) bool { return json.Valid(b) }

// guestScript is n messages of many kinds, some of which fail.
func guestScript(n int) []guestMessage {
	eval := [][2]string{{"Action", "Eval"}}
	out := []guestMessage{
		{ID: guestID, Tags: [][2]string{{"Type", "Process"}}},
		{Data: guestToken, Tags: eval},
		{Data: `Balances.alice = 1000000
      Handlers.add("Ask", function(msg) msg.reply({ Data = msg.reply and Send({ Target = "oracle" }).receive().Data }) end)`, Tags: eval},
	}
	for i := len(out); i < n; i++ {
		m := guestMessage{From: "alice", Owner: "alice"}
		switch i % 10 {
		case 0:
			m = guestMessage{Data: fmt.Sprintf("t = t or {} for i = 1, 20 do t[tostring(i * %d)] = { i, { k = i } } end local s = 0 for k in pairs(t) do s = (s * 31 + #k) %% 1000003 end return s", i), Tags: eval}
		case 1:
			m = guestMessage{Data: "local keys = {} for i = 1, 20 do keys[{}] = i keys[i * 1.5] = i end local o = {} for _, v in pairs(keys) do o[#o + 1] = v end return table.concat(o, ' '), tostring(keys)", Tags: eval}
		case 2:
			m.Tags = [][2]string{{"Action", "Transfer"}, {"Recipient", fmt.Sprint("user-", i)}, {"Quantity", "3"}}
		case 3:
			m.Tags = [][2]string{{"Action", "Transfer"}, {"Recipient", "x"}, {"Quantity", "-1"}}
		case 4:
			m.Data = strings.Repeat("mail ", i%50)
		case 5:
			m.Tags = [][2]string{{"Action", "Ask"}, {"Reference", fmt.Sprint(i)}}
		case 6:
			m = guestMessage{From: "oracle", Owner: guestMU, Data: fmt.Sprint(i), Tags: [][2]string{{"X-Reference", fmt.Sprint(i / 2)}}}
		case 7:
			m = guestMessage{Data: "return math.random(1000000), math.random(), os.time(), string.format('%p', {})", Tags: eval}
		case 8:
			m = guestMessage{Data: "local co = coroutine.wrap(function() for i = 1, 20 do coroutine.yield(i) end end) local s = ('x'):rep(50000) return co() + co() + #s", Tags: eval}
		case 9:
			m = guestMessage{Data: "local s = 'x' for i = 1, 15 do s = s .. s end big = { s, big and big[1] } return #s", Tags: eval}
		}
		out = append(out, m)
	}
	return out
}

// runGuest digests every answer with its fuel and, now and then, the whole state. before runs ahead of each message.
func runGuest(t *testing.T, script []guestMessage, before func(i int, g *guestProcess)) []string {
	t.Helper()
	p := guestFor(t)
	inst, err := p.start(guestLimit)
	if err != nil {
		t.Fatal(err)
	}
	g := &guestProcess{tb: t, prog: p, inst: inst, limit: guestLimit}
	defer func() { g.inst.close() }()
	var out []string
	for i, m := range script {
		if before != nil {
			before(i, g)
		}
		r := g.send(m)
		line := fmt.Sprintf("%d %d %.200s", i, g.used, g.raw)
		if i%50 == 49 || i == len(script)-1 {
			line += fmt.Sprintf(" memory %x tail %x", sha256.Sum256(g.inst.memory()), g.inst.tail())
		}
		if r.Error == "" && i%10 == 3 && i > 3 {
			t.Fatalf("message %d works: %s", i, g.raw)
		}
		out = append(out, line)
	}
	return out
}

// TestGuestDeterminism: the same messages leave the same memory to the last byte, in every run and however often the
// process is put away and brought back.
func TestGuestDeterminism(t *testing.T) {
	n := 400
	if testing.Short() {
		n = 60
	}
	script := guestScript(n)
	want := runGuest(t, script, nil)
	for name, before := range map[string]func(int, *guestProcess){
		"second run": nil,
		"third run":  nil,
		"restored before every message": func(_ int, g *guestProcess) {
			g.rewind(g.image())
		},
		"restored from a file or rolled back after a failure, now and then": func(i int, g *guestProcess) {
			switch i % 20 {
			case 5:
				b, err := g.image().Encode()
				if err != nil {
					t.Fatal(err)
				}
				img, err := DecodeImage(b, guestLimit)
				if err != nil {
					t.Fatal(err)
				}
				g.rewind(img)
			case 10:
				img := g.image()
				_, err := g.try(guestMessage{Data: "x = {} while true do x[#x+1] = 'junk' end", Tags: [][2]string{{"Action", "Eval"}}}, 3_000_000)
				if err != faultOutOfGas {
					t.Fatal(err)
				}
				g.n--
				g.rewind(img)
			}
		},
	} {
		got := runGuest(t, script, before)
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: message %d\n%s\nwant\n%s", name, i, got[i], want[i])
				break
			}
		}
	}
	t.Log(want[len(want)-1])
}

// TestGuestGrowth: a process that keeps nothing stays the size it is, however many messages it gets.
func TestGuestGrowth(t *testing.T) {
	if testing.Short() {
		t.Skip("two thousand messages take seconds")
	}
	g := newGuestProcess(t)
	g.eval("Handlers.add('Work', function(m) local t = {} for i = 1, 100 do t[i] = { m.Data .. i } end m.reply({ Data = t }) end)")
	var sizes, pages []int
	for i := range 2000 {
		if r := g.push("alice", "x", [2]string{"Action", "Work"}); r.Error != "" || len(r.Messages) != 1 {
			t.Fatalf("%+v", r)
		}
		if i%1000 == 999 {
			sizes, pages = append(sizes, len(g.inst.memory())), append(pages, g.image().Count())
		}
	}
	if sizes[1] > 12<<20 || pages[1] > pages[0]*21/20 {
		t.Errorf("after each thousand messages the memory is %v bytes, %v pages in use", sizes, pages)
	}
}
