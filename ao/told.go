package ao

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// ErrTold says that bytes are no page of a schedule as a HyperBEAM node writes it for its computer.
var ErrTold = errors.New("not a page of a HyperBEAM node's schedule")

// Bounds of what is told.
const (
	// MaxTold bounds a page in bytes: in JSON a byte of a message may take six.
	MaxTold = 6*MaxItem + 1<<20
	// MaxToldPage bounds its entries.
	MaxToldPage = 1000

	maxToldTags = 512
	maxToldText = 64 << 10 // bytes of an item's tags, and of each of its other fields but the data
)

// ToldPage is a part of a log as a HyperBEAM node tells it: parts of items without the keys of their signers, so that nobody
// can verify them, not even that the ID is theirs. Whoever evaluates such entries takes the node's word for everything, and
// must not sign for what comes out.
type ToldPage struct {
	// Entries have ProofTold. Where only the ID of a message is told, which exists elsewhere, the Message is zero and the
	// assignment names it.
	Entries []Entry
	HasNext bool
	Cursor  string // of the last entry: where the next page begins
}

// told is an item as it is told.
type told struct {
	id                       ID
	owner, anchor, signature string
	target                   []byte
	tags                     Tags
	data                     []byte // nil: there is none that is text
	void                     bool   // of an assignment
}

func (t *told) ID() ID               { return t.id }
func (t *told) OwnerAddress() string { return t.owner }
func (t *told) Target() []byte       { return t.target }
func (t *told) Anchor() []byte       { return []byte(t.anchor) }
func (t *told) Tags() []Tag          { return slices.Clone(t.tags) }
func (t *told) Data() []byte         { return t.data }

func (t *told) Tag(name string) (string, bool) { return t.tags.Lookup(name) }

func (t *told) Raw() []byte { return nil }

// Signature is nil of what is no base64url.
func (t *told) Signature() []byte {
	raw, err := base64.RawURLEncoding.DecodeString(t.signature)
	if err != nil {
		return nil
	}
	return raw
}

// ParseTold reads a page, or the JSON text that holds one. Errors: ErrTold.
func ParseTold(raw []byte) (ToldPage, error) {
	if len(raw) > MaxTold {
		return ToldPage{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTold, len(raw), MaxTold)
	}
	if raw = bytes.TrimSpace(raw); bytes.HasPrefix(raw, []byte(`"`)) {
		var inner string
		if err := json.Unmarshal(raw, &inner); err != nil {
			return ToldPage{}, fmt.Errorf("%w: %w", ErrTold, err)
		}
		raw = []byte(inner)
	}
	top, ok := members(raw, "page_info", "edges")
	if !ok {
		return ToldPage{}, fmt.Errorf("%w: no JSON object", ErrTold)
	}
	var p ToldPage
	info, _ := members(top["page_info"], "has_next_page")
	switch next := text(info["has_next_page"]); next {
	case "", "false", "undefined":
	default:
		p.HasNext = true
	}
	edges, ok := elements(top["edges"], MaxToldPage)
	if !ok || len(edges) > MaxToldPage || top["edges"] == nil {
		return ToldPage{}, fmt.Errorf("%w: no list of at most %d edges", ErrTold, MaxToldPage)
	}
	for _, raw := range edges {
		edge, _ := members(raw, "cursor", "node")
		node, ok := members(edge["node"], "message", "assignment")
		if !ok {
			return ToldPage{}, fmt.Errorf("%w: an edge without a node", ErrTold)
		}
		e, err := toldEntry(node["message"], node["assignment"])
		if err != nil {
			return ToldPage{}, err
		}
		p.Entries, p.Cursor = append(p.Entries, e), text(edge["cursor"])
	}
	return p, nil
}

// toldEntry is one slot.
func toldEntry(message, assignment json.RawMessage) (Entry, error) {
	a, whole, err := parseTold(assignment)
	if err != nil {
		return Entry{}, fmt.Errorf("assignment: %w", err)
	}
	if !whole {
		return Entry{}, fmt.Errorf("%w: an assignment without tags", ErrTold)
	}
	e := Entry{Proof: ProofTold, Assignment: Assignment{is: a}}
	f := &e.Assignment.fields
	if err := f.told(a.tags); err != nil {
		return Entry{}, err
	}
	if a.void = a.tags.Get("Skip") == "true"; a.void {
		if original, ok := a.tags.Lookup("Original-Assignment-Id"); ok {
			if a.id, err = ParseID(original); err != nil {
				return Entry{}, fmt.Errorf("%w: slot %d: Original-Assignment-Id: %w", ErrTold, f.Nonce, err)
			}
		}
	}
	if isBlank(message) { // it is somewhere else, and the assignment knows its ID
		message = json.RawMessage(`{"Id":` + strconv.Quote(a.tags.Get("Message")) + `}`)
	}
	m, whole, err := parseTold(message)
	if err != nil {
		return Entry{}, fmt.Errorf("slot %d: %w", f.Nonce, err)
	}
	f.Message = m.id
	if !whole {
		return e, nil
	}
	e.Message = Message{is: m, process: f.Process}
	if f.Nonce == 0 && m.tags.Get("Type") == TypeProcess {
		// What its own ID is depends on how many have signed it: here it is what it is asked for by.
		e.Message.spawn, m.id, f.Message = true, f.Process, f.Process
		return e, nil
	}
	m.target = f.Process[:]
	return e, nil
}

