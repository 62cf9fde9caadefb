package unitstest

import (
	"context"
	"errors"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// LogFixture is the reading side of a known log.
type LogFixture struct {
	Log     units.Log
	Entries []ao.Entry // all that the log of Entries[0]'s process holds, at least 4
	// Append makes the log one entry longer, from any goroutine. Nil if this log cannot grow.
	Append func(t *testing.T) ao.Entry
}

// Process is the log's process.
func (f LogFixture) Process() ao.ID { return f.Entries[0].Assignment.Process() }

// TestLog holds a log to its contract. Every call of newFixture returns a log that holds its Entries and nothing else.
func TestLog(t *testing.T, newFixture func(t *testing.T) LogFixture) {
	for _, c := range []struct {
		name  string
		grows bool
		test  func(*testing.T, LogFixture)
	}{
		{"next is the end", false, testNext},
		{"a range is a page", false, testRange},
		{"pages make the log", false, testPages},
		{"past the end a range is empty", false, testPastEnd},
		{"messages and assignments are found", false, testFind},
		{"an unknown process is refused", false, testUnknownLog},
		{"following ends with its context", false, testFollowEnded},
		{"following ends with its visitor", false, testFollowFails},
		{"following begins anywhere", false, testFollowFrom},
		{"followers see what is new", true, testFollowNew},
		{"following waits for a slot to come", true, testFollowAhead},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			if len(f.Entries) < 4 {
				t.Fatalf("the fixture has %d entries, want at least 4", len(f.Entries))
			}
			if c.grows && f.Append == nil {
				t.Skip("this log does not grow")
			}
			c.test(t, f)
		})
	}
}

// readAll is the whole log, page by page.
func readAll(t *testing.T, log units.Log, process ao.ID) []ao.Entry {
	t.Helper()
	var all []ao.Entry
	for {
		page, err := log.Range(Context(t), process, ao.Slot(len(all)), 7)
		if err != nil {
			t.Fatalf("range from %d: %v", len(all), err)
		}
		if len(page) == 0 {
			return all
		}
		if len(page) > 7 {
			t.Fatalf("range gave %d entries, asked for 7", len(page))
		}
		all = append(all, page...)
	}
}

// same fails the test unless two lists of entries are equal, bytes and all.
func same(t *testing.T, got, want []ao.Entry) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
		return
	}
	for i := range want {
		if string(got[i].Assignment.Raw()) != string(want[i].Assignment.Raw()) ||
			string(got[i].Message.Raw()) != string(want[i].Message.Raw()) || got[i].Proof != want[i].Proof {
			t.Errorf("entry %d of the answer differs: slot %d of message %s", i, got[i].Assignment.Nonce(), got[i].Message.ID())
		}
	}
}

func testNext(t *testing.T, f LogFixture) {
	n, err := f.Log.Next(Context(t), f.Process())
	if err != nil || n != ao.Slot(len(f.Entries)) {
		t.Errorf("next is %d, %v; want %d", n, err, len(f.Entries))
	}
}

func testRange(t *testing.T, f LogFixture) {
	for _, from := range []int{0, 1, len(f.Entries) - 1} {
		page, err := f.Log.Range(Context(t), f.Process(), ao.Slot(from), 2)
		if err != nil {
			t.Fatalf("range from %d: %v", from, err)
		}
		if len(page) == 0 || len(page) > 2 {
			t.Fatalf("range from %d gave %d entries, want 1 or 2", from, len(page))
		}
		same(t, page, f.Entries[from:min(from+len(page), len(f.Entries))])
	}
}

func testPages(t *testing.T, f LogFixture) {
	same(t, readAll(t, f.Log, f.Process()), f.Entries)
	CheckLog(t, f.Process(), "", f.Entries)
}

func testPastEnd(t *testing.T, f LogFixture) {
	for _, from := range []ao.Slot{ao.Slot(len(f.Entries)), ao.Slot(len(f.Entries)) + 1000, 1<<63 + 1, 1<<64 - 1} {
		page, err := f.Log.Range(Context(t), f.Process(), from, 10)
		if err != nil || len(page) != 0 {
			t.Errorf("range from %d gave %d entries, %v; want none", from, len(page), err)
		}
	}
}

