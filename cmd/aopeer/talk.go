package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/remote"
)

// talk is what is said to a process and heard of it: across the mesh, or over HTTP with units of today's network.
type talk interface {
	// eval has the process evaluate code, and waits for the result.
	eval(ctx context.Context, p *progress, code string) (heard, error)
	// end is the cursor of the newest result, "" if there is none.
	end(ctx context.Context) (string, error)
	// last is the newest results, at most limit, oldest first.
	last(ctx context.Context, limit int) ([]heard, error)
	// after is the results behind a cursor, at most limit, oldest first; "" is before the first. With an error it is those
	// before it.
	after(ctx context.Context, cursor string, limit int) ([]heard, error)
	// about is the process as its owner signed it.
	about(ctx context.Context) (ao.Process, error)
	// address is whose key signs what is said, "" if nobody's.
	address() string
	close()
}

// heard is a result as console and results print it as JSON.
type heard struct {
	Cursor  string          `json:"cursor"` // to go on behind it
	Slot    *ao.Slot        `json:"slot"`   // if it is said
	Message string          `json:"message"`
	Output  json.RawMessage `json:"output"`
	Error   json.RawMessage `json:"error"`
	Outbox  int             `json:"outbox"`
}

func hear(r ao.Result) heard { return heard{Output: r.Output, Error: r.Error, Outbox: r.Outbox()} }

// print writes the result's output or error as text.
func (h heard) print(w io.Writer) {
	if h.Error != nil {
		fmt.Fprintf(w, "Error: %s\n", errorText(h.Error))
	} else if text := outputText(h.Output); text != "" && text != "null" {
		fmt.Fprintln(w, strings.TrimSuffix(text, "\n"))
	}
}

func talkFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "mu", Usage: "`URL` of a messenger to push through over HTTP (default: the devnet's, else across the mesh)"},
		computerFlag(),
		&cli.StringFlag{Name: "gateway", Usage: "`URL` of an Arweave gateway, to see whose process it is when units are asked over HTTP"},
		signFlag(),
	}
}

func computerFlag() cli.Flag {
	return &cli.StringFlag{Name: "cu", Usage: "`URL` of a computer to ask over HTTP (default: the devnet's, else across the mesh)"}
}

func signFlag() cli.Flag {
	return &cli.StringFlag{Name: "wallet", Usage: "Arweave key `FILE` that signs (default: the home's wallet, or its unit key)"}
}

// openTalk finds the units by the flags, or else those of the home's devnet, or else across the mesh. Whoever says how to buy
// buys on the mesh, since nobody pays over HTTP.
func openTalk(ctx context.Context, c *cli.Command, process ao.ID, signs bool) (talk, error) {
	cfg, gateway := remote.WebConfig{Messenger: c.String("mu"), Computer: c.String("cu")}, c.String("gateway")
	buys := c.IsSet("max-price") || c.IsSet("strategy") || c.IsSet("unit")
	given := cfg != (remote.WebConfig{})
	switch {
	case given && buys:
		return nil, misuse("--max-price, --strategy and --unit are for the mesh: nobody pays over HTTP")
	case given && (cfg.Computer == "" || signs && cfg.Messenger == ""):
		return nil, misuse("give --mu and --cu, or neither: a messenger does not compute")
	}
	if d, err := home(c).LoadDevnet(); err == nil && !given && !buys {
		cfg = remote.WebConfig{Messenger: d.MU, Computer: d.CU}
		if gateway == "" {
			gateway = d.Gateway
		}
	}
	if cfg.Messenger == "" && cfg.Computer == "" {
		return openMesh(ctx, c, process)
	}
	w, err := openWeb(c, cfg)
	if err != nil {
		return nil, err
	}
	t := &webTalk{web: w, process: process}
	if gateway != "" {
		if t.archive, err = arweave.NewClient(arweave.ClientConfig{Gateways: []string{gateway}, Tries: 1}); err != nil {
			return nil, misuse("--gateway %q is not an http(s) URL", gateway)
		}
	}
	if signs {
		t.signer, t.signs, err = home(c).Signer(c.String("wallet"))
	}
	return t, err
}

// openWeb is a client over HTTP; it asks nobody yet.
func openWeb(c *cli.Command, cfg remote.WebConfig) (*remote.Web, error) {
	cfg.Timeout = c.Duration("timeout")
	if err := cfg.Validate(); err != nil {
		return nil, misuse("%v", err)
	}
	return remote.NewWeb(cfg)
}

// meshTalk is across the mesh.
type meshTalk struct {
	*node.Client
	process ao.ID
}

func openMesh(ctx context.Context, c *cli.Command, process ao.ID) (talk, error) {
	given, err := givenToBuy(c)
	if err != nil {
		return nil, err
	}
	cl, err := node.OpenBuyer(ctx, home(c), given, logger(c, false))
	if err != nil {
		return nil, err
	}
	if err = buyOnly(c, cl, market.Computer); err == nil && c.String("wallet") != "" {
		cl.Signer, cl.Address, err = home(c).Signer(c.String("wallet"))
	}
	if err != nil {
		cl.Close()
		return nil, err
	}
	return meshTalk{cl, process}, nil
}

func (t meshTalk) close()          { t.Close() }
func (t meshTalk) address() string { return t.Address }

func (t meshTalk) about(ctx context.Context) (ao.Process, error) {
	return t.Directory.Process(ctx, t.process)
}

