package unitstest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// Reference is a scheduler as today's network runs it, as far as clients see it: HTTP and JSON, items of Arweave and Ethereum
// wallets alone, a hash chain, random anchors. It is an http.Handler, safe for concurrent use.
type Reference struct {
	signer ans104.Signer

	lock   sync.Mutex
	logs   map[ao.ID]*referenceLog
	calls  int
	height uint64
	buried map[ao.ID]uint64 // how many blocks confirm a transaction of Arweave
}

// referenceLog is a log of its own and what it is made with.
type referenceLog struct {
	process     *ans104.Item
	hasProcess  bool // in the log, as slot 0
	nodes       []referenceNode
	next        ao.Slot
	link        [32]byte
	brokenChain bool
}

// said is an error in the reference's own words.
type said string

// Error is those words.
func (s said) Error() string { return string(s) }

type referenceNode struct {
	assignment *ans104.Item
	message    *ans104.Item // nil where an existing one was assigned
	nonce      ao.Slot
	timestamp  int64
}

// NewReference is a scheduler with that wallet, which sees a block after the change to sound hash chains.
func NewReference(signer ans104.Signer) *Reference {
	return &Reference{signer: signer, logs: map[ao.ID]*referenceLog{}, height: ao.ChainedSince + 1000, buried: map[ao.ID]uint64{}}
}

// Address is the wallet's address, which processes name as their Scheduler.
func (s *Reference) Address() string { return Address(s.signer) }

// Put schedules an item as POST / does, and is the assignment.
func (s *Reference) Put(raw []byte) (*ans104.Item, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.put(raw)
}

// Age has logs that begin from now on begin at a block height; below ao.ChainedSince their chains are broken.
func (s *Reference) Age(height uint64) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.height = height
}

// Old takes the process out of its log, whose next message then has slot 0, as it was before processes were assigned.
func (s *Reference) Old(process ao.ID) {
	s.lock.Lock()
	defer s.lock.Unlock()
	l := s.logs[process]
	l.hasProcess, l.nodes, l.next, l.link = false, nil, 0, ao.FirstLink(process)
}

// Skip leaves slots of a log out.
func (s *Reference) Skip(process ao.ID, slots int) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.logs[process].next += ao.Slot(slots)
}

// Bury lets a transaction of Arweave be assigned as one that so many blocks confirm.
func (s *Reference) Bury(tx ao.ID, depth uint64) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.buried[tx] = depth
}

// Calls is how many requests there were.
func (s *Reference) Calls() int {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.calls
}

func (s *Reference) put(raw []byte) (*ans104.Item, error) {
	it, err := ans104.Parse(raw)
	if err != nil {
		return nil, err
	}
	if t := it.SignatureType(); t != ans104.Arweave && t != ans104.Ethereum && t != ans104.TypedEthereum {
		return nil, said("Invalid signature")
	}
	if err := it.Verify(); err != nil {
		return nil, err
	}
	tags := ao.Tags(it.Tags())
	process := it.ID()
	switch tags.Get("Type") {
	case ao.TypeProcess:
		if tags.Get("Module") == "" || tags.Get("Scheduler") == "" {
			return nil, said("Required Module and Scheduler tags for Process type not present")
		}
		if s.logs[process] != nil {
			return nil, said("Duplicate process id")
		}
		s.logs[process] = &referenceLog{process: it, hasProcess: true, link: ao.FirstLink(process), brokenChain: s.height < ao.ChainedSince}
	case ao.TypeMessage:
		process = ao.ID(it.Target())
		l := s.logs[process]
		if l == nil {
			return nil, said("Process not found")
		}
		if slices.ContainsFunc(l.nodes, func(n referenceNode) bool { return n.message != nil && n.message.ID() == it.ID() }) {
			return nil, said("Message already exists")
		}
	default:
		return nil, said("Type tag not present")
	}
	return s.assign(process, it.ID(), it, nil)
}