func testFind(t *testing.T, f LogFixture) {
	for i, e := range f.Entries {
		for _, id := range []ao.ID{e.Message.ID(), e.Assignment.ID()} {
			slot, err := f.Log.Find(Context(t), f.Process(), id)
			if err != nil || slot != ao.Slot(i) {
				t.Errorf("found %s at %d, %v; want %d", id, slot, err, i)
			}
		}
	}
	_, err := f.Log.Find(Context(t), f.Process(), ID("no such message"))
	WantRefusal(t, err, ao.UnknownMessage)
}

func testUnknownLog(t *testing.T, f LogFixture) {
	p := ID("no such process")
	_, err := f.Log.Next(Context(t), p)
	WantRefusal(t, err, ao.UnknownProcess)
	_, err = f.Log.Range(Context(t), p, 0, 10)
	WantRefusal(t, err, ao.UnknownProcess)
	_, err = f.Log.Find(Context(t), p, f.Entries[1].Message.ID())
	WantRefusal(t, err, ao.UnknownProcess)
	err = f.Log.Follow(Context(t), p, 0, func(ao.Entry) error { return nil })
	WantRefusal(t, err, ao.UnknownProcess)
}

func testFollowEnded(t *testing.T, f LogFixture) {
	ctx, cancel := context.WithCancel(Context(t))
	var got []ao.Entry
	err := f.Log.Follow(ctx, f.Process(), 0, func(e ao.Entry) error {
		if got = append(got, e); len(got) == len(f.Entries) {
			cancel() // while it would wait for more
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("follow ended with %v, want context.Canceled", err)
	}
	same(t, got, f.Entries)

	err = f.Log.Follow(cancelled(t), f.Process(), 0, func(ao.Entry) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("follow with an ended context gave %v, want context.Canceled", err)
	}
}

func testFollowFails(t *testing.T, f LogFixture) {
	enough := errors.New("enough")
	seen := 0
	err := f.Log.Follow(Context(t), f.Process(), 0, func(ao.Entry) error {
		if seen++; seen == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || seen != 3 {
		t.Errorf("follow ended with %v after %d visits, want the visitor's error after 3", err, seen)
	}
}

func testFollowFrom(t *testing.T, f LogFixture) {
	same(t, followed(t, f, 2, len(f.Entries)-2), f.Entries[2:])
}

// followed is the n entries that Follow visits from slot from on.
func followed(t *testing.T, f LogFixture, from ao.Slot, n int) []ao.Entry {
	t.Helper()
	enough := errors.New("enough")
	var got []ao.Entry
	err := f.Log.Follow(Context(t), f.Process(), from, func(e ao.Entry) error {
		if got = append(got, e); len(got) == n {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("follow from %d ended with %v", from, err)
	}
	return got
}

func testFollowNew(t *testing.T, f LogFixture) {
	const followers, more = 4, 5
	logs := make([][]ao.Entry, followers)
	caughtUp := make(chan struct{}, followers)
	enough := errors.New("enough")
	done := make(chan error, followers)
	ctx := Context(t)
	for i := range followers {
		go func() {
			done <- f.Log.Follow(ctx, f.Process(), 0, func(e ao.Entry) error {
				logs[i] = append(logs[i], e)
				switch len(logs[i]) {
				case len(f.Entries):
					caughtUp <- struct{}{}
				case len(f.Entries) + more:
					return enough
				}
				return nil
			})
		}()
	}
	for range followers {
		select {
		case <-caughtUp:
		case <-ctx.Done():
			t.Fatal("a follower did not catch up")
		}
	}
	want := append([]ao.Entry(nil), f.Entries...)
	for range more {
		want = append(want, f.Append(t))
	}
	for range followers {
		if err := <-done; !errors.Is(err, enough) {
			t.Errorf("follow ended with %v", err)
		}
	}
	for _, log := range logs {
		same(t, log, want)
	}
}

func testFollowAhead(t *testing.T, f LogFixture) {
	got := make(chan []ao.Entry, 1)
	go func() { got <- followed(t, f, ao.Slot(len(f.Entries)+1), 1) }()
	f.Append(t)
	want := f.Append(t)
	same(t, <-got, []ao.Entry{want})
}
