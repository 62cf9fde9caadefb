package ao

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseResponse(t *testing.T) {
	for name, c := range map[string]struct {
		in     string
		err    string // the result's Error
		output string
		outbox int
	}{
		"empty":               {`{"ok":true,"response":{}}`, "", "", 0},
		"whitespace":          {" {\n\"ok\" : true, \"response\" : { \"Output\" : { \"a\" : 1 } } } ", "", `{ "a" : 1 }`, 0},
		"output kept as is":   {`{"ok":true,"response":{"Output":{"z":"\u003c<","a":1.50}}}`, "", `{"z":"\u003c<","a":1.50}`, 0},
		"output null":         {`{"ok":true,"response":{"Output":null}}`, "", "null", 0},
		"output text":         {`{"ok":true,"response":{"Output":""}}`, "", `""`, 0},
		"gas ignored":         {`{"ok":true,"response":{"GasUsed":5},"x":1}`, "", "", 0},
		"lists":               {`{"ok":true,"response":{"Messages":[{},{}],"Spawns":[{}],"Assignments":[{}]}}`, "", "", 4},
		"Lua's empty tables":  {`{"ok":true,"response":{"Messages":{},"Spawns":{},"Assignments":{}}}`, "", "", 0},
		"null lists":          {`{"ok":true,"response":{"Messages":null,"Spawns":null,"Assignments":null,"Error":null}}`, "", "", 0},
		"lists that are none": {`{"ok":true,"response":{"Messages":"x","Spawns":1,"Assignments":true}}`, "", "", 0},
		"junk elements":       {`{"ok":true,"response":{"Messages":[null,1,"x",[],true]}}`, "", "", 5},
		"error":               {`{"ok":true,"response":{"Error":"no","Output":1,"Messages":[{}]}}`, `"no"`, "1", 0},
		"error object":        {`{"ok":true,"response":{"Error":{"a":[1]}}}`, `{"a":[1]}`, "", 0},
		"empty error":         {`{"ok":true,"response":{"Error":"","Messages":[{}]}}`, "", "", 1},
		"error in lower case": {`{"ok":true,"response":{"error":"no","output":1,"messages":[{}]}}`, "", "", 0},
		"twice":               {`{"ok":false,"ok":true,"response":{"Output":1,"Output":2,"Error":"no","Error":null}}`, "", "2", 0},
		"not ok":              {`{"ok":false,"response":"boom"}`, `"boom"`, "", 0},
		"not ok, object":      {`{"ok":false,"response":{"Messages":[{}]}}`, `{"Messages":[{}]}`, "", 0},
		"not ok, nothing":     {`{"ok":false}`, `"the module returned no result"`, "", 0},
		"not ok, null":        {`{"ok":false,"response":null}`, `"the module returned no result"`, "", 0},
		"not ok, empty":       {`{"ok":false,"response":""}`, `"the module returned no result"`, "", 0},
		"escaped names":       {`{"\u006fk":true,"response":{"Outp\u0075t":3}}`, "", "3", 0},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ParseResponse([]byte(c.in))
			check(t, err)
			if string(r.Error) != c.err || string(r.Output) != c.output || r.Outbox() != c.outbox {
				t.Errorf("error %s, output %s, outbox %d", r.Error, r.Output, r.Outbox())
			}
			if (r.Error == nil) != (c.err == "") || (r.Output == nil) != (c.output == "") || r.Decision != Accepted {
				t.Errorf("nil error %v, nil output %v, decision %d", r.Error == nil, r.Output == nil, r.Decision)
			}
		})
	}
	deep := strings.Repeat("[", 20_000)
	for _, in := range []string{
		"", " ", "null", "1", "[]", `"ok"`, "{}", `{"ok":null,"response":{}}`, `{"ok":1,"response":{}}`, `{"ok":"true","response":{}}`,
		`{"OK":true,"response":{}}`, `{"response":{}}`, `{"ok":true}`, `{"ok":true,"response":null}`, `{"ok":true,"response":[]}`,
		`{"ok":true,"response":"x"}`, `{"ok":true,"response":1}`, `{"ok":true,"response":{}`, `{"ok":true,"response":{}}x`,
		`{"ok":true,"response":{}}{}`, `{'ok':true}`, `{"ok":true,"response":{"Output":NaN}}`, "\xff", deep,
		`{"ok":true,"response":{"Output":` + deep + `}}`,
	} {
		r, err := ParseResponse([]byte(in))
		if !errors.Is(err, ErrResponse) || r.Error != nil {
			t.Errorf("%.60q: %+v, %v", in, r, err)
		}
	}
}

