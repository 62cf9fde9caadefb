package wasmvm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
)

const guestToken = `
Balances = Balances or { [ao.id] = 9007199254740993000 }
local function amount(s)
  local n = math.tointeger(tonumber(s))
  assert(n and n > 0, "Quantity must be a positive integer")
  return n
end
Handlers.add("Transfer", function(msg)
  local n = amount(msg.Quantity)
  local have = Balances[msg.From] or 0
  if have < n then
    msg.reply({ Action = "Transfer-Error", ["Message-Id"] = msg.Id, Error = "Insufficient Balance!" })
    return
  end
  Balances[msg.From] = have - n
  Balances[msg.Recipient] = (Balances[msg.Recipient] or 0) + n
  msg.reply({ Action = "Debit-Notice", Recipient = msg.Recipient, Quantity = tostring(n) })
  Send({ Target = msg.Recipient, Action = "Credit-Notice", Sender = msg.From, Quantity = tostring(n) })
end)
Handlers.add("Balance", Handlers.utils.hasMatchingTag("Action", "Balance"), function(msg)
  msg.reply({ Data = tostring(Balances[msg.Account or msg.From] or 0) })
end)`

func TestGuestToken(t *testing.T) {
	g := newGuestProcess(t)
	g.eval(guestToken)
	g.eval("Balances.alice = 9007199254740993")
	r := g.send(guestMessage{From: "alice", Owner: "alice", Tags: [][2]string{{"Action", "Transfer"}, {"Recipient", "bob"}, {"Quantity", "9007199254740992"}}})
	if r.Error != "" || len(r.Messages) != 2 {
		t.Fatalf("transfer: %+v", r)
	}
	debit, credit := r.Messages[0], r.Messages[1]
	if debit.Target != "alice" || debit.tag("Action") != "Debit-Notice" || debit.tag("Quantity") != "9007199254740992" || debit.Anchor != strings.Repeat("0", 31)+"1" {
		t.Errorf("debit: %+v", debit)
	}
	if credit.Target != "bob" || credit.tag("Sender") != "alice" || credit.tag("Reference") != "2" {
		t.Errorf("credit: %+v", credit)
	}
	var names []string
	for _, tag := range credit.Tags {
		names = append(names, tag.Name)
	}
	if got := strings.Join(names, " "); got != "Data-Protocol Variant Type Reference Action Quantity Sender" {
		t.Errorf("tags %s", got)
	}
	if got := g.eval("return Balances.alice, Balances.bob"); got != "1\t9007199254740992" {
		t.Errorf("balances %s", got)
	}
	r = g.send(guestMessage{From: "alice", Owner: "alice", Tags: [][2]string{{"Action", "Transfer"}, {"Recipient", "bob"}, {"Quantity", "2"}}})
	if len(r.Messages) != 1 || r.Messages[0].tag("Error") != "Insufficient Balance!" {
		t.Errorf("overdraft: %+v", r)
	}
	r = g.send(guestMessage{From: "alice", Owner: "alice", Tags: [][2]string{{"Action", "Transfer"}, {"Recipient", "bob"}, {"Quantity", "-2"}}})
	if !strings.HasPrefix(r.Error, "eval:5: Quantity must be a positive integer") {
		t.Errorf("negative: %q", r.Error)
	}
	r = g.push("carol", "", [2]string{"Action", "Balance"}, [2]string{"Account", "bob"}, [2]string{"Reference", "77"})
	if len(r.Messages) != 1 || r.Messages[0].Data != "9007199254740992" || r.Messages[0].tag("X-Reference") != "77" || r.Messages[0].Target != "carol" {
		t.Errorf("balance: %+v", r)
	}
}

