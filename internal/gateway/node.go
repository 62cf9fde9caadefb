package gateway

import (
	"crypto/sha256"
	"encoding/base64"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// page is a part of a log as the reference scheduler writes it.
type page struct {
	Info  pageInfo `json:"page_info"`
	Edges []edge   `json:"edges"`
}

type pageInfo struct {
	HasNext bool `json:"has_next_page"`
}

type edge struct {
	Node   node   `json:"node"`
	Cursor string `json:"cursor"`
}

// node is one entry of a log.
type node struct {
	Message    *messageInfo   `json:"message"` // null where an existing message is only assigned
	Assignment assignmentInfo `json:"assignment"`
}

type messageInfo struct {
	ID        string  `json:"id"`
	Owner     owner   `json:"owner"`
	Data      string  `json:"data"`
	Tags      []tag   `json:"tags"`
	Signature string  `json:"signature"`
	Anchor    *string `json:"anchor"`
	Target    string  `json:"target"`
}

type assignmentInfo struct {
	ID        string  `json:"id"`
	Owner     owner   `json:"owner"`
	Tags      []tag   `json:"tags"`
	Signature string  `json:"signature"`
	Anchor    *string `json:"anchor"`
	Target    string  `json:"target"`
}

// processInfo is a process as the reference scheduler writes it.
type processInfo struct {
	ProcessID string  `json:"process_id"`
	Block     string  `json:"block"`
	Owner     owner   `json:"owner"`
	Tags      []tag   `json:"tags"`
	Timestamp int64   `json:"timestamp"`
	Data      *string `json:"data"`
	Anchor    *string `json:"anchor"`
	Signature string  `json:"signature"`
	Target    *string `json:"target"`
}

type owner struct {
	Address string `json:"address"`
	Key     string `json:"key"`
}

type tag struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// nodeOf is an entry; anchors says whether its assignment's is shown.
func nodeOf(e ao.Entry, anchors bool) node {
	a := e.Assignment.Item()
	out := node{
		Assignment: assignmentInfo{
			ID: a.ID().String(), Owner: ownerOf(a), Tags: tagsOf(a), Signature: encode(a.Signature()), Anchor: anchorOf(a),
			Target: encode(a.Target()),
		},
	}
	if m := e.Message.Item(); m != nil && e.Message.Target() == e.Assignment.Process() { // else it is at home elsewhere
		out.Message = &messageInfo{
			ID: m.ID().String(), Owner: ownerOf(m), Data: text(m.Data()), Tags: tagsOf(m), Signature: encode(m.Signature()),
			Anchor: anchorOf(m), Target: encode(m.Target()),
		}
	}
	if anchors && len(a.Anchor()) > 0 {
		shown := encode(a.Anchor())
		out.Assignment.Anchor = &shown
	}
	return out
}

// processOf is the first entry of a log as its process.
func processOf(e ao.Entry) processInfo {
	m, f := e.Message.Item(), e.Assignment.Fields()
	out := processInfo{
		ProcessID: m.ID().String(), Block: twelveDigits(f.BlockHeight), Owner: ownerOf(m), Tags: tagsOf(m), Timestamp: f.Timestamp,
		Anchor: anchorOf(m), Signature: encode(m.Signature()),
	}
	if utf8.Valid(m.Data()) {
		data := string(m.Data())
		out.Data = &data
	}
	if target := encode(m.Target()); target != "" {
		out.Target = &target
	}
	return out
}

// ownerOf is the signer. The address is the digest of the key whatever its kind, as the reference scheduler has it.
func ownerOf(it *ans104.Item) owner {
	return owner{Address: digest(it.Owner()), Key: encode(it.Owner())}
}

func tagsOf(it *ans104.Item) []tag {
	out := []tag{}
	for _, t := range it.Tags() {
		out = append(out, tag{text([]byte(t.Name)), text([]byte(t.Value))})
	}
	return out
}

// anchorOf is an anchor that is text; null if there is none, or none that can be read.
func anchorOf(it *ans104.Item) *string {
	if len(it.Anchor()) == 0 || !utf8.Valid(it.Anchor()) {
		return nil
	}
	s := string(it.Anchor())
	return &s
}

// text is bytes as text. What is no UTF-8 becomes U+FFFD as decoders of today's clients make it, one for each sequence that
// begins like one; the bytes themselves are on Arweave.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	out, err := unicode.UTF8.NewDecoder().Bytes(b)
	if err != nil { // it has an answer to everything
		return string(b)
	}
	return string(out)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// digest is the SHA-256 of bytes, as IDs and addresses are written.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return encode(sum[:])
}
