package devnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
)

const (
	maxTxBody    = l1.MaxInlineData/3*4 + 64<<10
	maxChunkBody = 1 << 20
	maxGraphBody = 1 << 20
	network      = "aopeer.devnet"
)

// routes is everything the gateway serves, one line each.
func (d *Devnet) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", d.serveRoot)
	mux.HandleFunc("GET /info", d.serveInfo)
	mux.HandleFunc("GET /height", d.serveHeight)
	mux.HandleFunc("GET /tx_anchor", d.serveAnchor)
	mux.HandleFunc("GET /price/{bytes}", d.servePrice)
	mux.HandleFunc("GET /price/{bytes}/{target}", d.servePrice)
	mux.HandleFunc("GET /wallet/{address}/balance", d.serveBalance)
	mux.HandleFunc("GET /wallet/{address}/last_tx", d.serveLastTx)
	mux.HandleFunc("POST /tx", d.servePostTx)
	mux.HandleFunc("POST /tx/arweave", d.servePostItem)
	mux.HandleFunc("GET /tx/{id}", d.serveTx)
	mux.HandleFunc("GET /tx/{id}/status", d.serveStatus)
	mux.HandleFunc("GET /tx/{id}/offset", d.serveOffset)
	mux.HandleFunc("GET /tx/{id}/data", d.serveTxData)
	mux.HandleFunc("POST /chunk", d.servePostChunk)
	mux.HandleFunc("GET /chunk/{offset}", d.serveChunk)
	mux.HandleFunc("GET /block/height/{height}", d.serveBlockByHeight)
	mux.HandleFunc("GET /block/hash/{hash}", d.serveBlockByHash)
	mux.HandleFunc("GET /block/current", d.serveCurrentBlock)
	mux.HandleFunc("GET /item/{id}", d.serveItem)
	mux.HandleFunc("GET /raw/{id}", d.serveData)
	mux.HandleFunc("GET /{id}", d.serveData)
	mux.HandleFunc("POST /graphql", d.serveGraphQL)
	mux.HandleFunc("GET /mine", d.serveMine)
	mux.HandleFunc("POST /mine", d.serveMine)
	mux.HandleFunc("GET /mint/{address}/{amount}", d.serveMint)
	mux.HandleFunc("POST /mint/{address}/{amount}", d.serveMint)
	if !d.cfg.AllowFaults {
		return openToAll(mux)
	}
	mux.HandleFunc("GET /faults", d.serveFaults)
	mux.HandleFunc("POST /faults", d.serveFaults)
	mux.HandleFunc("POST /reorganise", d.serveReorganise)
	return openToAll(d.faulty(mux))
}

// openToAll lets pages of any origin use the gateway, as public gateways do.
func openToAll(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "*")
		h.Set("Access-Control-Expose-Headers", "*")
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers with the status that a client of Arweave expects for an error.
func refuse(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong), errors.Is(err, arweave.ErrTooLarge):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, arweave.ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, l1.ErrTx), errors.Is(err, arweave.ErrRejected), errors.Is(err, errBadRequest), errors.Is(err, ErrBlocks),
		errors.Is(err, ErrFaults),
		isItemError(err):
		status = http.StatusBadRequest
	}
	http.Error(w, err.Error(), status)
}

var errBadRequest = errors.New("bad request")

func isItemError(err error) bool {
	for _, e := range []error{
		ans104.ErrTooShort, ans104.ErrSignatureType, ans104.ErrPresence, ans104.ErrTagCount, ans104.ErrTagBytes, ans104.ErrTagEncoding,
		ans104.ErrSignature, ans104.ErrKey, ans104.ErrMalleable, ans104.ErrBundle, ans104.ErrID, ans104.ErrTooManyItems,
		ans104.ErrTarget, ans104.ErrAnchor, ans104.ErrDepth,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func answer(w http.ResponseWriter, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(raw)
}

func answerText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, text)
}

func pathID(r *http.Request) (ans104.ID, error) {
	id, err := ans104.ParseID(r.PathValue("id"))
	if err != nil {
		return id, fmt.Errorf("%w: %.50q", arweave.ErrNotFound, r.PathValue("id"))
	}
	return id, nil
}