func TestGuestHandlers(t *testing.T) {
	g := newGuestProcess(t)
	g.eval(`
    log = {}
    local function note(name) return function() log[#log + 1] = name end end
    Handlers.add("by-name", note("by-name"))
    Handlers.add("exact", { Color = "red", Size = "_" }, note("exact"))
    Handlers.add("pattern", { Color = "^gr" }, note("pattern"))
    Handlers.add("any", { Color = { "blue", function(v) return v == "cyan" end } }, note("any"))
    Handlers.add("predicate", function(m) return m.Data == "go" end, note("predicate"))
    Handlers.prepend("first", function() return "continue" end, note("first"))
    Handlers.append("number", function(m) return tonumber(m.Verdict) or 0 end, note("number"))
    Handlers.once("once", "Once", note("once"))
    Handlers.add("resolver", { Kind = "_" }, { [{ Kind = "x" }] = note("x"), [function(m) return m.Kind == "y" end] = note("y") })
    Handlers.after("exact").add("after", { Color = "red" }, note("after"))
    Handlers.before("exact").add("before", Handlers.utils.continue({ Color = "red" }), note("before"))`)
	for _, c := range []struct {
		data string
		tags [][2]string
		want string
	}{
		{"", [][2]string{{"Action", "by-name"}}, "first by-name"},
		{"", [][2]string{{"Color", "red"}, {"Size", "1"}}, "first before exact"},
		{"", [][2]string{{"Color", "red"}}, "first before after"},
		{"", [][2]string{{"Color", "green"}}, "first pattern"},
		{"", [][2]string{{"Color", "cyan"}}, "first any"},
		{"", [][2]string{{"Color", "black"}}, "first"},
		{"go", nil, "first predicate"},
		{"", [][2]string{{"Verdict", "5"}, {"Kind", "y"}}, "first number y"},
		{"", [][2]string{{"Verdict", "-5"}, {"Kind", "y"}}, "first number"},
		{"", [][2]string{{"Kind", "x"}}, "first x"},
		{"", [][2]string{{"Action", "Once"}}, "once"},
		{"", [][2]string{{"Action", "Once"}}, "first"},
	} {
		g.eval("log = {}")
		if r := g.send(guestMessage{Data: c.data, Tags: c.tags}); r.Error != "" {
			t.Fatalf("%v: %s", c.tags, r.Error)
		}
		if got := g.eval("table.concat(log, ' ')"); got != c.want {
			t.Errorf("%q %v: %s, want %s", c.data, c.tags, got, c.want)
		}
	}
	g.eval("Handlers.remove('first') Handlers.remove('no such')")
	g.eval("log = {}")
	g.send(guestMessage{Data: "go"})
	if got := g.eval("table.concat(log, ' ')"); got != "predicate" {
		t.Errorf("after remove: %s", got)
	}
	if r := g.attempt("Handlers.add('x')"); !strings.Contains(r.Error, "handler x needs a function") {
		t.Errorf("no function: %q", r.Error)
	}
}

func TestGuestOutbox(t *testing.T) {
	g := newGuestProcess(t)
	r := g.attempt(`
    Send({ Target = "t1", Data = { b = 1, a = { 1, 2.5 } }, Zeta = 1, Alpha = true, Tags = { { name = "T", value = "v" }, { name = "Type", value = "Process" } } })
    Spawn("mod", { Data = "code", Name = "child", Tags = { Extra = "e" } })
    Spawn("mod", { Authority = "me" })
    Assign({ Processes = { "p1", "p2" }, Message = "m" })
    return "sent"`)
	if r.Error != "" || len(r.Messages) != 1 || len(r.Spawns) != 2 || len(r.Assignments) != 1 {
		t.Fatalf("%+v", r)
	}
	m := r.Messages[0]
	if got := fmt.Sprint(m.Tags); got != "[{Data-Protocol ao} {Variant ao.TN.1} {Type Message} {Reference 1} {Alpha true} {Zeta 1} {T v}]" {
		t.Errorf("message tags %s", got)
	}
	if m.Data != `{"a":[1,2.5],"b":1}` || m.Target != "t1" {
		t.Errorf("message %+v", m)
	}
	if got := fmt.Sprint(r.Spawns[0].Tags); got != "[{Data-Protocol ao} {Variant ao.TN.1} {Type Process} {Reference 2} {Name child} {Extra e} {Module mod} {Authority "+guestMU+"} {Authority other-mu}]" {
		t.Errorf("spawn tags %s", got)
	}
	if got := r.Spawns[1].tag("Authority"); got != "me" || r.Spawns[1].Anchor != strings.Repeat("0", 31)+"3" {
		t.Errorf("second spawn %+v", r.Spawns[1])
	}
	if a := r.Assignments[0]; len(a.Processes) != 2 || a.Message != "m" {
		t.Errorf("assignment %+v", a)
	}
	if r := g.attempt("return #ao.outbox.Messages"); r.Output.Data != "0" || len(r.Messages) != 0 {
		t.Errorf("outbox survives its message: %+v", r)
	}
	for _, code := range []string{"Send('x')", "Spawn()", "Assign({})", "Send({ Target = 'x', F = print })", "Send({ Target = 'x', Tags = { 'x' } })"} {
		if r := g.attempt(code); r.Error == "" {
			t.Errorf("%s: no error", code)
		}
	}
	g.eval(`Handlers.add("Fwd", function(msg) msg.forward("next", { Note = "n" }) end)`)
	r = g.push("alice", "body", [2]string{"Action", "Fwd"}, [2]string{"Keep", "k"}, [2]string{"Reference", "9"})
	if len(r.Messages) != 1 {
		t.Fatalf("forward %+v", r)
	}
	m = r.Messages[0]
	if m.Target != "next" || m.Data != "body" || m.tag("Keep") != "k" || m.tag("Note") != "n" || m.tag("X-Reference") != "9" || m.tag("X-Origin") != "alice" || m.tag("Reply-To") != "alice" {
		t.Errorf("forward %+v", m)
	}
	g.eval(`Handlers.add("Pong", Handlers.utils.hasMatchingData("ping"), Handlers.utils.reply("pong"))`)
	if r = g.push("alice", "ping"); len(r.Messages) != 1 || r.Messages[0].Data != "pong" || r.Messages[0].Target != "alice" {
		t.Errorf("reply %+v", r)
	}
	if r = g.push("alice", "ping", [2]string{"Reply-To", "bob"}); r.Messages[0].Target != "bob" {
		t.Errorf("reply-to %+v", r)
	}
}