func (t meshTalk) eval(ctx context.Context, p *progress, code string) (heard, error) {
	m, err := signEval(t.Signer, t.process, code)
	if err != nil {
		return heard{}, err
	}
	door, err := t.Messenger(ctx)
	if err != nil {
		return heard{}, err
	}
	p.set("waiting for a slot")
	a, err := push(ctx, door, m)
	if err != nil {
		return heard{}, err
	}
	p.set("waiting for the result of slot %d", a.Nonce())
	r := reply{Slot: a.Nonce(), Price: "0"}
	if err := fill(ctx, t.Client, p, &r, t.process); err != nil {
		return heard{}, err
	}
	return heard{Cursor: r.Slot.String(), Slot: &r.Slot, Message: m.ID().String(), Output: r.Output, Error: r.Error, Outbox: r.outbox}, nil
}

func signEval(s ans104.Signer, process ao.ID, code string) (ao.Message, error) {
	return ao.SignMessage(s, process, ao.Tags{{Name: "Action", Value: "Eval"}}, []byte(code), newAnchor())
}

// end is the last slot's, whether anybody has evaluated it or not.
func (t meshTalk) end(ctx context.Context) (string, error) {
	next, err := t.next(ctx)
	if err != nil || next == 0 {
		return "", err
	}
	return (next - 1).String(), nil
}

func (t meshTalk) next(ctx context.Context) (ao.Slot, error) {
	log, err := t.Directory.Log(ctx, t.process)
	if err != nil {
		return 0, err
	}
	return log.Next(ctx, t.process)
}

func (t meshTalk) last(ctx context.Context, limit int) ([]heard, error) {
	next, err := t.next(ctx)
	if err != nil {
		return nil, err
	}
	return t.from(ctx, next-min(next, ao.Slot(limit)), limit)
}

func (t meshTalk) after(ctx context.Context, cursor string, limit int) ([]heard, error) {
	if cursor == "" {
		return t.from(ctx, 0, limit)
	}
	slot, err := ao.ParseSlot(cursor)
	if err != nil {
		return nil, misuse("%q is no cursor of a result: across the mesh it is a slot", cursor)
	}
	return t.from(ctx, slot+1, limit)
}

func (t meshTalk) from(ctx context.Context, slot ao.Slot, limit int) (out []heard, err error) {
	log, err := t.Directory.Log(ctx, t.process)
	if err != nil {
		return nil, err
	}
	es, err := log.Range(ctx, t.process, slot, limit)
	if err != nil {
		return nil, err
	}
	for _, e := range es {
		slot := e.Assignment.Nonce()
		door, err := t.Directory.Computer(ctx, t.process)
		if err != nil {
			return out, err
		}
		a, err := door.Compute(units.Hand(ctx, e), t.process, slot)
		if err == nil {
			err = a.Check(t.Network.ID, t.process, slot)
		}
		if err != nil {
			return out, err
		}
		h := hear(a.Result)
		h.Cursor, h.Slot, h.Message = slot.String(), &slot, e.Message.ID().String()
		out = append(out, h)
	}
	return out, nil
}

// webTalk is over HTTP.
type webTalk struct {
	web     *remote.Web
	process ao.ID
	archive *arweave.Client // nil if no gateway is known
	signer  ans104.Signer
	signs   string
}

func (t *webTalk) close()          {}
func (t *webTalk) address() string { return t.signs }

func (t *webTalk) about(ctx context.Context) (ao.Process, error) {
	if t.archive == nil {
		return ao.Process{}, ao.Refuse("settle", ao.Unsupported, "no gateway is known")
	}
	it, err := t.archive.Get(ctx, t.process)
	if err != nil {
		return ao.Process{}, err
	}
	m, err := ao.NewMessage(it)
	if err != nil {
		return ao.Process{}, err
	}
	return m.Process()
}

func (t *webTalk) eval(ctx context.Context, p *progress, code string) (heard, error) {
	m, err := signEval(t.signer, t.process, code)
	if err != nil {
		return heard{}, err
	}
	p.set("waiting for the messenger")
	if err := retry(ctx, p, func() error { return t.web.Push(ctx, m) }); err != nil {
		return heard{}, err
	}
	p.set("waiting for the result")
	var h heard
	err = retry(ctx, p, func() error {
		r, err := t.web.Result(ctx, t.process, m.ID())
		h = hear(r)
		if errors.Is(err, &ao.Refusal{Code: ao.UnknownMessage}) { // the messenger has it, and the computer has not heard of it yet
			err = ao.Refuse("compute", ao.NotYet, "message %s", m.ID())
		}
		return err
	})
	h.Message = m.ID().String()
	return h, err
}

func (t *webTalk) end(ctx context.Context) (string, error) {
	last, err := t.last(ctx, 1)
	if err != nil || len(last) == 0 {
		return "", err
	}
	return last[0].Cursor, nil
}

func (t *webTalk) last(ctx context.Context, limit int) ([]heard, error) {
	rs, err := t.web.LastResults(ctx, t.process, limit)
	return hearWeb(rs), err
}

func (t *webTalk) after(ctx context.Context, cursor string, limit int) ([]heard, error) {
	rs, err := t.web.Results(ctx, t.process, cursor, limit)
	return hearWeb(rs), err
}

func hearWeb(rs []remote.WebResult) (out []heard) {
	for _, r := range rs {
		h := hear(r.Result)
		h.Cursor, h.Slot = r.Cursor, slotOfCursor(r.Cursor)
		out = append(out, h)
	}
	return out
}

// slotOfCursor is the slot that a computer's cursor tells of, nil if it does not.
func slotOfCursor(cursor string) *ao.Slot {
	raw, err := base64.StdEncoding.DecodeString(cursor)
	var c struct{ Ordinate json.RawMessage }
	if err != nil || json.Unmarshal(raw, &c) != nil {
		return nil
	}
	slot, err := ao.ParseSlot(strings.Trim(string(c.Ordinate), `"`))
	if err != nil {
		return nil
	}
	return &slot
}
