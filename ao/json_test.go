package ao

import (
	"encoding/json"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestHostileAnswerMemory: an answer of many tiny parts must not cost a multiple of its bytes.
func TestHostileAnswerMemory(t *testing.T) {
	const size = 4 << 20
	fill := func(part string) string { return strings.TrimSuffix(strings.Repeat(part, size/len(part)), ",") }
	for name, in := range map[string]string{
		"elements":  `{"ok":true,"response":{"Messages":[` + fill("0,") + `]}}`,
		"tags":      `{"ok":true,"response":{"Messages":[{"Target":"t","Tags":[` + fill("{},") + `]}]}}`,
		"processes": `{"ok":true,"response":{"Assignments":[{"Message":"m","Processes":[` + fill("0,") + `]}]}}`,
		"members":   `{"ok":true,"response":{` + fill(`"x":0,`) + `}}`,
		"outer":     `{"ok":true,` + fill(`"x":0,`) + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			raw := []byte(in)
			runtime.ReadMemStats(&before)
			r, err := ParseResponse(raw)
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 3*size {
				t.Errorf("%d bytes for an answer of %d", used, len(raw))
			}
			switch name {
			case "elements":
				if err != nil || r.Error == nil || r.Outbox() != 0 {
					t.Errorf("outbox of %d, %s, %v", r.Outbox(), r.Error, err)
				}
			case "tags":
				if err != nil || r.Outbox() != 1 || r.Messages[0].Target != "" {
					t.Errorf("outbox of %d, %v", r.Outbox(), err)
				}
			case "processes":
				if err != nil || r.Outbox() != 1 || r.Assignments[0].Message != "" || r.Assignments[0].Processes != nil {
					t.Errorf("outbox of %d, %v", r.Outbox(), err)
				}
			}
		})
	}
}

// FuzzMembers holds the reading by hand against encoding/json.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{
		response, `{}`, `[]`, ` { "a" : [1 , {"b":"]}"}] , "Tag\u0073":-1.5e+3, "Tags" :"\\\"" } `, `["a",[],{},null,true , 1]`, `{"":1}`,
		"\v{}", "\u00a0[]", `{"a":1,}`, `{"Tags":{"Tags":1},"Tags":tru}`, `"x"`, `null`, `[1] `, "{\"\xff\":1,\"Tags\":\"\xff\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var want map[string]json.RawMessage
		isObject := json.Unmarshal(raw, &want) == nil && want != nil
		got, ok := members(raw, "Tags", "a", "ok")
		if ok != isObject {
			t.Fatalf("an object: %v, encoding/json says %v", ok, isObject)
		}
		for _, name := range []string{"Tags", "a", "ok"} {
			if string(got[name]) != string(want[name]) {
				t.Fatalf("%s is %q, encoding/json says %q", name, got[name], want[name])
			}
		}
		var list []json.RawMessage
		isList := json.Unmarshal(raw, &list) == nil
		elems, fine := elements(raw, 3)
		if fine != (isList || isObject && len(want) == 0 || isBlank(raw)) {
			t.Fatalf("a list: %v, encoding/json says %v", fine, isList)
		}
		if !slices.EqualFunc(elems, list[:min(len(list), 4)], func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
			t.Fatalf("elements %q, encoding/json says %q", elems, list)
		}
	})
}
