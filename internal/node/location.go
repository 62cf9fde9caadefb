package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/gateway"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units/remote"
)

const (
	// locationLife is how long a location of ours may be remembered; it is said again when half of that is over.
	locationLife = 24 * time.Hour
	// locationRetry is the pause after it could not be said.
	locationRetry = time.Minute
	keyLocation   = "node/location"
)

// location says on Arweave at which URL the peer's scheduler answers over HTTP, for those who are not on the mesh.
type location struct {
	at      *url.URL
	signer  ans104.Signer
	archive arweave.Archive
	store   store.Store
	now     func() time.Time
	log     *slog.Logger
}

// said is what was said last.
type said struct {
	URL string    `json:"url"`
	At  time.Time `json:"at"`
}

// openLocation has it said if the config has a URL.
func (n *Node) openLocation(signer ans104.Signer) error {
	if n.cfg.HTTP.URL == "" {
		return nil
	}
	at, err := url.Parse(n.cfg.HTTP.URL)
	if err != nil {
		return fmt.Errorf("http.url: %w", err)
	}
	l := location{at: at, signer: signer, archive: n.archive, store: n.store, now: time.Now, log: n.log}
	n.runs = append(n.runs, run{"location", l.Run})
	return nil
}

// checkURL wants a URL that others can use, and a scheduler behind it.
func (h HTTPConfig) checkURL(roles []string) error {
	if h.URL == "" {
		return nil
	}
	u, err := url.Parse(h.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("http.url %q is not a URL such as https://su.example", h.URL)
	}
	for _, d := range h.doors(roles) {
		for _, s := range d.Surfaces {
			if s == gateway.Scheduler {
				return nil
			}
		}
	}
	return errors.New("http.url is set, and the peer serves no scheduler over HTTP: set http.su or http.listen")
}

// Run says it, and again, until ctx ends.
func (l location) Run(ctx context.Context) error {
	for {
		wait, err := l.say(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			l.log.Warn("scheduler's location is not said yet", "err", err)
			wait = locationRetry
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// say says it unless it holds for a while yet; wait is how long.
func (l location) say(ctx context.Context) (wait time.Duration, err error) {
	var last said
	raw, err := l.store.Get(keyLocation)
	if err == nil {
		_ = json.Unmarshal(raw, &last) // what cannot be read is said again
	} else if !errors.Is(err, store.ErrNotFound) {
		return 0, fmt.Errorf("read location: %w", err)
	}
	now := l.now()
	if age := now.Sub(last.At); last.URL == l.at.String() && age >= 0 && age < locationLife/2 {
		return locationLife/2 - age, nil
	}
	it, err := remote.SignLocation(l.signer, l.at, locationLife, now)
	if err != nil {
		return 0, fmt.Errorf("sign location: %w", err)
	}
	if err := l.archive.Put(ctx, it); err != nil {
		return 0, fmt.Errorf("settle location: %w", err)
	}
	if raw, err = json.Marshal(said{URL: l.at.String(), At: now}); err != nil {
		return 0, fmt.Errorf("note location: %w", err)
	}
	var b store.Batch
	b.Put(keyLocation, raw)
	if err := l.store.Commit(&b); err != nil { // then it is said once more
		return 0, fmt.Errorf("note location: %w", err)
	}
	return locationLife / 2, nil
}
