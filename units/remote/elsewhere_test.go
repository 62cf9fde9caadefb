package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

// abroad is a reference scheduler behind HTTP with a process, and the client of it.
type abroad struct {
	su      *unitstest.Reference
	url     string
	process ao.ID
	user    ans104.Signer
	archive *fakeArchive
	of      *Elsewhere
	unit    httpUnit
}

func newAbroad(t *testing.T) *abroad {
	t.Helper()
	a := &abroad{su: unitstest.NewReference(unitstest.Wallet("su")), user: unitstest.Wallet("user"), archive: newFakeArchive()}
	a.url = serveHTTP(t, a.su)
	a.of, a.unit = a.client(t, a.url)
	p := unitstest.Spawn(t, a.user, a.su.Address(), "p")
	a.process = p.ID()
	a.put(t, p)
	return a
}

func serveHTTP(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// client asks a URL as the operator's own.
func (a *abroad) client(t *testing.T, at string) (*Elsewhere, httpUnit) {
	t.Helper()
	e, err := NewElsewhere(ElsewhereConfig{Archive: a.archive, URL: at})
	if err != nil {
		t.Fatal(err)
	}
	u, ok := e.forAll()
	if !ok {
		t.Fatal("no unit for all")
	}
	return e, u
}

func (a *abroad) put(t *testing.T, m ao.Message) {
	t.Helper()
	if _, err := a.su.Put(m.Raw()); err != nil {
		t.Fatal(err)
	}
}

// item is a message that is made by hand.
func (a *abroad) item(t *testing.T, data, anchor []byte) ao.Message {
	t.Helper()
	m, err := ao.SignMessage(a.user, a.process, ao.Tags{{Name: "Action", Value: "Test"}}, data, anchor)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestElsewhereIsALog(t *testing.T) {
	unitstest.TestLog(t, func(t *testing.T) unitstest.LogFixture {
		a := newAbroad(t)
		n := 0
		grow := func(t *testing.T) ao.Entry {
			n++
			a.put(t, unitstest.Message(t, a.user, a.process, fmt.Sprint(n)))
			es := a.su.Entries(t, a.process)
			return es[len(es)-1]
		}
		for range 9 {
			grow(t)
		}
		return unitstest.LogFixture{Log: a.unit, Entries: a.su.Entries(t, a.process), Append: grow}
	})
}

// TestItemsAreWhole: what JSON loses is fetched from Arweave, and nothing else is.
func TestItemsAreWhole(t *testing.T) {
	a := newAbroad(t)
	for _, m := range []ao.Message{
		a.item(t, []byte("text: é \uFFFD \x00 \"<"), nil),
		a.item(t, []byte("an anchor of text"), []byte(strings.Repeat("7", 32))),
		a.item(t, []byte("an anchor of bytes"), bytes.Repeat([]byte{0xfe}, 32)),
		a.item(t, []byte{0xff, 0, 0xfe}, nil),
	} {
		a.put(t, m)
	}
	want := a.su.Entries(t, a.process)
	// Before they are settled, what stands before them is read.
	es, err := a.unit.Range(t.Context(), a.process, 0, 100)
	if err != nil || len(es) != 3 {
		t.Fatalf("%d entries, %v", len(es), err)
	}
	_, err = a.unit.Range(t.Context(), a.process, 3, 100)
	unitstest.WantRefusal(t, err, ao.Corrupt)
	if !strings.Contains(fmt.Sprint(err), "slot 3") {
		t.Errorf("%v does not name the slot", err)
	}
	for _, e := range want {
		a.archive.settle(e, 5)
	}
	a.archive.gets = 0
	if es, err = a.unit.Range(t.Context(), a.process, 0, 100); err != nil || len(es) != len(want) {
		t.Fatalf("%d entries, %v", len(es), err)
	}
	for i, e := range es {
		if !bytes.Equal(e.Message.Raw(), want[i].Message.Raw()) || !bytes.Equal(e.Assignment.Raw(), want[i].Assignment.Raw()) {
			t.Errorf("slot %d is not what was signed", i)
		}
	}
	if a.archive.gets != 2 {
		t.Errorf("%d items were fetched, want the two that JSON cannot hold", a.archive.gets)
	}
}

func TestScheduleElsewhere(t *testing.T) {
	a := newAbroad(t)
	ctx := unitstest.Context(t)
	m := a.item(t, []byte("x"), nil)
	first, err := a.unit.Schedule(ctx, a.process, m)
	if err != nil || first.Nonce() != 1 || first.Message() != m.ID() || first.Owner() != a.su.Address() {
		t.Fatalf("%+v, %v", first.Fields(), err)
	}
	again, err := a.unit.Schedule(ctx, a.process, m) // the reference refuses it; it has its slot all the same
	if err != nil || again.ID() != first.ID() {
		t.Errorf("again: slot %d, %v", again.Nonce(), err)
	}
	p := unitstest.Spawn(t, a.user, a.su.Address(), "q")
	for range 2 {
		spawned, err := a.unit.Schedule(ctx, p.ID(), p)
		if err != nil || spawned.Nonce() != 0 || spawned.Message() != p.ID() {
			t.Errorf("spawn: %+v, %v", spawned.Fields(), err)
		}
	}
	_, err = a.unit.Schedule(ctx, a.process, unitstest.Message(t, unitstest.Signer("unit key"), a.process, "x"))
	unitstest.WantRefusal(t, err, ao.Rejected)
	if !strings.Contains(fmt.Sprint(err), "Invalid signature") {
		t.Errorf("%v does not say why", err)
	}
	_, err = a.unit.Schedule(ctx, unitstest.ID("nobody's"), unitstest.Message(t, a.user, unitstest.ID("nobody's"), "x"))
	unitstest.WantRefusal(t, err, ao.Rejected)
	_, err = a.unit.Schedule(ctx, p.ID(), m)
	unitstest.WantRefusal(t, err, ao.Unsupported)
	_, err = a.unit.Schedule(ctx, p.ID(), ao.Message{})
	unitstest.WantRefusal(t, err, ao.Malformed)
}

// TestAssignElsewhere: a message of another process gets one slot more, whose entry is read with the message from Arweave.
func TestAssignElsewhere(t *testing.T) {
	a := newAbroad(t)
	ctx := unitstest.Context(t)
	m := unitstest.Message(t, a.user, unitstest.ID("another process"), "x")
	a.archive.items[m.ID()] = m.Item()
	how := ao.AssignOptions{Exclude: []string{"Data", "Anchor"}}
	first, err := a.unit.Assign(ctx, a.process, m.ID(), how)
	if err != nil || first.Nonce() != 1 || first.Message() != m.ID() || fmt.Sprint(first.Fields().Exclude) != "[Data Anchor]" {
		t.Fatalf("%+v, %v", first.Fields(), err)
	}
	again, err := a.unit.Assign(ctx, a.process, m.ID(), how)
	if err != nil || again.ID() != first.ID() {
		t.Errorf("again: slot %d, %v", again.Nonce(), err)
	}
	es, err := a.unit.Range(ctx, a.process, 1, 10)
	if err != nil || len(es) != 1 || es[0].Message.ID() != m.ID() {
		t.Errorf("%d entries, %v", len(es), err)
	}
	_, err = a.unit.Assign(ctx, unitstest.ID("nobody's"), m.ID(), ao.AssignOptions{})
	unitstest.WantRefusal(t, err, ao.Rejected)
	_, err = a.unit.Assign(ctx, a.process, m.ID(), ao.AssignOptions{Exclude: []string{"no name"}})
	unitstest.WantRefusal(t, err, ao.BadTags)
}

// TestTransactionElsewhere: a transaction of Arweave has a slot there, whose message the scheduler does not show.
func TestTransactionElsewhere(t *testing.T) {
	a := newAbroad(t)
	ctx, tx, how := unitstest.Context(t), unitstest.Transaction(t), ao.AssignOptions{BaseLayer: true}
	a.su.Bury(tx.ID, 19)
	_, err := a.unit.Assign(ctx, a.process, tx.ID, how)
	unitstest.WantRefusal(t, err, ao.Unconfirmed)
	a.su.Bury(tx.ID, 20)
	first, err := a.unit.Assign(ctx, a.process, tx.ID, how)
	if err != nil || first.Nonce() != 1 || first.Message() != tx.ID {
		t.Fatalf("%+v, %v", first.Fields(), err)
	}
	_, err = a.unit.Range(ctx, a.process, 1, 10)
	unitstest.WantRefusal(t, err, ao.Corrupt) // the gateway does not know it yet
	a.archive.txs[tx.ID] = tx
	es, err := a.unit.Range(ctx, a.process, 1, 10)
	if err != nil || len(es) != 1 || !es[0].Message.IsTransaction() || string(es[0].Message.Data()) != string(tx.Data) {
		t.Fatalf("%d entries, %v", len(es), err)
	}
	_, err = a.unit.Schedule(ctx, a.process, es[0].Message)
	unitstest.WantRefusal(t, err, ao.Unsupported)
}

// TestRedirect: a router sends on once; where it led is asked from then on, and the router again when that fails.
func TestRedirect(t *testing.T) {
	a := newAbroad(t)
	to, asked := a.url, 0
	router := serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.Redirect(w, r, to+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}))
	_, u := a.client(t, router)
	ctx := unitstest.Context(t)
	for range 3 {
		if _, err := u.Next(ctx, a.process); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := u.Schedule(ctx, a.process, a.item(t, []byte("through a router"), nil)); err != nil {
		t.Fatal(err)
	}
	if asked != 1 {
		t.Errorf("the router was asked %d times", asked)
	}
	to = router // a loop
	_, u = a.client(t, router)
	_, err := u.Next(ctx, a.process)
	unitstest.WantRefusal(t, err, ao.Unreachable)
	if asked != 3 {
		t.Errorf("the router was asked %d times", asked)
	}
	for _, bad := range []string{"ftp://host/", "http://user:secret@host/", "::"} {
		u := serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", bad)
			w.WriteHeader(http.StatusFound)
		}))
		_, unit := a.client(t, u)
		_, err := unit.Next(ctx, a.process)
		unitstest.WantRefusal(t, err, ao.Unreachable)
	}

	gone := httptest.NewServer(a.su)
	to = gone.URL
	_, u = a.client(t, router)
	if _, err := u.Next(ctx, a.process); err != nil {
		t.Fatal(err)
	}
	gone.Close()
	to = a.url
	if _, err := u.Next(ctx, a.process); err == nil {
		t.Error("the unit that is gone was not asked")
	}
	if _, err := u.Next(ctx, a.process); err != nil {
		t.Errorf("the router was not asked again: %v", err)
	}
}

