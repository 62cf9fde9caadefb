package ao

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/aopeer/aopeer/arweave/ans104"
)

func process(t testing.TB, list Tags) Process {
	t.Helper()
	p, err := spawn(t, list).Process()
	check(t, err)
	return p
}

func TestCron(t *testing.T) {
	p := process(t, tags("Cron-Interval=1-hour", "Cron-Tag-Action=Hourly", "Name=p", "Cron-Interval=10-seconds", "Cron-Tag-Action=Tick",
		"Cron-Tag-Action=Tock", "Cron-Interval= 20 - Secs ", "Cron-Interval=3-blocks", "Cron-Tag-Action=Block", "Cron-Interval=1-Block"))
	c, err := p.Cron()
	check(t, err)
	want := Cron{
		{Text: "10-seconds", Every: 10_000, Tags: tags("Action=Tick", "Action=Tock")},
		{Text: " 20 - Secs ", Every: 20_000},
		{Text: "1-hour", Every: 3_600_000, Tags: tags("Action=Hourly")},
		{Text: "1-Block", Blocks: 1},
		{Text: "3-blocks", Blocks: 3, Tags: tags("Action=Block")},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("cron %+v, want %+v", c, want)
	}
	m := p.CronMessage(c[0], Tick{Timestamp: 7000}, 3)
	if m.Process != p.ID() || m.Owner != p.Message().Owner() || m.Timestamp != 7000 || m.BlockHeight != 3 || len(m.Tags) != 2 {
		t.Errorf("message %+v", m)
	}
	if c, err := process(t, nil).Cron(); err != nil || len(c) != 0 {
		t.Errorf("without tags %+v, %v", c, err)
	}
}

func TestCronIntervals(t *testing.T) {
	for text, want := range map[string]int64{
		"1-second": 1000, "1500-ms": 1000, "2-minutes": 120_000, "1-d": 86_400_000, "1-week": 604_800_000, "1-Year": 31_557_600_000,
	} {
		c, err := process(t, tags("Cron-Interval="+text)).Cron()
		if err != nil || c[0].Every != want {
			t.Errorf("%s is %+v, %v, want %d", text, c, err, want)
		}
	}
	for text, want := range map[string]error{
		"0-blocks": ErrTags, "2147483648-blocks": ErrTags, "-1-block": ErrTags, "999-ms": ErrTags, "0-seconds": ErrTags, "10": ErrTags, "-1-second": ErrTags,
		"1-fortnight": ErrTags, "1.5-hours": ErrTags, "101-years": ErrTags, "99999999999999999999-ms": ErrTags, "4000000000000000000-weeks": ErrTags,
		"1-": ErrTags, "seconds-1": ErrTags,
	} {
		_, err := process(t, tags("Cron-Interval="+text)).Cron()
		wantErr(t, err, want)
	}
	for _, list := range []Tags{tags("Cron-Tag-Action=Tick"), tags("Cron-Interval=1-second", "Cron-Tag-=x")} {
		_, err := process(t, list).Cron()
		wantErr(t, err, ErrTags)
	}
}

// TestNextTick holds Next against every second of a while, one after the other.
func TestNextTick(t *testing.T) {
	c, err := process(t, tags("Cron-Interval=3-seconds", "Cron-Interval=2-seconds", "Cron-Interval=3-seconds")).Cron()
	check(t, err)
	const origin = 5_700
	at := AfterSlot(origin)
	for s := int64(6); s < 60; s++ {
		for i, every := range []int64{2, 3, 3} {
			if (s-5)%every != 0 {
				continue
			}
			next, ok := c.Next(origin, Heights{}, at)
			if want := (Tick{Timestamp: s * 1000, Interval: i}); !ok || next != want {
				t.Fatalf("after %+v comes %+v, want %+v", at, next, want)
			}
			at = next
		}
	}
	for at, want := range map[Tick]Tick{
		{}:                                {Timestamp: 7000},
		{Timestamp: math.MinInt64}:        {Timestamp: 7000},
		{Timestamp: 8000, Interval: 1}:    {Timestamp: 8000, Interval: 2},
		AfterSlot(8000):                   {Timestamp: 9000},
		AfterSlot(7999):                   {Timestamp: 8000, Interval: 1},
		{Timestamp: 7001, Interval: -100}: {Timestamp: 8000, Interval: 1},
	} {
		if next, ok := c.Next(origin, Heights{}, at); !ok || next != want {
			t.Errorf("after %+v comes %+v, %v, want %+v", at, next, ok, want)
		}
	}
	if next, ok := c.Next(origin, Heights{}, AfterSlot(math.MaxInt64)); ok {
		t.Errorf("after the end of time comes %+v", next)
	}
	if _, ok := (Cron{}).Next(origin, Heights{}, Tick{}); ok {
		t.Error("nothing ticks")
	}
}

