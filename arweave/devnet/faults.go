package devnet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aopeer/aopeer/internal/store"
)

const (
	faultsKey     = "devnet/faults"
	maxFaultDelay = 10 * time.Minute
	maxPriceTimes = 1 << 32
	maxFaultsBody = 4 << 10
)

// ErrFaults says that faults are not allowed here, or that a setting of them is out of bounds.
var ErrFaults = errors.New("faults not allowed")

// Faults are what the gateway does wrong, for tests of those who rely on it. The zero value is a healthy one. They
// concern the HTTP interface only, and of that neither /faults, /reorganise, /mine nor /mint.
type Faults struct {
	// Delay passes before each answer.
	Delay time.Duration
	// Drop is the share of posted transactions, items and chunks that are answered as taken and forgotten.
	Drop float64
	// Lie is the share of answers with items, data, transactions, statuses and blocks in which one bit is flipped.
	Lie float64
	// Hang is the share of requests that get no answer until the client gives up or the faults change.
	Hang float64
	// Refuse is the share of requests that are answered with 503.
	Refuse float64
	// PriceTimes multiplies the price of everything posted from now on; 0 is 1.
	PriceTimes uint64
	// Seed makes the choices repeatable.
	Seed uint64
}

// faultsJSON is how Faults are posted and kept.
type faultsJSON struct {
	Delay      string  `json:"delay,omitempty"`
	Drop       float64 `json:"drop,omitempty"`
	Lie        float64 `json:"lie,omitempty"`
	Hang       float64 `json:"hang,omitempty"`
	Refuse     float64 `json:"refuse,omitempty"`
	PriceTimes uint64  `json:"price_times,omitempty"`
	Seed       uint64  `json:"seed,omitempty"`
}

// MarshalJSON spells the delay as text, like 50ms.
func (f Faults) MarshalJSON() ([]byte, error) {
	doc := faultsJSON{Drop: f.Drop, Lie: f.Lie, Hang: f.Hang, Refuse: f.Refuse, PriceTimes: f.PriceTimes, Seed: f.Seed}
	if f.Delay != 0 {
		doc.Delay = f.Delay.String()
	}
	return json.Marshal(doc)
}

// UnmarshalJSON reads what MarshalJSON writes, and refuses what Validate refuses.
func (f *Faults) UnmarshalJSON(raw []byte) error {
	var doc faultsJSON
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields() // a misspelt fault would test nothing
	if err := decoder.Decode(&doc); err != nil {
		return err
	}
	read := Faults{Drop: doc.Drop, Lie: doc.Lie, Hang: doc.Hang, Refuse: doc.Refuse, PriceTimes: doc.PriceTimes, Seed: doc.Seed}
	if doc.Delay != "" {
		var err error
		if read.Delay, err = time.ParseDuration(doc.Delay); err != nil {
			return fmt.Errorf("%w: delay: %w", ErrFaults, err)
		}
	}
	if err := read.Validate(); err != nil {
		return err
	}
	*f = read
	return nil
}

// Validate checks that shares are shares and that the delay is bounded.
func (f Faults) Validate() error {
	for name, share := range map[string]float64{"drop": f.Drop, "lie": f.Lie, "hang": f.Hang, "refuse": f.Refuse} {
		if !(share >= 0 && share <= 1) {
			return fmt.Errorf("%w: %s %v is not between 0 and 1", ErrFaults, name, share)
		}
	}
	if f.Delay < 0 || f.Delay > maxFaultDelay || f.PriceTimes > maxPriceTimes {
		return fmt.Errorf("%w: delay or price out of bounds", ErrFaults)
	}
	return nil
}

// misconduct is the setting in force and the dice that are thrown for it.
type misconduct struct {
	lock    sync.Mutex // owns what follows
	faults  Faults
	dice    *rand.Rand
	changed chan struct{} // closed when the setting is replaced
}

func (m *misconduct) set(f Faults) {
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.changed != nil {
		close(m.changed)
	}
	m.faults, m.dice, m.changed = f, rand.New(rand.NewPCG(f.Seed, 0)), make(chan struct{})
}

func (m *misconduct) now() (Faults, <-chan struct{}) {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.faults, m.changed
}

// happens throws the dice.
func (m *misconduct) happens(share func(Faults) float64) bool {
	m.lock.Lock()
	defer m.lock.Unlock()
	p := share(m.faults)
	return p > 0 && m.dice.Float64() < p
}

func (m *misconduct) below(n int) int {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.dice.IntN(n)
}

// Faults is the setting in force.
func (d *Devnet) Faults() Faults {
	f, _ := d.misconduct.now()
	return f
}

