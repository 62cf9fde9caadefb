package market

import (
	"bytes"
	"testing"
)

func observe(s *Scores, p Peer, o Outcome, n int, value uint64) {
	for range n {
		s.Observe(p, Computer, o, value, 0, start)
	}
}

func (s *Scores) successOf(p Peer) uint64 { return s.of[seat{Computer, p}].success() }

func TestScoreOrder(t *testing.T) {
	s := NewScores(100)
	best := map[Outcome]Peer{}
	for o := Served; o < Measured; o++ {
		p := Peer{byte(o)}
		best[o] = p
		observe(s, p, Served, 50, 10)
		observe(s, p, o, 3, 10)
	}
	for o := Served; o < Wrong; o++ {
		if s.successOf(best[o]) <= s.successOf(best[o+1]) {
			t.Errorf("outcome %d leaves %d, outcome %d leaves %d", o, s.successOf(best[o]), o+1, s.successOf(best[o+1]))
		}
	}
	if got := (*score)(nil).success(); got != 58982 {
		t.Errorf("a stranger has %d", got)
	}
	if !s.of[seat{Computer, best[Wrong]}].isShunned() || !s.of[seat{Computer, best[Dishonoured]}].isShunned() || s.of[seat{Computer, best[Failed]}].isShunned() {
		t.Error("whom to shun")
	}
	if penalty(65536, 4) != 65536 || penalty(32768, 4) != 16*65536 || penalty(0, 4) != 1<<32 || penalty(7, 0) != 65536 {
		t.Error("penalties")
	}
}

// Honouring a thousand small favours does not pay for breaking one that is worth them all.
func TestScoreWeighsValue(t *testing.T) {
	s := NewScores(100)
	cheat, clumsy := Peer{1}, Peer{2}
	observe(s, cheat, Served, 1000, 1)
	observe(s, cheat, Failed, 1, 1000)
	observe(s, clumsy, Served, 1000, 1)
	observe(s, clumsy, Failed, 1, 1)
	if a, b := s.successOf(cheat), s.successOf(clumsy); a > 65536*6/10 || b < 65536*99/100 {
		t.Errorf("%d and %d", a, b)
	}
}

func TestScoreFades(t *testing.T) {
	s := NewScores(100)
	p := Peer{1}
	observe(s, p, Served, 100, 10)
	observe(s, p, Wrong, 1, 10)
	sc := s.of[seat{Computer, p}]
	for _, c := range []struct {
		at   int64
		good uint64
	}{{0, 100}, {halfLife / 2, 71}, {halfLife / 2, 71}, {halfLife, 50}, {3 * halfLife, 12}, {2 * halfLife, 12}} {
		sc.fade(start + c.at)
		if got := (sc.good + event/2) / event; got != c.good {
			t.Errorf("after %d half-lives %d, want %d", c.at/halfLife, got, c.good)
		}
	}
	if sc.isShunned() {
		t.Error("shunned for ever")
	}
	for _, us := range []uint64{1, 2_000_000} {
		x := score{at: start, latency: us}
		x.fade(start + halfLife/steps)
		if x.latency == us || x.latency > 2*us+unknown {
			t.Errorf("%d µs have become %d", us, x.latency)
		}
		x.fade(start + 2*halfLife)
		if d := int64(x.latency) - unknown; d < -200 || d > 200 {
			t.Errorf("%d µs have become %d in half a day", us, x.latency)
		}
	}
	sc.fade(start + 1000*halfLife)
	if sc.good != 0 || sc.bad != 0 || sc.success() != (*score)(nil).success() {
		t.Error("never forgotten")
	}
	// Fading in many steps is fading in one, and no weight overflows.
	one, many := score{good: maxMass, bad: maxMass, goodValue: maxMass, badValue: maxMass}, score{good: maxMass}
	one.fade(halfLife)
	for at := range int64(steps * 7) {
		many.fade(at * halfLife / steps / 7)
	}
	many.fade(halfLife)
	if d := int64(one.good - many.good); d < -maxMass/1000 || d > maxMass/1000 {
		t.Errorf("%d and %d", one.good, many.good)
	}
	for range 100 {
		one.note(Wrong, NoCap, NoCap)
		one.note(Served, NoCap, NoCap)
	}
	if got := one.success(); got > 65536 || one.bad > maxMass {
		t.Errorf("success %d", got)
	}
}

func TestScoresAreBounded(t *testing.T) {
	s := NewScores(10)
	for i := range byte(10) {
		observe(s, Peer{i}, Served, 10+int(i), 1)
	}
	observe(s, Peer{200}, Served, 1, 1)
	if s.Len() != 10 || s.of[seat{Computer, Peer{0}}] != nil || s.of[seat{Computer, Peer{200}}] == nil {
		t.Error("not the one that says least gave way")
	}
	none := NewScores(0)
	observe(none, Peer{1}, Served, 1, 1)
	if none.Len() != 0 {
		t.Error("a score without room")
	}
}

func TestScoresSnapshot(t *testing.T) {
	s := NewScores(100)
	for i := range byte(20) {
		s.Observe(Peer{i}, Role(i%4), Outcome(i%5), uint64(i)*1000, uint64(i), start+int64(i))
	}
	raw := s.Snapshot()
	again := NewScores(20)
	check(t, again.Restore(raw, start+100))
	if !bytes.Equal(again.Snapshot(), raw) {
		t.Error("restored it is another")
	}
	wantErr(t, NewScores(19).Restore(raw, start+100), TooLarge)
	wantErr(t, again.Restore(raw[:len(raw)-1], start), BadShape)
	wantErr(t, again.Restore(nil, start), BadShape)
	if again.Len() != 20 {
		t.Error("a bad snapshot took what was there")
	}
	// A score from the future would never fade.
	check(t, again.Restore(raw, start-halfLife))
	for at, sc := range again.of {
		if sc.at > start-halfLife {
			t.Errorf("%v from the future", at)
		}
	}
}

func FuzzRestore(f *testing.F) {
	s := NewScores(100)
	for i := range byte(3) {
		s.Observe(Peer{i}, Role(i), Outcome(i), 5, 7, start)
	}
	f.Add(s.Snapshot())
	f.Add([]byte(domScores + "\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := NewScores(8)
		if err := s.Restore(raw, start); err != nil {
			if ReasonOf(err) == "" || s.Len() != 0 {
				t.Fatalf("%v, %d scores", err, s.Len())
			}
			return
		}
		again := NewScores(8)
		check(t, again.Restore(s.Snapshot(), start))
		if !bytes.Equal(again.Snapshot(), s.Snapshot()) {
			t.Fatal("not stable")
		}
		for _, sc := range s.of {
			sc.fade(start + halfLife/3)
			sc.note(Served, 5, 5)
			if sc.success() > 65536 {
				t.Fatal(sc.success())
			}
		}
	})
}
