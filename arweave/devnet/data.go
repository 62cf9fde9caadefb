package devnet

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
)

// entryOf finds what a path names.
func (d *Devnet) entryOf(r *http.Request) (*entry, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	d.lock.RLock()
	defer d.lock.RUnlock()
	e := d.byID[id]
	if e == nil {
		return nil, fmt.Errorf("%w: %s", arweave.ErrNotFound, id)
	}
	return e, nil
}

// openData opens the data of an item or transaction for reading at any position.
func (d *Devnet) openData(e *entry) (io.ReadSeeker, io.Closer, error) {
	if e.whole != nil {
		return bytes.NewReader(e.whole.Data()), io.NopCloser(nil), nil
	}
	d.lock.RLock()
	complete := e.root.complete
	d.lock.RUnlock()
	if !complete {
		return nil, nil, fmt.Errorf("%w: the data of %s has not arrived yet", arweave.ErrNotFound, e.id)
	}
	if e.dataSize() == 0 {
		return bytes.NewReader(nil), io.NopCloser(nil), nil
	}
	f, err := d.store.OpenFile(dataFiles + hexID(e.root.tx.ID))
	if err != nil {
		return nil, nil, fmt.Errorf("open data of %s: %w", e.id, err)
	}
	start := int64(0)
	if !e.isTx() {
		start = e.offset + int64(len(e.head.Raw()))
	}
	return io.NewSectionReader(f, start, e.dataSize()), f, nil
}

// serveData serves data by range, under the type that its tags claim.
func (d *Devnet) serveData(w http.ResponseWriter, r *http.Request) {
	e, err := d.entryOf(r)
	if err != nil {
		refuse(w, err)
		return
	}
	content, closer, err := d.openData(e)
	if err != nil {
		refuse(w, err)
		return
	}
	defer closer.Close()
	setTagHeaders(w.Header(), e.tags())
	w.Header().Set("X-Arweave-Id", e.id.String())
	http.ServeContent(w, r, "", time.Time{}, content)
}

// setTagHeaders names the content type, and for what speaks ao, its tags: the reference messenger unit reads a process's
// scheduler there. A tag must not pass for a header of the exchange itself.
func setTagHeaders(h http.Header, tags []ans104.Tag) {
	h.Set("Content-Type", "application/octet-stream")
	if kind, ok := contentType(tags).(string); ok && httpguts.ValidHeaderFieldValue(kind) && kind != "" {
		h.Set("Content-Type", kind)
	}
	ao := false
	for _, t := range tags {
		ao = ao || (strings.EqualFold(t.Name, "Data-Protocol") && strings.EqualFold(t.Value, "ao"))
	}
	if !ao {
		return
	}
	for _, t := range tags {
		if httpguts.ValidHeaderFieldName(t.Name) && httpguts.ValidHeaderFieldValue(t.Value) && !isExchangeHeader(t.Name) {
			h.Add(t.Name, t.Value)
		}
	}
}

func isExchangeHeader(name string) bool {
	name = strings.ToLower(name)
	for _, prefix := range []string{"content-", "access-control-", "cross-origin-", "sec-", "x-arweave-", "proxy-", "accept", "if-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "set-cookie", "set-cookie2", "location", "refresh",
		"date", "etag", "last-modified", "expires", "cache-control", "vary", "server", "age", "allow", "range", "host",
		"www-authenticate", "strict-transport-security", "clear-site-data", "link", "retry-after", "alt-svc":
		return true
	}
	return false
}

// serveItem serves an item's own bytes, so that a reader can verify it without putting it together.
func (d *Devnet) serveItem(w http.ResponseWriter, r *http.Request) {
	id, err := pathID(r)
	if err != nil {
		refuse(w, err)
		return
	}
	raw, err := d.itemBytes(id)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(raw))
}

// txOf finds the base-layer transaction that a path names.
func (d *Devnet) txOf(r *http.Request) (t txState, err error) {
	e, err := d.entryOf(r)
	if err != nil {
		return txState{}, err
	}
	if !e.isTx() {
		return txState{}, fmt.Errorf("%w: %s is an item in a bundle", arweave.ErrNotFound, e.id)
	}
	d.lock.RLock()
	defer d.lock.RUnlock()
	return *e.root, nil
}

func pending(w http.ResponseWriter) {
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, "Pending")
}

// serveTx serves a mined transaction; as on Arweave's nodes its data is inline only while it is small.
func (d *Devnet) serveTx(w http.ResponseWriter, r *http.Request) {
	t, err := d.txOf(r)
	if err != nil {
		refuse(w, err)
		return
	}
	if t.block == nil {
		pending(w)
		return
	}
	tx := *t.tx
	if t.complete && tx.DataSize > 0 && tx.DataSize <= l1.MaxChunk {
		if tx.Data, err = d.readFile(dataFiles+hexID(tx.ID), 0, -1); err != nil {
			refuse(w, err)
			return
		}
	}
	raw, err := json.Marshal(&tx)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(raw)
}

func (d *Devnet) serveStatus(w http.ResponseWriter, r *http.Request) {
	id, err := pathID(r)
	if err != nil {
		refuse(w, err)
		return
	}
	conf, err := d.Confirm(r.Context(), id)
	if err != nil {
		refuse(w, err)
		return
	}
	if conf.Depth == 0 {
		pending(w)
		return
	}
	answer(w, map[string]any{
		"block_height": conf.Height, "block_indep_hash": conf.Block, "number_of_confirmations": conf.Depth,
	})
}

func (d *Devnet) serveOffset(w http.ResponseWriter, r *http.Request) {
	t, err := d.txOf(r)
	if err == nil && (t.block == nil || t.tx.DataSize == 0) {
		err = fmt.Errorf("%w: no data of %s in the weave", arweave.ErrNotFound, t.tx.ID)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, map[string]string{"size": strconv.FormatUint(t.tx.DataSize, 10), "offset": strconv.FormatUint(t.end, 10)})
}

// serveTxData serves a transaction's data as base64url text, the way nodes do.
func (d *Devnet) serveTxData(w http.ResponseWriter, r *http.Request) {
	if _, err := d.txOf(r); err != nil {
		refuse(w, err)
		return
	}
	e, err := d.entryOf(r)
	if err != nil {
		refuse(w, err)
		return
	}
	content, closer, err := d.openData(e)
	if err != nil {
		refuse(w, err)
		return
	}
	defer closer.Close()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(base64.RawURLEncoding.EncodedLen(int(e.dataSize()))))
	encoder := base64.NewEncoder(base64.RawURLEncoding, w)
	if _, err := io.Copy(encoder, content); err == nil {
		encoder.Close()
	}
}