// SetFaults replaces the setting; it outlives a restart. ErrFaults unless the Devnet was opened with AllowFaults.
func (d *Devnet) SetFaults(f Faults) error {
	if !d.cfg.AllowFaults {
		return ErrFaults
	}
	if err := f.Validate(); err != nil {
		return err
	}
	raw, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode faults: %w", err)
	}
	d.writeLock.Lock()
	defer d.writeLock.Unlock()
	var batch store.Batch
	batch.Put(faultsKey, raw)
	if err := d.store.Commit(&batch); err != nil {
		return fmt.Errorf("keep faults: %w", err)
	}
	d.misconduct.set(f)
	return nil
}

// openFaults reads the setting of an earlier run; without AllowFaults it stays out of force.
func (d *Devnet) openFaults() error {
	var f Faults
	raw, err := d.store.Get(faultsKey)
	switch {
	case errors.Is(err, store.ErrNotFound) || !d.cfg.AllowFaults:
	case err != nil:
		return fmt.Errorf("read faults: %w", err)
	default:
		if err := json.Unmarshal(raw, &f); err != nil {
			return fmt.Errorf("read faults: %w", err)
		}
	}
	d.misconduct.set(f)
	return nil
}

// drops says whether to forget what was just posted.
func (d *Devnet) drops() bool {
	return d.misconduct.happens(func(f Faults) float64 { return f.Drop })
}

// faulty puts the faults between the routes and the client.
func (d *Devnet) faulty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isControl(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		f, changed := d.misconduct.now()
		if f.Delay > 0 {
			timer := time.NewTimer(f.Delay)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-r.Context().Done():
				return
			}
		}
		if d.misconduct.happens(func(f Faults) float64 { return f.Hang }) {
			select {
			case <-changed:
			case <-r.Context().Done():
			}
			panic(http.ErrAbortHandler) // the one way to end a request without an answer
		}
		if d.misconduct.happens(func(f Faults) float64 { return f.Refuse }) {
			http.Error(w, "overloaded", http.StatusServiceUnavailable)
			return
		}
		if r.Method == http.MethodGet && isContent(r.URL.Path) && d.misconduct.happens(func(f Faults) float64 { return f.Lie }) {
			w = &liar{ResponseWriter: w, below: d.misconduct.below}
		}
		next.ServeHTTP(w, r)
	})
}

func isControl(path string) bool {
	return path == "/faults" || path == "/reorganise" || path == "/mine" || strings.HasPrefix(path, "/mint/")
}

// isContent says whether a path names an item, its data, a transaction, a status, a chunk or a block.
func isContent(path string) bool {
	for _, prefix := range []string{"/item/", "/raw/", "/tx/", "/chunk/", "/block/"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return len(path) == 1+43 && !strings.Contains(path[1:], "/")
}

// liar flips one bit of what is written through it.
type liar struct {
	http.ResponseWriter
	below   func(int) int
	chosen  bool
	at      int // position of the byte to change
	written int
}

// Write passes p on, changed if the chosen byte is in it.
func (l *liar) Write(p []byte) (int, error) {
	if !l.chosen && len(p) > 0 {
		size, err := strconv.Atoi(l.Header().Get("Content-Length"))
		if err != nil || size <= 0 {
			size = len(p)
		}
		l.chosen, l.at = true, l.below(size)
	}
	if i := l.at - l.written; l.chosen && i >= 0 && i < len(p) {
		p = append([]byte(nil), p...)
		p[i] ^= 1
	}
	n, err := l.ResponseWriter.Write(p)
	l.written += n
	return n, err
}

// serveFaults takes and shows the setting.
func (d *Devnet) serveFaults(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFaultsBody))
		if err != nil {
			refuse(w, fmt.Errorf("%w: read body: %w", errBadRequest, err))
			return
		}
		var f Faults
		if err := json.Unmarshal(raw, &f); err != nil {
			refuse(w, fmt.Errorf("%w: %w", errBadRequest, err))
			return
		}
		if err := d.SetFaults(f); err != nil {
			refuse(w, err)
			return
		}
	}
	answer(w, d.Faults())
}

// serveReorganise is /reorganise?blocks=N&lose=true.
func (d *Devnet) serveReorganise(w http.ResponseWriter, r *http.Request) {
	blocks, err := strconv.Atoi(r.URL.Query().Get("blocks"))
	lose := false
	if text := r.URL.Query().Get("lose"); err == nil && text != "" {
		lose, err = strconv.ParseBool(text)
	}
	if err != nil {
		refuse(w, fmt.Errorf("%w: %w", errBadRequest, err))
		return
	}
	if err := d.Reorganise(blocks, lose); err != nil {
		refuse(w, err)
		return
	}
	d.serveInfo(w, r)
}