// TestBadAnswers: whatever comes back is a refusal from the table.
func TestBadAnswers(t *testing.T) {
	a := newAbroad(t)
	a.put(t, a.item(t, []byte("x"), nil))
	resp, err := http.Get(a.url + "/" + a.process.String() + "?process-id=" + a.process.String() + "&from-nonce=-1&show-anchor=1")
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	with := func(old, now string) string {
		changed := strings.Replace(string(page), old, now, -1)
		if changed == string(page) {
			t.Fatalf("%s is not in the page", old)
		}
		return changed
	}
	other := unitstest.ID("other").String()
	for name, c := range map[string]struct {
		status int
		body   string
		want   ao.Code
	}{
		"nothing":           {200, "", ao.BadLog},
		"no JSON":           {200, "<html>", ao.BadLog},
		"no list":           {200, `{"edges":{}}`, ao.BadLog},
		"an empty edge":     {200, `{"edges":[{}]}`, ao.BadLog},
		"many edges":        {200, `{"edges":[` + strings.Repeat("{},", maxPage) + `{}]}`, ao.BadLog},
		"many tags":         {200, `{"edges":[{"node":{"assignment":{"tags":[` + strings.Repeat("{},", 128) + `{}]}}}]}`, ao.BadLog},
		"another process":   {200, with(`"Process","value":"`+a.process.String(), `"Process","value":"`+other), ao.BadLog},
		"a slot twice":      {200, with(`"Nonce","value":"1"`, `"Nonce","value":"0"`), ao.BadLog},
		"an endless slot":   {200, with(`"Nonce","value":"1"`, `"Nonce","value":"18446744073709551615"`), ao.BadLog},
		"no number":         {200, with(`"Nonce","value":"0"`, `"Nonce","value":"-1"`), ao.BadLog},
		"another height":    {200, with(`"Block-Height","value":"0`, `"Block-Height","value":"1`), ao.Corrupt},
		"no keys":           {200, with(`"key":"`, `"key":"A`), ao.Corrupt},
		"a long key":        {200, with(`"key":"`, `"key":"`+strings.Repeat("A", 4000)), ao.Corrupt},
		"no IDs":            {200, with(`"id":"`, `"id":"?`), ao.Malformed},
		"no process":        {400, `{"error":"Message or Process not found"}`, ao.UnknownProcess},
		"not allowed":       {403, `{"error":"Access denied"}`, ao.UnknownProcess},
		"too many requests": {429, "", ao.Busy},
		"warming up":        {503, `{"error":"Server is warming up."}`, ao.Busy},
		"broken":            {500, strings.Repeat("x", 100_000), ao.Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			_, u := a.client(t, serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})))
			ctx := unitstest.Context(t)
			_, err := u.Range(ctx, a.process, 0, maxPage)
			unitstest.WantRefusal(t, err, c.want)
			for _, ask := range []func() error{
				func() error { _, err := u.Next(ctx, a.process); return err },
				func() error { _, err := u.Find(ctx, a.process, unitstest.ID("message")); return err },
				func() error { _, err := u.process(ctx, a.process); return err },
				func() error { _, err := u.Schedule(ctx, a.process, a.item(t, []byte("y"), nil)); return err },
			} {
				if err := ask(); err == nil {
					t.Error("nothing was refused")
				} else {
					enumerated(t, err)
				}
			}
		})
	}
}