// assign gives an item the next slot; message is nil for one that exists elsewhere.
func (s *Reference) assign(process, id ao.ID, message *ans104.Item, exclude []string) (*ans104.Item, error) {
	l := s.logs[process]
	if l == nil {
		return nil, said("Process not found")
	}
	timestamp := int64(ChainStart) + int64(l.next)*7
	tags := ao.Tags{
		{Name: "Process", Value: process.String()},
		{Name: "Epoch", Value: "0"},
		{Name: "Nonce", Value: l.next.String()},
		{Name: "Hash-Chain", Value: base64.RawURLEncoding.EncodeToString(l.link[:])},
		{Name: "Block-Height", Value: fmt.Sprintf("%012d", s.height)},
		{Name: "Timestamp", Value: strconv.FormatInt(timestamp, 10)},
		{Name: "Data-Protocol", Value: "ao"},
		{Name: "Type", Value: "Assignment"},
		{Name: "Variant", Value: "ao.TN.1"},
	}
	if id != process {
		tags = append(tags, ao.Tag{Name: "Message", Value: id.String()})
	}
	for _, field := range exclude {
		tags = append(tags, ao.Tag{Name: "Exclude", Value: field})
	}
	anchor := sha256.Sum256([]byte("anchor of " + process.String() + l.next.String())) // random, and seldom text
	a, err := ans104.Sign(s.signer, ans104.Fields{Anchor: anchor[:], Tags: tags})
	if err != nil {
		return nil, err
	}
	l.nodes = append(l.nodes, referenceNode{assignment: a, message: message, nonce: l.next, timestamp: timestamp})
	assigned := a.ID()
	l.link = sha256.Sum256(append(assigned[:], l.link[:]...))
	if l.brokenChain {
		l.link[0] ^= 0xff
	}
	l.next++
	return a, nil
}

// ServeHTTP is the routes of the reference unit.
func (s *Reference) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.calls++
	q, path := r.URL.Query(), strings.Trim(r.URL.Path, "/")
	var answer any
	var err error
	switch {
	case r.Method == http.MethodPost && path == "":
		answer, err = s.post(r)
	case r.Method != http.MethodGet:
		w.WriteHeader(http.StatusNotFound)
		return
	case path == "":
		answer = map[string]any{"timestamp": "1728407547674", "address": s.Address()}
	case path == "timestamp":
		answer = map[string]any{"timestamp": "1728407547674", "block_height": fmt.Sprintf("%012d", s.height)}
	case strings.HasPrefix(path, "processes/"):
		answer, err = s.process(strings.TrimPrefix(path, "processes/"))
	case strings.HasSuffix(path, "/latest"):
		answer, err = s.latest(strings.TrimSuffix(path, "/latest"))
	default:
		answer, err = s.read(path, q.Get("process-id"), q.Get("from-nonce"), q.Get("to-nonce"), q.Get("limit"), q.Has("show-anchor"))
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]string{"error": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(answer) // a reader that went away is no matter
}

func (s *Reference) post(r *http.Request) (any, error) {
	q := r.URL.Query()
	process, assign := q.Get("process-id"), q.Get("assign")
	if (process == "") != (assign == "") {
		return nil, said("If sending assign or process-id, you must send both.")
	}
	if process != "" {
		p, err := ao.ParseID(process)
		if err != nil {
			return nil, err
		}
		id, err := ao.ParseID(assign)
		if err != nil {
			return nil, err
		}
		var exclude []string
		if q.Has("exclude") {
			exclude = strings.Split(q.Get("exclude"), ",")
		}
		if q.Has("base-layer") && s.buried[id] < 20 {
			return nil, said("Not enough confirmations to assign")
		}
		a, err := s.assign(p, id, nil, exclude)
		if err != nil {
			return nil, err
		}
		return map[string]any{"timestamp": 1728407547674, "id": a.ID().String()}, nil
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, ao.MaxItem))
	if err != nil {
		return nil, err
	}
	if _, err := s.put(raw); err != nil {
		return nil, err
	}
	it, err := ans104.Parse(raw)
	if err != nil {
		return nil, err
	}
	return map[string]any{"timestamp": 1728407547674, "id": it.ID().String()}, nil
}