func TestGuestReceive(t *testing.T) {
	g := newGuestProcess(t)
	r := g.attempt(`local a = Send({ Target = "oracle", Action = "Ask" }).receive()
    local b = Receive({ Action = "More" })
    print("both: " .. a.Data .. b.Data)
    Send({ Target = "oracle", Data = a.Data .. b.Data })
    return "end"`)
	if r.Error != "" || len(r.Messages) != 1 || r.Output.Data != "" {
		t.Fatalf("ask %+v", r)
	}
	if r = g.push("stranger", "no", [2]string{"X-Reference", "1"}); !strings.HasPrefix(r.Output.Data, "New Message From") {
		t.Errorf("stranger's answer %+v", r)
	}
	if r = g.push("oracle", "4", [2]string{"X-Reference", "1"}); r.Error != "" || r.Output.Data != "" {
		t.Errorf("answer %+v", r)
	}
	r = g.push("anybody", "2", [2]string{"Action", "More"})
	if r.Error != "" || r.Output.Data != "both: 42\nend" || len(r.Messages) != 1 || r.Messages[0].Data != "42" {
		t.Errorf("second answer %+v", r)
	}
	g.eval(`Send({ Target = "oracle" }).onReply(function(m) late = m.Data end)`)
	g.push("oracle", "reply", [2]string{"X-Reference", "3"})
	if got := g.eval("return late"); got != "reply" {
		t.Errorf("onReply %q", got)
	}
	g.eval(`pcall(function() child = Spawn("mod", {}).receive().Process end)`)
	if r = g.send(guestMessage{From: guestID, Owner: guestMU, Tags: [][2]string{{"Action", "Spawned"}, {"Process", "kid"}, {"Reference", "4"}}}); r.Error != "" {
		t.Errorf("spawned %+v", r)
	}
	if got := g.eval("return child"); got != "kid" {
		t.Errorf("spawn receive %q", got)
	}
	g.eval(`local m = Receive({ Action = "Bad" }) error("late " .. m.Data)`)
	if r = g.push("anybody", "boom", [2]string{"Action", "Bad"}); !strings.HasPrefix(r.Error, "eval:1: late boom") {
		t.Errorf("late error %q", r.Error)
	}
	g.rewind(g.image())
	if r := g.attempt(`for i = 1, 2000 do coroutine.wrap(function() Receive("never") end)() end`); !strings.Contains(r.Error, "too many waiting Receives") {
		t.Errorf("many receives %+v", r)
	}
}