// TestNextBlock holds Next against every height of a while, one after the other, among the ticks of an interval of time.
func TestNextBlock(t *testing.T) {
	c, err := process(t, tags("Cron-Interval=2-blocks", "Cron-Interval=3-seconds", "Cron-Interval=3-blocks")).Cron()
	check(t, err)
	if !c.InBlocks() || c[:1].InBlocks() {
		t.Error("what counts blocks is not known")
	}
	const origin = 5_700
	h := Heights{Origin: 100, From: 103, To: 112, At: 11_000}
	var got []string
	at := AfterSlot(7_000)
	for next, ok := c.Next(origin, h, at); ok && next.Timestamp <= h.At; next, ok = c.Next(origin, h, at) {
		what := c[next.Interval].Text
		if c[next.Interval].Blocks > 0 {
			what = fmt.Sprint(c[next.Interval].Blocks, " at ", h.Of(next))
		}
		got = append(got, fmt.Sprint(next.Timestamp, " ", what))
		at = next
	}
	want := []string{
		"8000 3-seconds", "10992 2 at 104", "10994 2 at 106", "10994 3 at 106", "10996 2 at 108", "10997 3 at 109", "10998 2 at 110",
		"11000 3-seconds", "11000 2 at 112", "11000 3 at 112",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the ticks are\n%q, want\n%q", got, want)
	}
	for name, c := range map[string]struct {
		h     Heights
		after Tick
		want  int64 // 0 for none
	}{
		"no slot after":      {Heights{}, AfterSlot(7_000), 0},
		"no block between":   {Heights{Origin: 100, From: 104, To: 104, At: 11_000}, AfterSlot(7_000), 0},
		"none that counts":   {Heights{Origin: 100, From: 104, To: 105, At: 11_000}, AfterSlot(7_000), 0},
		"less than at first": {Heights{Origin: 100, From: 90, To: 99, At: 11_000}, AfterSlot(7_000), 0},
		"not at first":       {Heights{Origin: 100, From: 90, To: 102, At: 11_000}, AfterSlot(7_000), 11_000},
		"time ran backwards": {Heights{Origin: 100, From: 103, To: 112, At: 6_000}, AfterSlot(7_000), 0},
		"no time for all":    {Heights{Origin: 100, From: 103, To: 200, At: 7_003}, AfterSlot(7_000), 7_001},
		"no room at all":     {Heights{Origin: 100, From: 103, To: 112, At: 7_000}, AfterSlot(7_000), 0},
		"from the beginning": {Heights{Origin: 0, From: 0, To: math.MaxInt64 - 1, At: math.MaxInt64}, Tick{Timestamp: math.MinInt64}, 3},
	} {
		next, ok := (Cron{{Blocks: 2}}).Next(origin, c.h, c.after)
		if ok != (c.want != 0) || next.Timestamp != c.want {
			t.Errorf("%s: %+v, %v, want one at %d", name, next, ok, c.want)
		}
	}
}

func FuzzCron(f *testing.F) {
	f.Add("10-seconds", int64(1_700_000_000_123), int64(1_700_000_005_000), 0, uint64(1), uint64(2), uint64(3), int64(4))
	f.Add("1-blocks", int64(0), int64(math.MaxInt64), -1, uint64(100), uint64(103), uint64(112), int64(11_000))
	f.Fuzz(func(t *testing.T, text string, origin, at int64, interval int, first, from, to uint64, slot int64) {
		v, err := parseInterval(text)
		if err != nil {
			if !errors.Is(err, ErrTags) || len(err.Error()) > 300 {
				t.Fatalf("error %v", err)
			}
			return
		}
		if v.Blocks == 0 && (v.Every < second || v.Every > maxInterval || v.Every%second != 0) || v.Blocks != 0 && (v.Every != 0 || v.Blocks > maxBlocks) {
			t.Fatalf("%q is %+v", text, v)
		}
		if origin < 0 || slot < 0 || max(first, from, to) > math.MaxInt64 {
			return
		}
		after, h := Tick{Timestamp: at, Interval: interval}, Heights{Origin: first, From: from, To: to, At: slot}
		next, ok := (Cron{v}).Next(origin, h, after)
		if !ok {
			return
		}
		if next.Compare(after) <= 0 {
			t.Fatalf("after %+v comes %+v", after, next)
		}
		if v.Blocks == 0 && (next.Timestamp <= origin-origin%second || (next.Timestamp-origin+origin%second)%v.Every != 0) {
			t.Fatalf("after %+v comes %+v, every %d from %d", after, next, v.Every, origin)
		}
		if n := h.Of(next); v.Blocks > 0 && (n <= max(first, from) || n > to || (n-first)%v.Blocks != 0 || next.Timestamp > slot) {
			t.Fatalf("after %+v comes %+v, of block %d: %+v", after, next, n, h)
		}
	})
}

func TestRequest(t *testing.T) {
	r, err := SignRequest(signer("user"), id(3))
	check(t, err)
	again, err := ParseRequest(r.Raw())
	check(t, err)
	if again.ID() != r.ID() || again.Process() != id(3) || again.Owner() != address(t, signer("user")) || again.IsZero() {
		t.Errorf("read back %+v", again)
	}
	bad := append([]byte(nil), r.Raw()...)
	bad[len(bad)-1] ^= 1
	_, err = ParseRequest(bad)
	wantErr(t, err, ans104.ErrSignature)
	_, err = ParseRequest(item(t, ans104.Fields{Data: []byte(" ")}).Raw())
	wantErr(t, err, ErrTarget)
	_, err = ParseRequest(make([]byte, MaxRequest+1))
	wantErr(t, err, ErrTooLarge)
	if !(Request{}).IsZero() {
		t.Error("the zero value is a request")
	}
}

func FuzzParseRequest(f *testing.F) {
	r, err := SignRequest(signer("user"), id(3))
	check(f, err)
	f.Add(r.Raw())
	f.Add(r.Raw()[:80])
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := ParseRequest(raw)
		if (err != nil) != r.IsZero() {
			t.Fatalf("zero %v with error %v", r.IsZero(), err)
		}
		if err == nil && (len(r.Raw()) > MaxRequest || r.Owner() == "") {
			t.Fatal("a request that is none")
		}
	})
}
