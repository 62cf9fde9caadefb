package ao

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// ErrDraft says that an element of an outbox cannot become an item: it names no target, or its tags do not fit.
var ErrDraft = errors.New("the outbox element cannot be pushed")

// Kind says which list of an outbox an element stands in.
type Kind uint8

// The kinds, in the order of the outbox root. They are also the kind bytes of its leaves.
const (
	KindMessage    Kind = 1
	KindSpawn      Kind = 2
	KindAssignment Kind = 3
)

// String is the kind's word.
func (k Kind) String() string {
	switch k {
	case KindMessage:
		return "message"
	case KindSpawn:
		return "spawn"
	case KindAssignment:
		return "assignment"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Origin says where in which outbox a pushed message comes from. From, Index and Digest make a messenger accountable:
// a pushed message that is not in the outbox of the digest it cites is a fault of its signer's (§5.5.2).
type Origin struct {
	Process   ID
	Module    string // the sending process's module
	PushedFor string // ID of the message that began the push; empty if unknown
	Slot      Slot
	Index     int      // position in the whole outbox: messages, then spawns, then assignments
	Digest    [32]byte // of the result that holds the outbox
}

// Sign makes the message that the draft asks for (§3.5). bundle is the ID of the attestations that travel with it,
// or the zero ID. Errors: ErrDraft.
func (d Draft) Sign(s ans104.Signer, o Origin, bundle ID) (Message, error) {
	target, err := ParseID(d.Target)
	if err != nil {
		return Message{}, fmt.Errorf("%w: target %.48q", ErrDraft, d.Target)
	}
	tags := unvouched(d.Tags).Without("Data-Protocol", "Type", "Assignments")
	tags = append(tags,
		Tag{Name: "Data-Protocol", Value: DataProtocol},
		Tag{Name: "Type", Value: TypeMessage},
		Tag{Name: "From-Process", Value: o.Process.String()},
		Tag{Name: "From-Module", Value: o.Module})
	return sealDraft(s, d, target[:], o.tags(tags, bundle))
}

// Assignments are the further processes that the message asks to be assigned to: a JSON list in the tag of that name, which
// a messenger takes out. Errors: ErrDraft.
func (d Draft) Assignments() ([]string, error) {
	value, ok := d.Tags.Lookup("Assignments")
	if !ok {
		return nil, nil
	}
	list, ok := elements(json.RawMessage(value), maxList)
	if !ok || len(list) > maxList {
		return nil, fmt.Errorf("%w: Assignments %.48q is no list of processes", ErrDraft, value)
	}
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = text(e)
	}
	return out, nil
}

// SignSpawn makes the process that a spawn asks for; scheduler is the spawner's, used if the draft names none.
func (d Draft) SignSpawn(s ans104.Signer, o Origin, scheduler string) (Message, error) {
	variant := Variant
	if d.Tags.Get("Variant") == variantMainnet {
		variant = variantMainnet
	}
	tags := unvouched(d.Tags).Without("Data-Protocol", "Type", "Variant")
	if tags.Get("Scheduler") == "" {
		tags = append(tags.Without("Scheduler"), Tag{Name: "Scheduler", Value: scheduler})
	}
	tags = append(tags,
		Tag{Name: "Variant", Value: variant},
		Tag{Name: "Data-Protocol", Value: DataProtocol},
		Tag{Name: "Type", Value: TypeProcess},
		Tag{Name: "From-Process", Value: o.Process.String()},
		Tag{Name: "From-Module", Value: o.Module})
	return sealDraft(s, d, nil, o.tags(tags, ID{}))
}

// Spawned is the notice that tells a spawner which process its spawn became.
func (d Draft) Spawned(process ID) Draft {
	tags := d.Tags.Without("Data-Protocol", "Type", "Variant", "Process", "Action", "Module", "Scheduler", "Authority")
	return Draft{Tags: append(tags,
		Tag{Name: "Process", Value: process.String()},
		Tag{Name: "Action", Value: "Spawned"},
		Tag{Name: "Variant", Value: Variant})}
}

// Abroad is a message that a messenger has made as it goes to units of today's network: signed by s, and without the tags that
// say where it came from, which they do not know. To one of ours it is a copy of the message (PushDigest). Errors: ErrDraft.
func (m Message) Abroad(s ans104.Signer) (Message, error) {
	return m.again(s, m.Tags().Without("From-Slot", "From-Index", "From-Result"))
}

// Renamed is the notice of a spawn, signed by s, for the process that it has become instead. Errors: ErrDraft.
func (m Message) Renamed(s ans104.Signer, process ID) (Message, error) {
	tags := slices.Clone(m.Tags())
	for i := range tags {
		if tags[i].Name == "Process" {
			tags[i].Value = process.String()
		}
	}
	return m.again(s, tags)
}

// again signs the message with other tags.
func (m Message) again(s ans104.Signer, tags Tags) (Message, error) {
	it, err := ans104.Sign(s, ans104.Fields{Target: m.is.Target(), Anchor: m.is.Anchor(), Tags: tags, Data: m.Data()})
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrDraft, err)
	}
	out, err := shapeMessage(it)
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrDraft, err)
	}
	return out, nil
}

