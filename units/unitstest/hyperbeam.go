package unitstest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/aopeer/aopeer/ao"
)

// HyperBEAM is a HyperBEAM node as far as the computer beside it sees it: the schedule of its processes, and the page that it
// posts with a slot. It is an http.Handler, safe for concurrent use.
type HyperBEAM struct {
	lock   sync.Mutex
	logs   map[string]*hyperbeamLog
	asked  []string // the queries of schedules
	quoted bool
	most   int
}

type hyperbeamLog struct {
	nodes  []map[string]any
	id     ao.ID    // of the last assignment
	link   [32]byte // that it carries
	height uint64
}

// NewHyperBEAM is a node without processes.
func NewHyperBEAM() *HyperBEAM { return &HyperBEAM{logs: map[string]*hyperbeamLog{}, most: 1000} }

// Quote has it put its pages into a JSON text, and truth values into texts, as some versions do; a page has so many slots at most.
func (h *HyperBEAM) Quote(most int) {
	h.lock.Lock()
	defer h.lock.Unlock()
	h.quoted, h.most = true, most
}

// Asked are the queries of its schedule so far.
func (h *HyperBEAM) Asked() []string {
	h.lock.Lock()
	defer h.lock.Unlock()
	return append([]string(nil), h.asked...)
}

// Spawn begins the log of a process.
func (h *HyperBEAM) Spawn(name string, module ao.ID, height uint64, tags ...ao.Tag) ao.ID {
	h.lock.Lock()
	defer h.lock.Unlock()
	id := ID(name)
	h.logs[id.String()] = &hyperbeamLog{height: height, link: sha256.Sum256(id[:])}
	h.add(id, map[string]any{
		"Id": id.String(), "Anchor": "", "Owner": ID("user").String(), "From": ID("user").String(), "Target": "", "Data": "",
		"Signature": hash64(ID("signature of " + name)), "Tags": tagList(append([]ao.Tag{
			{Name: "Data-Protocol", Value: "ao"},
			{Name: "Variant", Value: "ao.N.1"},
			{Name: "Type", Value: "Process"},
			{Name: "Module", Value: module.String()},
			{Name: "Scheduler", Value: ID("node").String()},
		}, tags...)),
	})
	return id
}

// Add schedules a message, whose ID is made of its name; change may spoil the node that is told of it.
func (h *HyperBEAM) Add(process ao.ID, name, data string, change func(message, assignment map[string]any), tags ...ao.Tag) ao.Slot {
	h.lock.Lock()
	defer h.lock.Unlock()
	from := ID("user").String()
	for _, t := range tags {
		if t.Name == "From-Process" {
			from = t.Value
		}
	}
	slot := h.add(process, map[string]any{
		"Id": ID(name).String(), "Anchor": "00000000000000000000000000000007", "Owner": ID("user").String(), "From": from, "Target": process.String(),
		"Data": data, "Signature": hash64(ID("signature of " + name)), "Tags": tagList(tags),
	})
	if change != nil {
		node := h.logs[process.String()].nodes[slot]
		change(node["message"].(map[string]any), node["assignment"].(map[string]any))
	}
	return slot
}

func (h *HyperBEAM) add(process ao.ID, message map[string]any) ao.Slot {
	l := h.logs[process.String()]
	slot := len(l.nodes)
	if slot > 0 {
		l.link = sha256.Sum256(append(append([]byte(nil), l.id[:]...), l.link[:]...))
	}
	l.id = ID(fmt.Sprintf("assignment %d of %s", slot, process))
	l.nodes = append(l.nodes, map[string]any{"message": message, "assignment": map[string]any{
		"Id": l.id.String(), "Anchor": "", "Owner": ID("node").String(), "From": ID("node").String(), "Target": "", "Data": "", "Signature": "",
		"Tags": []map[string]any{
			{"name": "Block-Height", "value": l.height + uint64(slot)},
			{"name": "Block-Timestamp", "value": ChainStart/1000 + slot},
			{"name": "Data-Protocol", "value": "ao"},
			{"name": "Epoch", "value": "0"},
			{"name": "Hash-Chain", "value": hash64(l.link)},
			{"name": "Path", "value": "compute"},
			{"name": "Process", "value": process.String()},
			{"name": "Slot", "value": slot},
			{"name": "Timestamp", "value": ChainStart + 1000*slot},
			{"name": "Type", "value": "Assignment"},
			{"name": "Variant", "value": "ao.N.1"},
		},
	}})
	return ao.Slot(slot)
}

// SetTag changes a tag of what is told, or adds it.
func SetTag(item map[string]any, name string, value any) {
	tags := item["Tags"].([]map[string]any)
	for _, t := range tags {
		if t["name"] == name {
			t["value"] = value
			return
		}
	}
	item["Tags"] = append(tags, map[string]any{"name": name, "value": value})
}

// Body is what the node posts with a slot.
func (h *HyperBEAM) Body(process ao.ID, slot ao.Slot) string {
	h.lock.Lock()
	defer h.lock.Unlock()
	quoted := h.quoted
	h.quoted = false // a body is the page itself
	defer func() { h.quoted = quoted }()
	return string(h.page(process.String(), int(slot), int(slot)+1, false))
}

// page is the slots from from to before to.
func (h *HyperBEAM) page(process string, from, to int, more bool) []byte {
	edges := []map[string]any{}
	for slot := from; slot < to; slot++ {
		edges = append(edges, map[string]any{"cursor": slot, "node": h.logs[process].nodes[slot]})
	}
	info := map[string]any{
		"process": process, "has_next_page": more, "timestamp": strconv.Itoa(ChainStart + 1_000_000),
		"block-height": "1700000", "block-hash": hash64(ID("block")),
	}
	if h.quoted {
		info["has_next_page"] = strconv.FormatBool(more)
	}
	raw, err := json.Marshal(map[string]any{"page_info": info, "edges": edges})
	if err == nil && h.quoted {
		raw, err = json.Marshal(string(raw))
	}
	if err != nil { // texts and numbers always marshal
		panic(err)
	}
	return raw
}

// ServeHTTP answers for the schedule, both ends of which are included.
func (h *HyperBEAM) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.lock.Lock()
	defer h.lock.Unlock()
	q := r.URL.Query()
	if r.Method != http.MethodGet || r.URL.Path != "/~scheduler@1.0/schedule" || q.Get("accept") != "application/aos-2" {
		http.NotFound(w, r)
		return
	}
	h.asked = append(h.asked, r.URL.RawQuery)
	l := h.logs[q.Get("target")]
	from, fromErr := strconv.Atoi(q.Get("from"))
	if l == nil || fromErr != nil || from > len(l.nodes) {
		http.Error(w, `{"error":"not found"}`, http.StatusNotFound)
		return
	}
	end := len(l.nodes)
	if to, err := strconv.Atoi(q.Get("to")); err == nil {
		end = min(end, to+1)
	}
	to := min(end, from+h.most)
	if limit, err := strconv.Atoi(q.Get("limit")); err == nil {
		to = min(to, from+limit)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(h.page(q.Get("target"), from, max(from, to), to < end))
}

func tagList(tags []ao.Tag) []map[string]any {
	out := []map[string]any{}
	for _, t := range tags {
		out = append(out, map[string]any{"name": t.Name, "value": t.Value})
	}
	return out
}

func hash64[T ~[32]byte](b T) string { return base64.RawURLEncoding.EncodeToString(b[:]) }