// parseTold reads an item; whole is false of one of which only the ID is told.
func parseTold(raw json.RawMessage) (t *told, whole bool, err error) {
	m, ok := members(raw, "Id", "Owner", "PublicKey", "Anchor", "Target", "Signature", "Tags", "Data")
	if !ok {
		return nil, false, fmt.Errorf("%w: an item that is no JSON object", ErrTold)
	}
	t = &told{owner: text(m["Owner"]), anchor: text(m["Anchor"]), signature: text(m["Signature"])}
	if t.id, err = ParseID(text(m["Id"])); err != nil {
		return nil, false, fmt.Errorf("%w: Id: %w", ErrTold, err)
	}
	if m["Owner"] == nil && m["Tags"] == nil {
		return t, false, nil
	}
	if max(len(t.owner), len(t.anchor), len(t.signature), len(m["PublicKey"])) > maxToldText {
		return nil, false, fmt.Errorf("%w: long fields", ErrTold)
	}
	t.owner = toldOwner(t.owner, text(m["PublicKey"]))
	if id, err := ParseID(text(m["Target"])); err == nil {
		t.target = id[:]
	}
	if data := m["Data"]; len(data) > 0 && string(data) != "null" {
		t.data = append([]byte{}, text(data)...)
	}
	if len(t.data) > MaxItem {
		return nil, false, fmt.Errorf("%w: %d bytes of data, at most %d", ErrTold, len(t.data), MaxItem)
	}
	list, ok := elements(m["Tags"], maxToldTags)
	if !ok || len(list) > maxToldTags {
		return nil, false, fmt.Errorf("%w: no list of at most %d tags", ErrTold, maxToldTags)
	}
	size := 0
	for _, raw := range list {
		tag, ok := members(raw, "name", "value")
		if !ok {
			return nil, false, fmt.Errorf("%w: a tag that is none", ErrTold)
		}
		t.tags = append(t.tags, Tag{Name: text(tag["name"]), Value: text(tag["value"])})
		size += len(tag["name"]) + len(tag["value"])
	}
	if size > maxToldText {
		return nil, false, fmt.Errorf("%w: %d bytes of tags, at most %d", ErrTold, size, maxToldText)
	}
	return t, true, nil
}

// toldOwner is the address by which a module knows the signer: that of an Ethereum key, where one is told, is not the one
// that the node gives.
func toldOwner(address, key string) string {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(key, "="))
	if err != nil {
		return address
	}
	if eth, err := ans104.Address(ans104.Ethereum, raw); err == nil {
		return eth
	}
	return address
}

// told reads an assignment's tags.
func (f *AssignmentFields) told(tags Tags) (err error) {
	bad := func(name string) error { return fmt.Errorf("%w: %s %.48q", ErrTold, name, tags.Get(name)) }
	if f.Process, err = ParseID(tags.Get("Process")); err != nil {
		return bad("Process")
	}
	slot, ok := tags.Lookup("Slot")
	if !ok {
		slot = tags.Get("Nonce")
	}
	if f.Nonce, err = ParseSlot(slot); err != nil || f.Nonce >= math.MaxInt64 {
		return bad("Slot")
	}
	if link, ok := tags.Lookup("Hash-Chain"); ok {
		if f.HashChain, err = ParseID(link); err != nil {
			return bad("Hash-Chain")
		}
	}
	if f.BlockHeight, err = strconv.ParseUint(tags.Get("Block-Height"), 10, 63); err != nil {
		return bad("Block-Height")
	}
	if f.Timestamp, err = strconv.ParseInt(tags.Get("Timestamp"), 10, 63); err != nil || f.Timestamp < 0 {
		return bad("Timestamp")
	}
	f.Exclude = tags.All("Exclude")
	return nil
}
