package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// statePiece is what is written of a memory between two looks at the clock.
const statePiece = 1 << 20

// state answers with the memory of a process.
func (g *Gateway) state(w http.ResponseWriter, r *http.Request) error {
	process, err := pathID(r, "pid")
	if err != nil {
		return err
	}
	ctx, cancel := g.patience(r)
	defer cancel()
	d, err := g.dump(ctx, process, r.URL.Query())
	if err != nil {
		return err
	}
	defer d.Bytes.Close()
	h := w.Header()
	h.Set("Content-Type", kindBytes)
	h.Set("Content-Length", strconv.FormatUint(d.Size, 10))
	h.Set("Last-Timestamp", strconv.FormatInt(d.Last.Timestamp, 10))
	h.Set("Last-Ordinate", d.Last.Nonce.String())
	h.Set("Last-Block-Height", strconv.FormatUint(d.Last.BlockHeight, 10))
	if r.Method == http.MethodHead {
		return nil
	}
	// Much memory takes longer than any answer; whoever reads none of it for a while is cut off.
	control := http.NewResponseController(w)
	for {
		_ = control.SetWriteDeadline(time.Now().Add(writeTime))
		n, err := io.CopyN(w, d.Bytes, statePiece)
		if n < statePiece && err == nil || errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			g.cfg.Logger.Debug("write state", "process", process, "err", err)
			return nil
		}
	}
}

// dump is the state after the newest slot or, if a time is given, after the last one up to that time.
func (g *Gateway) dump(ctx context.Context, process ao.ID, q url.Values) (units.Dump, error) {
	to, isPast := int64(0), q.Get("to") != ""
	if isPast {
		var err error
		if to, err = queryInt(q, "to"); err != nil {
			return units.Dump{}, err
		}
	}
	if g.cfg.States == nil {
		return units.Dump{}, noStates()
	}
	if !isPast {
		d, err := g.cfg.States.Memory(ctx, process)
		if err != nil {
			return d, g.busyAtHead(ctx, process, err)
		}
		return d, nil
	}
	log, err := g.logOf(ctx, Computer, process)
	if err != nil {
		return units.Dump{}, err
	}
	next, err := log.Next(ctx, process)
	if err != nil {
		return units.Dump{}, err
	}
	after, err := afterTime(ctx, log, process, next, to)
	if err != nil {
		return units.Dump{}, err
	}
	if after == 0 {
		return units.Dump{}, refused(http.StatusNotFound, "the process began after %d", to)
	}
	d, err := g.cfg.States.MemoryAt(ctx, process, after-1)
	if err != nil {
		return d, g.busy(ctx, process, after-1, err)
	}
	return d, nil
}

// noStates is the answer where there are none.
func noStates() error {
	return refused(http.StatusNotImplemented, "this computer keeps no states that it could give")
}

// busyAtHead is busy for the log's newest slot.
func (g *Gateway) busyAtHead(ctx context.Context, process ao.ID, err error) error {
	ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime/2)
	defer cancel()
	log, e := g.logOf(ask, Computer, process)
	if e != nil {
		return err
	}
	next, e := log.Next(ask, process)
	if e != nil || next == 0 {
		return err
	}
	return g.busy(ctx, process, next-1, err)
}