// TestLargePages: a page that is over the bound is asked for by halves.
func TestLargePages(t *testing.T) {
	a := newAbroad(t)
	var limits []string
	_, u := a.client(t, serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limits = append(limits, r.URL.Query().Get("limit"))
		if len(limits) == 1 {
			_, _ = w.Write(bytes.Repeat([]byte(" "), elsewherePage+1))
			return
		}
		a.su.ServeHTTP(w, r)
	})))
	if es, err := u.Range(unitstest.Context(t), a.process, 0, 10); err != nil || len(es) != 1 {
		t.Errorf("%d entries, %v", len(es), err)
	}
	if fmt.Sprint(limits) != "[10 5]" {
		t.Errorf("pages of %v were asked for", limits)
	}
}

// TestSilence: a scheduler that does not answer holds nobody longer than they want to wait.
func TestSilence(t *testing.T) {
	a := newAbroad(t)
	stop := make(chan struct{})
	at := serveHTTP(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	defer close(stop)
	_, u := a.client(t, at)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := u.Next(ctx, a.process)
	unitstest.WantRefusal(t, err, ao.Deadline)
}

// locationOf is what an index lists of a scheduler's location.
func locationOf(t *testing.T, s ans104.Signer, at, life string) arweave.Found {
	t.Helper()
	tags := []ans104.Tag{{Name: "Data-Protocol", Value: "ao"}, {Name: "Type", Value: typeLocation}, {Name: "Url", Value: at}, {Name: "Time-To-Live", Value: life}}
	return arweave.Found{Owner: unitstest.Address(s), Tags: tags, ID: unitstest.ID(at)}
}

// TestLocations: the newest that makes sense, for as long as it says, and no other's.
func TestLocations(t *testing.T) {
	a := newFakeArchive()
	su := unitstest.Wallet("su")
	clock := time.Unix(1000, 0)
	e, err := NewElsewhere(ElsewhereConfig{Archive: a, Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	ctx := unitstest.Context(t)
	find := func() string {
		u, err := e.unit(ctx, unitstest.Address(su))
		if err != nil {
			unitstest.WantRefusal(t, err, ao.UnknownUnit)
			return ""
		}
		return u.base
	}
	asked := func() int { return len(a.queries) }
	for range 2 {
		if got := find(); got != "" || asked() != 1 {
			t.Errorf("found at %q, asked %d times for a scheduler that is nowhere", got, asked())
		}
	}
	a.set(func() {
		a.index = []arweave.Found{
			locationOf(t, unitstest.Wallet("another"), "https://thief.example", "1000000"),
			locationOf(t, su, "file:///etc/passwd", "1000000"),
			locationOf(t, su, "https://no-life.example", ""),
			locationOf(t, su, "https://new.example/su/", "3600000"),
			locationOf(t, su, "https://old.example", "3600000"),
		}
	})
	if find() != "" {
		t.Error("nobody is asked again so soon")
	}
	clock = clock.Add(unfoundLife)
	if got := find(); got != "https://new.example/su" {
		t.Errorf("found at %q", got)
	}
	if !e.Knows(unitstest.Address(su)) || e.Knows("another") {
		t.Error("what is known is not")
	}
	a.set(func() { a.index = a.index[4:] })
	clock = clock.Add(time.Hour - 1)
	if got := find(); got != "https://new.example/su" {
		t.Errorf("found at %q before the time was over", got)
	}
	clock = clock.Add(1)
	if got := find(); got != "https://old.example" {
		t.Errorf("found at %q after the time was over", got)
	}
	q := a.queries[0]
	if len(q.Owners) != 1 || q.Owners[0] != unitstest.Address(su) || q.Ascending || len(q.Tags) != 2 {
		t.Errorf("the query %+v", q)
	}
	clock = clock.Add(2 * time.Hour)
	a.set(func() { a.fail = arweave.ErrUnavailable })
	if _, err := e.unit(ctx, unitstest.Address(su)); !errors.Is(err, &ao.Refusal{Code: ao.ArchiveDown}) {
		t.Errorf("without an archive: %v", err)
	}
	if _, err := e.unit(ctx, strings.Repeat("a", maxAddress+1)); !errors.Is(err, &ao.Refusal{Code: ao.UnknownUnit}) {
		t.Errorf("an endless address: %v", err)
	}
}

func TestLifeOfLocations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": leastLife, "120000": 2 * time.Minute, "9223372036854775807": mostLife, "-1": 0, "soon": 0, "": 0, "99999999999999999999": 0,
	} {
		_, life, ok := parseLocation(ao.Tags{{Name: "Type", Value: typeLocation}, {Name: "Url", Value: "http://a"}, {Name: "Time-To-Live", Value: text}})
		if ok != (want != 0) || ok && life != want {
			t.Errorf("%q: %v, %t", text, life, ok)
		}
	}
	at, _ := url.Parse("https://su.example")
	it, err := SignLocation(unitstest.Signer("su"), at, time.Hour, time.Unix(5, 0))
	if err != nil {
		t.Fatal(err)
	}
	base, life, ok := parseLocation(it.Tags())
	if base != "https://su.example" || life != time.Hour || !ok {
		t.Errorf("our own reads as %s, %v, %t", base, life, ok)
	}
}

// TestStrangersSendUsNowhereNear: what a scheduler says of itself leads to no private address unless the operator allows it.
func TestStrangersSendUsNowhereNear(t *testing.T) {
	a := newAbroad(t)
	a.archive.index = []arweave.Found{locationOf(t, unitstest.Wallet("su"), a.url, "3600000")}
	for _, private := range []bool{false, true} {
		e, err := NewElsewhere(ElsewhereConfig{Archive: a.archive, Private: private})
		if err != nil {
			t.Fatal(err)
		}
		u, err := e.unit(t.Context(), a.su.Address())
		if err != nil {
			t.Fatal(err)
		}
		_, err = u.Next(unitstest.Context(t), a.process)
		if (err == nil) != private {
			t.Errorf("private %t: %v", private, err)
		}
		if err != nil {
			unitstest.WantRefusal(t, err, ao.Unreachable)
		}
	}
	for text, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "127.0.0.1": false, "10.1.2.3": false, "192.168.0.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "0.0.0.0": false, "::1": false, "fe80::1": false, "fd00::1": false, "224.0.0.1": false,
	} {
		if got := isPublic(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: public %t", text, got)
		}
	}
}

