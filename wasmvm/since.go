package wasmvm

import (
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/ao"
)

// since is what a process has taken since the journal's last mark. To mark is to look at every page that was ever touched, so it
// is not done for every message: one that fails is taken back to the mark, and what stood between is evaluated again.
type since struct {
	messages [][]byte
	bytes    int
	fuel     uint64
	spacing  int // how many there may be; 0 and 1 are the same
}

// Bounds on what is evaluated again. The spacing doubles with each mark and begins anew with each failure, so that messages which
// are made to fail have less than half of all evaluated a second time.
const (
	maxSpacing    = 8
	maxSinceBytes = 1 << 20
	maxSinceFuel  = 100_000_000 // some 30 ms
)

// errRedo says that evaluating again came out otherwise, which is the machine's own fault.
var errRedo = errors.New("a message that stood comes out otherwise when it is evaluated again")

// full says whether another message must not be added.
func (s *since) full() bool {
	return len(s.messages) >= max(s.spacing, 1) || s.bytes >= maxSinceBytes || s.fuel >= maxSinceFuel
}

func (s *since) add(message []byte, fuel uint64) {
	s.messages = append(s.messages, message)
	s.bytes += len(message)
	s.fuel += fuel
}

// clear follows a mark.
func (s *since) clear(spacing int) {
	clear(s.messages)
	*s = since{messages: s.messages[:0], spacing: spacing}
}

// mark makes the state as it stands the one to roll back to.
func (p *process) mark() {
	if len(p.since.messages) == 0 {
		return
	}
	p.journal.mark()
	p.host.swinging.touch(p.journal)
	p.since.clear(min(2*max(p.since.spacing, 1), maxSpacing))
}

// take evaluates a message that is part of the log. One that fails leaves the state as it was. After an error the state can only
// be closed.
func (p *process) take(message []byte) (ao.Result, error) {
	if p.tried || p.since.full() {
		if err := p.Tidy(); err != nil {
			return ao.Result{}, err
		}
	}
	r, ok, err := p.evaluate(message, p.fuel)
	if err != nil {
		return ao.Result{}, err
	}
	if ok {
		p.since.add(message, r.GasUsed)
		return r, nil
	}
	return r, p.takeBack()
}

// takeBack puts the state back to before a message that has failed.
func (p *process) takeBack() error {
	if err := p.journal.rollback(); err != nil {
		return err
	}
	var fuel uint64
	for _, message := range p.since.messages {
		r, ok, err := p.evaluate(message, p.fuel)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("roll back %s: %w", p.genesis.Process.ID(), errRedo)
		}
		fuel += r.GasUsed
	}
	if fuel != p.since.fuel {
		return fmt.Errorf("roll back %s: %w", p.genesis.Process.ID(), errRedo)
	}
	p.mark()
	p.since.clear(1)
	return nil
}
