package ao

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrResponse says that a module's answer is not the JSON object that the envelope asks for. Its text becomes a result's
// Error and so is signed: another wording is another execution profile.
var ErrResponse = errors.New("the module returned no result")

// MaxOutbox bounds the messages, spawns and assignments of one result together. The bound and the text of its refusal
// show in signed results, as ErrResponse does.
const MaxOutbox = 4096

// Decision is what the log's rules made of an entry before it was evaluated (§5.5.3).
type Decision uint8

// The decisions. Only accepted entries reach the module.
const (
	Accepted  Decision = 0
	Duplicate Decision = 1 // its message took effect in an earlier slot (§5.2.2)
	Skipped   Decision = 2 // there is none: a scheduler of today's network left the slot out
)

// Result is what evaluating one entry brought forth. A result with an Error has an empty outbox and left the state
// as it was.
type Result struct {
	Error       json.RawMessage // as the module emitted it; nil if it did not fail
	Output      json.RawMessage // as the module emitted it; nil if absent
	Messages    []Draft
	Spawns      []Draft
	Assignments []AssignDraft
	Patches     []json.RawMessage // to the state of a HyperBEAM node that asked, and of nothing else; no part of the digest
	Decision    Decision
	GasUsed     uint64 // fuel; a local figure, no part of the digest
}

// Failed is the result of an evaluation that ended in the given fixed text.
func Failed(text string) Result {
	raw, err := json.Marshal(text)
	if err != nil { // strings always marshal
		panic(err)
	}
	return Result{Error: raw}
}

// Outbox counts what is left to push.
func (r Result) Outbox() int { return len(r.Messages) + len(r.Spawns) + len(r.Assignments) }

// Draft is an unsigned message or spawn in an outbox.
type Draft struct {
	Target string // a process or wallet; empty for a spawn
	Anchor string
	Data   []byte
	Tags   Tags
	Raw    json.RawMessage // the element as the module emitted it: the leaf of the outbox root
}

// AssignDraft asks that an existing message be assigned to more processes.
type AssignDraft struct {
	Processes []string
	Message   string
	AssignOptions
	Raw json.RawMessage
}

// ParseResponse reads what a module's handle returned: {"ok":bool,"response":…}. Elements of the outbox that are not
// of the right shape keep their raw bytes and have no target, so that they count in the digest and go nowhere.
// Errors: ErrResponse.
func ParseResponse(raw []byte) (Result, error) {
	outer, isObject := members(raw, "ok", "response")
	var success *bool
	if !isObject || json.Unmarshal(outer["ok"], &success) != nil || success == nil {
		return Result{}, ErrResponse
	}
	if !*success {
		if isBlank(outer["response"]) {
			return Failed(ErrResponse.Error()), nil
		}
		return Result{Error: bytes.Clone(outer["response"])}, nil
	}
	body, isObject := members(outer["response"], "Output", "Error", "Messages", "Spawns", "Assignments", "Patches")
	if !isObject {
		return Result{}, ErrResponse
	}
	r := Result{Output: bytes.Clone(body["Output"])}
	if !isBlank(body["Error"]) {
		r.Error = bytes.Clone(body["Error"])
		return r, nil
	}
	lists := [3][]json.RawMessage{}
	total := 0
	for i, name := range []string{"Messages", "Spawns", "Assignments"} {
		lists[i], _ = elements(body[name], MaxOutbox)
		total += len(lists[i])
	}
	if total > MaxOutbox {
		return Failed(fmt.Sprintf("too many messages in the outbox: at most %d", MaxOutbox)), nil
	}
	if patches, ok := elements(body["Patches"], MaxOutbox); ok && len(patches) <= MaxOutbox {
		for _, e := range patches {
			r.Patches = append(r.Patches, bytes.Clone(e))
		}
	}
	for _, e := range lists[0] {
		r.Messages = append(r.Messages, parseDraft(bytes.Clone(e)))
	}
	for _, e := range lists[1] {
		r.Spawns = append(r.Spawns, parseDraft(bytes.Clone(e)))
	}
	for _, e := range lists[2] {
		r.Assignments = append(r.Assignments, parseAssign(bytes.Clone(e)))
	}
	return r, nil
}

// isBlank holds for what JavaScript clients take as absent: nothing, null and the empty string.
func isBlank(raw json.RawMessage) bool {
	s := bytes.TrimSpace(raw)
	return len(s) == 0 || string(s) == "null" || string(s) == `""`
}

func parseDraft(raw json.RawMessage) Draft {
	d := Draft{Raw: raw}
	m, ok := members(raw, "Target", "Anchor", "Data", "Tags")
	if !ok {
		return d
	}
	list, ok := elements(m["Tags"], maxList)
	if !ok || len(list) > maxList {
		return d
	}
	var tags Tags
	for _, e := range list {
		t, ok := members(e, "name", "value")
		if !ok {
			return d
		}
		tags = append(tags, Tag{Name: text(t["name"]), Value: text(t["value"])})
	}
	d.Target, d.Anchor, d.Data, d.Tags = text(m["Target"]), text(m["Anchor"]), []byte(text(m["Data"])), tags
	return d
}

func parseAssign(raw json.RawMessage) AssignDraft {
	a := AssignDraft{Raw: raw}
	m, ok := members(raw, "Message", "Processes", "BaseLayer", "Exclude")
	if !ok {
		return a
	}
	processes, fits := texts(m["Processes"])
	exclude, fit := texts(m["Exclude"])
	if fits && fit {
		a.Message, a.Processes, a.Exclude = text(m["Message"]), processes, exclude
		a.BaseLayer = text(m["BaseLayer"]) == "true"
	}
	return a
}

func texts(raw json.RawMessage) (out []string, fits bool) {
	list, _ := elements(raw, maxList)
	if len(list) > maxList {
		return nil, false
	}
	for _, e := range list {
		out = append(out, text(e))
	}
	return out, true
}

// text is a JSON string's content; numbers and booleans, which modules emit as tag values, are their own text.
func text(raw json.RawMessage) string {
	s := bytes.TrimSpace(raw)
	if len(s) == 0 || string(s) == "null" {
		return ""
	}
	if s[0] == '"' {
		var out string
		if json.Unmarshal(s, &out) == nil {
			return out
		}
	}
	return string(s)
}

// Query is the message of a dry-run: nobody signs it, so everything in it is what the caller says.
type Query struct {
	Owner  string
	From   string
	Anchor string
	Data   []byte
	Tags   Tags
}
