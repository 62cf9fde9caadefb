package node

import (
	"fmt"
	"strings"
	"time"
)

// Left is work that a peer has acknowledged and not finished. All of it is on disk and goes on at the next start.
type Left struct {
	Calls   int `json:"calls"`   // of other peers, waiting for an answer
	Steps   int `json:"steps"`   // of pushes, under way or due
	Pushes  int `json:"pushes"`  // not done, many of which wait for others
	Entries int `json:"entries"` // scheduled, and not with the bundler yet
	Claims  int `json:"claims"`  // processes with claims that are not with the bundler yet
	Items   int `json:"items"`   // with the bundler, and not in a bundle yet
	Bundles int `json:"bundles"` // signed, and posted nowhere yet
	Posted  int `json:"posted"`  // transactions that are posted and not confirmed yet
}

// settled says whether nothing is left that waiting can finish: what others owe us, and blocks, may take hours.
func (l Left) settled() bool { return l.Calls+l.Steps+l.Entries+l.Claims+l.Items+l.Bundles == 0 }

// plus adds what another peer has left.
func (l Left) plus(o Left) Left {
	return Left{
		Calls: l.Calls + o.Calls, Steps: l.Steps + o.Steps, Pushes: l.Pushes + o.Pushes, Entries: l.Entries + o.Entries,
		Claims: l.Claims + o.Claims, Items: l.Items + o.Items, Bundles: l.Bundles + o.Bundles, Posted: l.Posted + o.Posted,
	}
}

// String names what is left, for a person; "nothing" if so.
func (l Left) String() string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{
		{l.Calls, "calls under way"},
		{l.Pushes, "pushes to finish"},
		{l.Entries, "slots to hand over"},
		{l.Claims, "processes with claims to hand over"},
		{l.Items, "items to bundle"},
		{l.Bundles, "bundles to post"},
		{l.Posted, "bundles to confirm"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// Left is what the peer has still to do. After Run it says what was left when the peer stopped.
func (n *Node) Left() Left {
	n.lock.Lock()
	defer n.lock.Unlock()
	if n.left != nil {
		return *n.left
	}
	return n.look()
}

// look counts what is left now.
func (n *Node) look() Left {
	l := Left{Calls: n.doors.calls()}
	if n.messenger != nil {
		s := n.messenger.Status()
		l.Steps, l.Pushes = s.Ready+s.Working, s.Open
	}
	if n.scheduler != nil {
		l.Entries = int(n.scheduler.Status().Unsettled)
	}
	if n.computer != nil {
		l.Claims = n.computer.Status().Unsettled
	}
	if n.bundler != nil {
		if b, err := n.bundler.Backlog(); err == nil { // a store that fails has been told of already
			l.Items, l.Bundles, l.Posted = b.Items, b.Unposted, b.InFlight-b.Unposted
		}
	}
	return l
}

// Hurry ends the draining of a peer that was told to stop: what is left is finished after the next start.
func (n *Node) Hurry() { n.hurryOnce.Do(func() { close(n.hurry) }) }

// drain turns new work away and waits, at most for the time in the config, until what is acknowledged is finished and
// everything that settles has been handed to Arweave.
func (n *Node) drain() {
	n.doors.close()
	if n.bundler != nil {
		n.bundler.Flush()
	}
	if n.computer != nil {
		n.computer.Flush()
	}
	begin := time.Now()
	end := time.NewTimer(time.Duration(n.cfg.Drain))
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	how := "finished"
	for left := n.look(); !left.settled(); left = n.look() {
		select {
		case <-tick.C:
			continue
		case <-end.C:
			how = "out of time"
		case <-n.hurry:
			how = "told to hurry"
		}
		break
	}
	left := n.look()
	n.log.Info("drained", "how", how, "took", time.Since(begin).Round(time.Millisecond), "left", left.String())
}

// note keeps what is left before the parts that know it are closed.
func (n *Node) note() {
	left := n.look()
	n.lock.Lock()
	defer n.lock.Unlock()
	n.left = &left
}
