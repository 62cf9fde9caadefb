package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/aopeer/aopeer/ao"
)

// statePiece is what is written of a memory between two looks at the clock.
const statePiece = 1 << 20

// state answers with the memory of a process.
func (g *Gateway) state(w http.ResponseWriter, r *http.Request) error {
	process, err := pathID(r, "pid")
	if err != nil {
		return err
	}
	q := r.URL.Query()
	to, hasTo := int64(0), q.Get("to") != ""
	if hasTo {
		if to, err = queryInt(q, "to"); err != nil {
			return err
		}
	}
	if g.cfg.Memory == nil {
		return refused(http.StatusNotImplemented, "this computer keeps no states that it could give")
	}
	ctx, cancel := g.patience(r)
	defer cancel()
	d, err := g.cfg.Memory.Memory(ctx, process)
	if err != nil {
		return g.busyAtHead(ctx, process, err)
	}
	defer d.Bytes.Close()
	if hasTo && to < d.Last.Timestamp {
		return refused(http.StatusUnprocessableEntity, "the newest state is of %d, and only that can be given", d.Last.Timestamp)
	}
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