// serveRoot is /info with a header more: some clients read a process's tags from the headers of whatever address they
// have, and fall over when an answer names no type.
func (d *Devnet) serveRoot(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Type", "Gateway")
	d.serveInfo(w, r)
}

func (d *Devnet) serveInfo(w http.ResponseWriter, _ *http.Request) {
	d.lock.RLock()
	tip, queue := d.tip(), len(d.mempool)
	d.lock.RUnlock()
	answer(w, map[string]any{
		"network": network, "version": 5, "release": 1, "height": tip.Height, "current": tip.Hash, "blocks": tip.Height + 1,
		"peers": 0, "queue_length": queue, "node_state_latency": 0,
	})
}

func (d *Devnet) serveHeight(w http.ResponseWriter, _ *http.Request) {
	d.lock.RLock()
	defer d.lock.RUnlock()
	answerText(w, strconv.FormatUint(d.tip().Height, 10))
}

func (d *Devnet) serveAnchor(w http.ResponseWriter, _ *http.Request) {
	answerText(w, l1.Encode64(d.anchor()))
}

func (d *Devnet) servePrice(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.ParseUint(r.PathValue("bytes"), 10, 50)
	if err != nil {
		refuse(w, fmt.Errorf("%w: size %.40q", errBadRequest, r.PathValue("bytes")))
		return
	}
	answerText(w, d.price(size).String())
}

func (d *Devnet) serveBalance(w http.ResponseWriter, r *http.Request) {
	answerText(w, d.Balance(r.PathValue("address")).String())
}

// serveLastTx answers with nothing: anchors are blocks here.
func (d *Devnet) serveLastTx(w http.ResponseWriter, _ *http.Request) { answerText(w, "") }

// servePostTx takes a transaction as JSON or an item as bytes, by content type.
func (d *Devnet) servePostTx(w http.ResponseWriter, r *http.Request) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && kind == "application/octet-stream" {
		d.servePostItem(w, r)
		return
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTxBody))
	if err != nil {
		refuse(w, fmt.Errorf("%w: read body: %w", errBadRequest, err))
		return
	}
	tx, err := l1.ParseJSON(raw)
	if err == nil && !d.drops() {
		err = d.acceptTx(tx)
	}
	switch {
	case errors.Is(err, errKnown):
		http.Error(w, "Transaction already processed.", http.StatusAlreadyReported)
	case err != nil:
		refuse(w, err)
	default:
		answerText(w, "OK")
	}
}

func (d *Devnet) servePostItem(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, d.cfg.MaxBytes))
	if err != nil {
		refuse(w, fmt.Errorf("%w: read body: %w", errBadRequest, err))
		return
	}
	item, err := ans104.Parse(raw)
	if err == nil && !d.drops() {
		err = d.acceptItems([]*ans104.Item{item})
	}
	if err != nil {
		refuse(w, err)
		return
	}
	height, _ := d.Height(r.Context())
	answer(w, map[string]any{
		"id": item.ID().String(), "owner": item.OwnerAddress(), "timestamp": d.cfg.Clock().UnixMilli(), "version": "1.0.0",
		"deadlineHeight": height + 1, "winc": "0", "dataCaches": []string{network}, "fastFinalityIndexes": []string{network},
	})
}

func (d *Devnet) servePostChunk(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxChunkBody))
	if err != nil {
		refuse(w, fmt.Errorf("%w: read body: %w", errBadRequest, err))
		return
	}
	chunk, err := l1.ParseChunk(raw)
	if err == nil && !d.drops() {
		err = d.acceptChunk(chunk)
	}
	switch {
	case err == nil:
		answerText(w, "OK")
	case errors.Is(err, errNoRoot):
		// Not final: the transaction may still be on its way, so not the status of a refusal for good.
		chunkError(w, http.StatusServiceUnavailable, errNoRoot.Error())
	case errors.Is(err, l1.ErrTx):
		chunkError(w, http.StatusBadRequest, "invalid_proof")
	default:
		refuse(w, err)
	}
}

func chunkError(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":%q}`, code)
}