// TestDirectoryElsewhere: who is not on the mesh is found where it says it is, its log falls back to Arweave, and what it takes is
// known at once.
func TestDirectoryElsewhere(t *testing.T) {
	a := newAbroad(t)
	d := newPlace(t)
	d.archive.index = []arweave.Found{locationOf(t, unitstest.Wallet("su"), a.url, "3600000")}
	ctx := unitstest.Context(t)
	_, err := d.Scheduler(ctx, a.su.Address())
	unitstest.WantRefusal(t, err, ao.UnknownUnit)
	e, err := NewElsewhere(ElsewhereConfig{Archive: d.archive, Private: true})
	if err != nil {
		t.Fatal(err)
	}
	d.SetElsewhere(e)
	s, err := d.Scheduler(ctx, a.su.Address())
	if err != nil || !units.IsElsewhere(s) || units.PeerOf(s) != a.url {
		t.Fatalf("%v, %v", s, err)
	}
	if units.IsElsewhere(Scheduler(d.node, d.node.ID())) {
		t.Error("a peer is elsewhere")
	}
	p := unitstest.Spawn(t, a.user, a.su.Address(), "young")
	if _, err := s.Schedule(ctx, p.ID(), p); err != nil {
		t.Fatal(err)
	}
	got, err := d.Process(ctx, p.ID()) // it is on no archive
	if err != nil || got.ID() != p.ID() {
		t.Fatalf("%v, %v", got.ID(), err)
	}
	l, err := d.Log(ctx, p.ID())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := l.Next(ctx, p.ID()); err != nil || n != 1 {
		t.Errorf("%d slots, %v", n, err)
	}

	// The operator's URL is asked for every process, and for what the process is.
	over, _ := a.client(t, a.url)
	other := newPlaceAt(t)
	other.SetElsewhere(over)
	if got, err := other.Process(ctx, a.process); err != nil || got.ID() != a.process {
		t.Errorf("%v, %v", got.ID(), err)
	}
	if l, err = other.Log(ctx, a.process); err != nil {
		t.Fatal(err)
	}
	if es, err := l.Range(ctx, a.process, 0, 1); err != nil || len(es) != 1 {
		t.Errorf("%d entries, %v", len(es), err)
	}
}