func TestGuestTrust(t *testing.T) {
	g := newGuestProcess(t)
	g.eval(`hits = 0 Handlers.add("Hit", function() hits = hits + 1 Send({ Target = "x" }) end)`)
	hit := [2]string{"Action", "Hit"}
	for _, c := range []struct {
		name string
		msg  guestMessage
		runs bool
	}{
		{"a user", guestMessage{From: "u", Owner: "u"}, true},
		{"a process through its unit", guestMessage{From: "p", Owner: guestMU}, true},
		{"a process through the second unit", guestMessage{From: "p", Owner: "other-mu"}, true},
		{"a stranger who says he is a process", guestMessage{From: "p", Owner: "stranger"}, false},
		{"a stranger who says he is a unit", guestMessage{From: guestMU, Owner: "stranger"}, false},
		{"a stranger who says he is the owner", guestMessage{From: guestOwner, Owner: "stranger"}, false},
		{"a message for another process", guestMessage{From: "u", Owner: "u", Target: "elsewhere"}, false},
	} {
		before := g.eval("hits")
		c.msg.Tags = [][2]string{hit}
		r := g.send(c.msg)
		if r.Error != "" || (len(r.Messages) == 1) != c.runs || (g.eval("hits") != before) != c.runs {
			t.Errorf("%s: %+v", c.name, r)
		}
		if !c.runs && !strings.Contains(r.Output.Data, "is not trusted!") {
			t.Errorf("%s: output %q", c.name, r.Output.Data)
		}
	}
	for _, m := range []guestMessage{
		{From: guestOwner, Owner: "stranger"}, {From: "u", Owner: "u"}, {From: "p", Owner: guestMU},
	} {
		m.Data, m.Tags = "Owner = 'u'", [][2]string{{"Action", "Eval"}}
		if r := g.send(m); r.Error != "" || g.eval("Owner") != guestOwner {
			t.Errorf("eval by %s/%s ran", m.From, m.Owner)
		}
	}
	g.eval(`ao.addAssignable("all", { Action = "Hit" })`)
	if r := g.send(guestMessage{From: "u", Owner: "u", Target: "elsewhere", Tags: [][2]string{hit}}); len(r.Messages) != 1 {
		t.Errorf("assignable: %+v", r)
	}
	// Tags cannot change what the envelope says.
	g.eval(`Handlers.add("Who", function(msg) print(msg.From, msg.Owner, msg.Id, msg.Cron, msg.Tags.Owner) end)`)
	r := g.send(guestMessage{ID: "m1", From: "u", Owner: "u", Tags: [][2]string{{"Action", "Who"}, {"From", guestOwner}, {"Owner", "z"}, {"Id", "y"}, {"Cron", "true"}, {"reply", "x"}}})
	if r.Output.Data != "u\tu\tm1\tfalse\tz" {
		t.Errorf("promotion: %+v", r)
	}
}

func TestGuestInbox(t *testing.T) {
	g := newGuestProcess(t)
	r := g.push("alice-of-wonderland", "hello")
	if r.Output.Data != "New Message From ali...and: Data = hello" || !r.Output.Print || r.Output.Prompt != "test@aopeer[Inbox:1]> " {
		t.Errorf("output %+v", r.Output)
	}
	if got := g.eval("#Inbox, Inbox[1].Data, Inbox[1].From"); got != "1\thello\talice-of-wonderland" {
		t.Errorf("inbox %s", got)
	}
	g.eval("for i = 1, 9999 do Inbox[#Inbox + 1] = { Data = i } end")
	g.push("bob", "last")
	if got := g.eval("#Inbox, Inbox[1].Data, Inbox[#Inbox].Data"); got != "10000\t1\tlast" {
		t.Errorf("full inbox %s", got)
	}
}

func TestGuestBoot(t *testing.T) {
	p := guestFor(t)
	for _, c := range []struct {
		data, want string
		tags       [][2]string
	}{
		{"greeting = 'hi'", "hi", [][2]string{{"On-Boot", "Data"}}},
		{"greeting = 'hi'", "nil", nil},
	} {
		inst, err := p.start(guestLimit)
		if err != nil {
			t.Fatal(err)
		}
		g := &guestProcess{tb: t, prog: p, inst: inst, limit: guestLimit}
		if r := g.send(guestMessage{ID: guestID, Data: c.data, Tags: append([][2]string{{"Type", "Process"}}, c.tags...)}); r.Error != "" {
			t.Errorf("boot: %+v", r)
		}
		if got := g.eval("greeting"); got != c.want {
			t.Errorf("%v: greeting %s, want %s", c.tags, got, c.want)
		}
		g.inst.close()
	}
	if _, err := p.start(1 << 20); err != faultMemoryLimit {
		t.Errorf("start under a small limit: %v", err)
	}
}

// TestGuestTicks: a message that is implied is the owner's, and reaches handlers by its tags; it has no ID and no data.
func TestGuestTicks(t *testing.T) {
	g := newGuestProcess(t)
	g.eval(`Handlers.add("Tick", function(msg) Send{ Target = "sink", Data = tostring(msg.Timestamp) .. tostring(msg.Id) .. tostring(msg.Cron) } end)`)
	msg := cronEnvelope(ao.CronMessage{
		Process: ao.ID{1}, Owner: guestOwner, Tags: ao.Tags{{Name: "Action", Value: "Tick"}}, Timestamp: 5000, BlockHeight: 3,
	})
	out, _, err := g.inst.handle([]byte(strings.Replace(string(msg), ao.ID{1}.String(), guestID, 1)), guestEnv(), MaxFuel)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := ao.ParseResponse(out); err != nil || len(r.Messages) != 1 || string(r.Messages[0].Data) != "5000niltrue" {
		t.Errorf("%s, %v", out, err)
	}
}