// unvouched is a copy without the tags by which a messenger vouches for an origin, in any spelling: modules and other
// units fold the case of names, and would take a sender's from-process for its messenger's word.
func unvouched(tags Tags) Tags {
	return slices.DeleteFunc(slices.Clone(tags), func(t Tag) bool {
		return slices.ContainsFunc([]string{"From-Process", "From-Module", "Pushed-For", "From-Slot", "From-Index", "From-Result", tagBundle},
			func(name string) bool { return strings.EqualFold(name, t.Name) })
	})
}

func (o Origin) tags(tags Tags, bundle ID) Tags {
	if o.PushedFor != "" {
		tags = append(tags, Tag{Name: "Pushed-For", Value: o.PushedFor})
	}
	tags = append(tags,
		Tag{Name: "From-Slot", Value: o.Slot.String()},
		Tag{Name: "From-Index", Value: Slot(o.Index).String()},
		Tag{Name: "From-Result", Value: ID(o.Digest).String()})
	if !bundle.IsZero() {
		tags = append(tags, Tag{Name: tagBundle, Value: bundle.String()})
	}
	// Empty names and values, which a careless module emits, are not allowed in an item.
	return slices.DeleteFunc(tags, func(t Tag) bool { return t.Name == "" || t.Value == "" })
}

func sealDraft(s ans104.Signer, d Draft, target []byte, tags Tags) (Message, error) {
	f := ans104.Fields{Target: target, Tags: tags, Data: d.Data}
	if len(d.Anchor) == 32 {
		f.Anchor = []byte(d.Anchor)
	}
	if len(f.Data) == 0 {
		f.Data = []byte(" ")
	}
	it, err := ans104.Sign(s, f)
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrDraft, err)
	}
	m, err := shapeMessage(it)
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrDraft, err)
	}
	return m, nil
}

// SignMessage makes a user's message to a process: user tags first, then the protocol's run, as stock clients do. The
// anchor, 32 bytes or none, tells two messages apart that are otherwise the same.
func SignMessage(s ans104.Signer, target ID, user Tags, data, anchor []byte) (Message, error) {
	return seal(s, ans104.Fields{
		Target: target[:], Anchor: anchor, Tags: append(slices.Clone(user), protocolTags(TypeMessage)...), Data: data,
	})
}

// SignProcess makes a user's process: module and scheduler, user tags first.
func SignProcess(s ans104.Signer, module ID, scheduler string, user Tags, data, anchor []byte) (Message, error) {
	tags := append(slices.Clone(user), protocolTags(TypeProcess)...)
	tags = append(tags, Tag{Name: "Module", Value: module.String()}, Tag{Name: "Scheduler", Value: scheduler})
	return seal(s, ans104.Fields{Anchor: anchor, Tags: tags, Data: data})
}

func protocolTags(kind string) Tags {
	return Tags{
		{Name: "Data-Protocol", Value: DataProtocol},
		{Name: "Variant", Value: Variant},
		{Name: "Type", Value: kind},
	}
}

func seal(s ans104.Signer, f ans104.Fields) (Message, error) {
	if len(f.Data) == 0 {
		f.Data = []byte(" ")
	}
	it, err := ans104.Sign(s, f)
	if err != nil {
		return Message{}, fmt.Errorf("sign message: %w", err)
	}
	return shapeMessage(it)
}