// newPlaceAt is a directory without a mesh.
func newPlaceAt(t *testing.T) *Directory {
	t.Helper()
	return NewDirectory(network, unitstest.Address(unitstest.Signer("me")), nil, nil, newFakeArchive(), memory(t), quiet())
}

// TestLogElsewhereFallsBack: while the scheduler is gone, Arweave is read.
func TestLogElsewhereFallsBack(t *testing.T) {
	a := newAbroad(t)
	settled := a.su.Entries(t, a.process)
	gone := httptest.NewServer(nil)
	_, u := a.client(t, gone.URL)
	gone.Close()
	for _, e := range settled {
		a.archive.settle(e, 5)
	}
	p, err := settled[0].Message.Process()
	if err != nil {
		t.Fatal(err)
	}
	l := awayLog{u, NewArchiveLog(a.archive, hosted{process: p})}
	ctx := unitstest.Context(t)
	if n, err := l.Next(ctx, a.process); err != nil || n != 1 {
		t.Errorf("%d slots, %v", n, err)
	}
	if es, err := l.Range(ctx, a.process, 0, 10); err != nil || len(es) != 1 {
		t.Errorf("%d entries, %v", len(es), err)
	}
	if n, err := l.Find(ctx, a.process, a.process); err != nil || n != 0 {
		t.Errorf("slot %d, %v", n, err)
	}
}