func (s *Reference) process(name string) (any, error) {
	id, err := ao.ParseID(name)
	if err != nil || s.logs[id] == nil {
		return nil, said("Process not found")
	}
	m := itemJSON(s.logs[id].process, false)
	delete(m, "id")
	m["process_id"], m["block"], m["timestamp"] = name, fmt.Sprintf("%012d", s.height), ChainStart
	return m, nil
}

func (s *Reference) latest(name string) (any, error) {
	id, err := ao.ParseID(name)
	if err != nil || s.logs[id] == nil || len(s.logs[id].nodes) == 0 {
		return nil, said("Latest message not available")
	}
	return s.logs[id].nodes[len(s.logs[id].nodes)-1].json(false), nil
}

func (s *Reference) read(name, process, from, to, limit string, anchors bool) (any, error) {
	id, err := ao.ParseID(name)
	p, perr := ao.ParseID(process)
	if err != nil || perr != nil || s.logs[p] == nil {
		return nil, said("Message or Process not found")
	}
	l := s.logs[p]
	if id != p {
		for _, n := range l.nodes {
			if n.assignment.ID() == id || ao.Tags(n.assignment.Tags()).Get("Message") == name {
				return n.json(anchors), nil
			}
		}
		return nil, said("Message or Process not found")
	}
	after, most, until := int64(-1), 100, int64(1<<62)
	if n, err := strconv.ParseInt(from, 10, 64); err == nil {
		after = n
	}
	if n, err := strconv.ParseInt(to, 10, 64); err == nil {
		until = n
	}
	if n, err := strconv.Atoi(limit); err == nil {
		most = n
	}
	edges := []any{}
	for _, n := range l.nodes {
		if int64(n.nonce) > after && int64(n.nonce) <= until && len(edges) < most {
			edges = append(edges, map[string]any{"cursor": n.nonce.String(), "node": n.json(anchors)})
		}
	}
	return map[string]any{"page_info": map[string]any{"has_next_page": len(edges) == most}, "edges": edges}, nil
}

func (n referenceNode) json(anchors bool) map[string]any {
	out := map[string]any{"assignment": itemJSON(n.assignment, anchors), "message": nil}
	delete(out["assignment"].(map[string]any), "data")
	if n.message != nil {
		out["message"] = itemJSON(n.message, false)
	}
	return out
}

// itemJSON lists an item the way the reference does: data and anchors as far as they are text.
func itemJSON(it *ans104.Item, anchors bool) map[string]any {
	b64 := base64.RawURLEncoding.EncodeToString
	address := sha256.Sum256(it.Owner()) // of every type
	var anchor any
	switch {
	case len(it.Anchor()) == 0:
	case anchors:
		anchor = b64(it.Anchor())
	case utf8.Valid(it.Anchor()):
		anchor = string(it.Anchor())
	}
	var data any = strings.ToValidUTF8(string(it.Data()), "\uFFFD")
	if ao.Tags(it.Tags()).Get("Type") == ao.TypeProcess && !utf8.Valid(it.Data()) {
		data = nil
	}
	return map[string]any{
		"id": it.ID().String(), "owner": map[string]string{"address": b64(address[:]), "key": b64(it.Owner())},
		"tags": it.Tags(), "signature": b64(it.Signature()), "anchor": anchor, "target": b64(it.Target()), "data": data,
	}
}

// Entries are a log as whoever has its items whole reads it, without those that exist elsewhere.
func (s *Reference) Entries(t testing.TB, process ao.ID) (out []ao.Entry) {
	t.Helper()
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, n := range s.logs[process].nodes {
		if n.message == nil {
			continue
		}
		a, err := ao.NewAssignment(n.assignment)
		if err != nil {
			t.Fatal(err)
		}
		m, err := ao.NewMessage(n.message)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, ao.Entry{Proof: ao.ProofAssignment, Assignment: a, Message: m})
	}
	return out
}

// Wallet is an Ethereum wallet that is the same for the same seed: one that units of today's network verify.
func Wallet(seed string) ans104.Signer {
	key := sha256.Sum256([]byte("unitstest/wallet/" + seed))
	s, err := ans104.NewEthereumSigner(key[:])
	if err != nil {
		panic("unitstest: " + err.Error()) // no hash that we use is out of range
	}
	return s
}
