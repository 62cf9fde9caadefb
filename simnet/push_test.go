package simnet

import (
	"slices"
	"testing"
	"time"
)

// TestPushThroughACity: a user's message is pushed from process to process over links of 20 to 150 ms, evaluated by a
// machine that takes its time, and every hop is by the peer whose role it is. A crash of the messenger in the middle loses
// nothing.
func TestPushThroughACity(t *testing.T) {
	Run(t, 2, func(c *City) {
		t := c.T
		su, cu, mu := c.Peer("su").Does("su").Start(), c.Peer("cu").Does("cu").Takes(300*time.Millisecond).Start(), c.Peer("mu").Does("mu").Start()
		guest := c.Peer("guest").Start()
		c.Await("all know three units", time.Minute, func() bool { return c.All(knows(3)) })

		alice, bob := c.Spawn(guest, mu, su, "alice"), c.Spawn(guest, mu, su, "bob")
		begin := c.Time()
		id, err := c.Send(guest, mu, alice, Saying(Draft{bob, Saying(Draft{alice, "thank you"})}))
		if err != nil {
			t.Fatal(err)
		}
		acked := c.Time() - begin
		var words []string
		for _, h := range c.Hops(guest, mu, id) {
			words = append(words, h.Word)
			who := map[string]*Peer{"schedule": su, "compute": cu}[h.Word]
			if who != nil && h.Peer != who.id.String() {
				t.Errorf("%s was done by %s, not by %s", h.Word, h.Peer, who.name)
			}
		}
		took := c.Time() - begin
		t.Logf("acknowledged after %v, pushed after %v: %v", acked, took, words)
		count := func(word string) (n int) {
			for _, w := range words {
				if w == word {
					n++
				}
			}
			return n
		}
		if count("schedule") != 3 || count("compute") != 3 || !slices.Contains(words, "done") {
			t.Errorf("the hops are %v", words)
		}
		if took < 3*300*time.Millisecond || took > 10*time.Second {
			t.Errorf("three evaluations of 300 ms and their ways take %v", took)
		}

		id, err = c.Send(guest, mu, alice, Saying(Draft{bob, "after the crash"}))
		if err != nil {
			t.Fatal(err)
		}
		mu.Crash()
		c.Pass(5 * time.Second)
		mu.Start()
		c.Await("the guest sees the messenger again", 2*time.Minute, func() bool { return sees(guest, mu) })
		if hops := c.Hops(guest, mu, id); len(hops) == 0 || hops[len(hops)-1].Word != "done" {
			t.Errorf("after the crash the hops are %+v", hops)
		}
		a, err := c.Compute(guest, cu, bob, 2)
		if err != nil || string(a.Result.Output) != `"3 after the crash"` {
			t.Errorf("what arrived is %s, %v", a.Result.Output, err)
		}
		if _, err := c.Compute(guest, cu, bob, 3); err == nil {
			t.Error("something arrived twice")
		}
	})
}