func TestElsewhereConfig(t *testing.T) {
	for _, bad := range []string{"su.example", "ftp://su.example", "http://", "https://a?b=c", "https://u:p@a", "https://a#b", "http://" + strings.Repeat("a", maxLocationURL)} {
		if _, err := NewElsewhere(ElsewhereConfig{Archive: newFakeArchive(), URL: bad}); err == nil {
			t.Errorf("%.40q is taken", bad)
		}
	}
	if _, err := NewElsewhere(ElsewhereConfig{}); err == nil {
		t.Error("no archive is needed")
	}
}

// FuzzHTTPPage: no page makes us panic, and what comes out of one is what its signers signed.
func FuzzHTTPPage(f *testing.F) {
	su := unitstest.NewReference(unitstest.Wallet("su"))
	p, err := ao.SignProcess(unitstest.Wallet("user"), unitstest.ID("module"), su.Address(), nil, nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := su.Put(p.Raw()); err != nil {
		f.Fatal(err)
	}
	w := httptest.NewRecorder()
	su.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/"+p.ID().String()+"?process-id="+p.ID().String()+"&show-anchor=1", nil))
	f.Add(w.Body.Bytes())
	f.Add([]byte(`{"edges":[{"node":{"assignment":{"tags":[{"name":"Process","value":"` + p.ID().String() + `"},{"name":"Nonce","value":"0"}]}}}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var single httpNode
		_ = json.Unmarshal(raw, &single)
		nodes, slots, err := parseHTTPPage(raw, p.ID(), 0, maxPage)
		if err != nil {
			if !errors.Is(err, ErrPage) {
				t.Fatalf("%v is no error of pages", err)
			}
			return
		}
		for i, n := range nodes {
			if i > 0 && slots[i] <= slots[i-1] {
				t.Fatalf("slots %v", slots)
			}
			for _, h := range []*httpItem{n.Assignment, n.Message} {
				if h == nil {
					continue
				}
				it, err := h.item(new(ans104.Verifier))
				if err != nil {
					continue
				}
				if again, err := ans104.Parse(it.Raw()); err != nil || again.Verify() != nil || it.ID().String() != h.ID {
					t.Fatal("an item that nobody signed")
				}
			}
		}
	})
}