func (d *Devnet) serveChunk(w http.ResponseWriter, r *http.Request) {
	offset, err := strconv.ParseUint(r.PathValue("offset"), 10, 63)
	if err != nil {
		refuse(w, fmt.Errorf("%w: offset %.40q", errBadRequest, r.PathValue("offset")))
		return
	}
	chunk, err := d.chunkAt(offset)
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, map[string]string{"chunk": l1.Encode64(chunk.Data), "data_path": l1.Encode64(chunk.Path), "tx_path": "", "packing": "unpacked"})
}

func (d *Devnet) serveBlockByHeight(w http.ResponseWriter, r *http.Request) {
	height, err := strconv.ParseUint(r.PathValue("height"), 10, 63)
	d.lock.RLock()
	var b *block
	if err == nil && height < uint64(len(d.blocks)) {
		b = d.blocks[height]
	}
	d.lock.RUnlock()
	d.answerBlock(w, b)
}

func (d *Devnet) serveBlockByHash(w http.ResponseWriter, r *http.Request) {
	d.lock.RLock()
	b := d.byHash[r.PathValue("hash")]
	d.lock.RUnlock()
	d.answerBlock(w, b)
}

func (d *Devnet) serveCurrentBlock(w http.ResponseWriter, _ *http.Request) {
	d.lock.RLock()
	b := d.tip()
	d.lock.RUnlock()
	d.answerBlock(w, b)
}

// answerBlock spells a block with all the fields that clients look for; those without meaning here are empty.
func (d *Devnet) answerBlock(w http.ResponseWriter, b *block) {
	if b == nil {
		http.Error(w, "Block not found.", http.StatusNotFound)
		return
	}
	answer(w, map[string]any{
		"nonce": "", "previous_block": b.Previous, "timestamp": b.Timestamp, "last_retarget": b.Timestamp, "diff": "0",
		"height": b.Height, "hash": b.Hash, "indep_hash": b.Hash, "txs": b.Txs, "tx_root": "", "wallet_list": "",
		"reward_addr": "unclaimed", "tags": []string{}, "reward_pool": "0", "weave_size": strconv.FormatUint(b.Weave, 10),
		"block_size": strconv.FormatUint(b.Size, 10), "cumulative_diff": "0", "hash_list_merkle": "",
	})
}

// serveMine makes blocks, optionally after moving time forward: /mine?blocks=N&seconds=S.
func (d *Devnet) serveMine(w http.ResponseWriter, r *http.Request) {
	blocks, seconds := uint64(1), uint64(0)
	for name, into := range map[string]*uint64{"blocks": &blocks, "seconds": &seconds} {
		text := r.URL.Query().Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			refuse(w, fmt.Errorf("%w: %s %.40q", errBadRequest, name, text))
			return
		}
		*into = n
	}
	if err := d.MineAfter(int(blocks), time.Duration(seconds)*time.Second); err != nil {
		refuse(w, err)
		return
	}
	d.serveInfo(w, r)
}

func (d *Devnet) serveMint(w http.ResponseWriter, r *http.Request) {
	amount, err := l1.ParseWinston(r.PathValue("amount"))
	if err != nil {
		refuse(w, fmt.Errorf("%w: %w", errBadRequest, err))
		return
	}
	balance, err := d.Mint(r.PathValue("address"), amount)
	if err != nil {
		refuse(w, fmt.Errorf("%w: %w", errBadRequest, err))
		return
	}
	answerText(w, balance.String())
}

func (d *Devnet) serveGraphQL(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxGraphBody))
	if err != nil {
		refuse(w, fmt.Errorf("%w: read body: %w", errBadRequest, err))
		return
	}
	var body struct {
		Query         string         `json:"query"`
		OperationName string         `json:"operationName"`
		Variables     map[string]any `json:"variables"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		refuse(w, fmt.Errorf("%w: body is not JSON", errBadRequest))
		return
	}
	if err := checkQuery(body.Query); err != nil {
		refuse(w, fmt.Errorf("%w: %w", errBadRequest, err))
		return
	}
	answer(w, d.query(r.Context(), body.Query, body.OperationName, body.Variables))
}