func TestParseDrafts(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want Draft
	}{
		"whole": {
			`{"Target":"t","Anchor":"a","Data":"d","Tags":[{"name":"A","value":"1"},{"name":"A","value":"2"}]}`,
			Draft{Target: "t", Anchor: "a", Data: []byte("d"), Tags: tags("A=1", "A=2")},
		},
		"nothing":       {`{}`, Draft{}},
		"nulls":         {`{"Target":null,"Anchor":null,"Data":null,"Tags":null}`, Draft{}},
		"numbers":       {`{"Target":"t","Data":1.50,"Tags":[{"name":"N","value":7},{"name":1e3,"value":-0.0}]}`, Draft{Target: "t", Data: []byte("1.50"), Tags: tags("N=7", "1e3=-0.0")}},
		"booleans":      {`{"Target":"t","Data":false,"Tags":[{"name":"B","value":true}]}`, Draft{Target: "t", Data: []byte("false"), Tags: tags("B=true")}},
		"null value":    {`{"Target":"t","Tags":[{"name":"B","value":null},{"name":"C"}]}`, Draft{Target: "t", Tags: tags("B=", "C=")}},
		"data object":   {`{"Target":"t","Data":{"b": 1,"a":[2]}}`, Draft{Target: "t", Data: []byte(`{"b": 1,"a":[2]}`)}},
		"escapes":       {`{"Target":"t","Data":"\u0041\n\u00e9\ud83d\ude00"}`, Draft{Target: "t", Data: []byte("A\né😀")}},
		"lone half":     {`{"Target":"t","Data":"\ud83d"}`, Draft{Target: "t", Data: []byte("\ufffd")}},
		"empty table":   {`{"Target":"t","Tags":{}}`, Draft{Target: "t"}},
		"last counts":   {`{"Target":"s","Target":"t","Tags":[{"name":"A","value":"1"}],"Tags":[{"name":"B"}]}`, Draft{Target: "t", Tags: tags("B=")}},
		"exact names":   {`{"target":"t","TAGS":[],"Target":"u","Tags":[{"Name":"A","Value":"1","name":"B","value":"2"}]}`, Draft{Target: "u", Tags: tags("B=2")}},
		"more members":  {`{"Target":"t","Owner":"x","Tags":[{"name":"A","value":"1","x":{}}]}`, Draft{Target: "t", Tags: tags("A=1")}},
		"tags a table":  {`{"Target":"t","Tags":{"A":"1"}}`, Draft{}},
		"tags a text":   {`{"Target":"t","Tags":"A"}`, Draft{}},
		"tag a number":  {`{"Target":"t","Tags":[1]}`, Draft{}},
		"tag null":      {`{"Target":"t","Tags":[null]}`, Draft{}},
		"number":        {`7`, Draft{}},
		"list":          {`["Target"]`, Draft{}},
		"null":          {`null`, Draft{}},
		"white space":   {`{ "Target" : "t" }`, Draft{Target: "t"}},
		"target number": {`{"Target":12}`, Draft{Target: "12"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ParseResponse([]byte(`{"ok":true,"response":{"Messages":[ ` + c.in + ` ],"Spawns":[` + c.in + `]}}`))
			check(t, err)
			for _, d := range []Draft{r.Messages[0], r.Spawns[0]} {
				if d.Target != c.want.Target || d.Anchor != c.want.Anchor || string(d.Data) != string(c.want.Data) || !slices.Equal(d.Tags, c.want.Tags) {
					t.Errorf("%+v, want %+v", d, c.want)
				}
				if string(d.Raw) != c.in {
					t.Errorf("raw %s, want %s", d.Raw, c.in)
				}
			}
		})
	}
}

func TestParseAssigns(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want AssignDraft
	}{
		"whole":         {`{"Message":"m","Processes":["p","q"],"Exclude":["Data"]}`, AssignDraft{Message: "m", Processes: []string{"p", "q"}, AssignOptions: AssignOptions{Exclude: []string{"Data"}}}},
		"base layer":    {`{"Message":"m","Processes":["p"],"BaseLayer":true}`, AssignDraft{Message: "m", Processes: []string{"p"}, AssignOptions: AssignOptions{BaseLayer: true}}},
		"nothing":       {`{}`, AssignDraft{}},
		"empty tables":  {`{"Message":"m","Processes":{},"Exclude":{}}`, AssignDraft{Message: "m"}},
		"not lists":     {`{"Message":"m","Processes":"p","Exclude":1}`, AssignDraft{Message: "m"}},
		"numbers":       {`{"Message":1,"Processes":[2,null]}`, AssignDraft{Message: "1", Processes: []string{"2", ""}}},
		"other case":    {`{"message":"m","processes":["p"]}`, AssignDraft{}},
		"not an object": {`["m"]`, AssignDraft{}},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ParseResponse([]byte(`{"ok":true,"response":{"Assignments":[` + c.in + `]}}`))
			check(t, err)
			a := r.Assignments[0]
			if a.Message != c.want.Message || !slices.Equal(a.Processes, c.want.Processes) || !slices.Equal(a.Exclude, c.want.Exclude) || a.BaseLayer != c.want.BaseLayer || string(a.Raw) != c.in {
				t.Errorf("%+v, want %+v", a, c.want)
			}
		})
	}
}

func TestOutboxLimit(t *testing.T) {
	response := func(messages, spawns, assignments int) []byte {
		list := func(n int) string { return strings.TrimSuffix(strings.Repeat("{},", n), ",") }
		return fmt.Appendf(nil, `{"ok":true,"response":{"Output":1,"Messages":[%s],"Spawns":[%s],"Assignments":[%s]}}`,
			list(messages), list(spawns), list(assignments))
	}
	r, err := ParseResponse(response(MaxOutbox-2, 1, 1))
	check(t, err)
	if r.Error != nil || r.Outbox() != MaxOutbox {
		t.Errorf("%d elements, error %s", r.Outbox(), r.Error)
	}
	r, err = ParseResponse(response(MaxOutbox-1, 1, 1))
	check(t, err)
	if string(r.Error) != `"too many messages in the outbox: at most 4096"` || r.Outbox() != 0 || r.Output != nil {
		t.Errorf("%d elements, error %s", r.Outbox(), r.Error)
	}
}

func TestFailed(t *testing.T) {
	if r := Failed("a \"b\"\n\xff<"); string(r.Error) != `"a \"b\"\n\ufffd\u003c"` || r.Outbox() != 0 || r.Output != nil {
		t.Errorf("%s", r.Error)
	}
}
