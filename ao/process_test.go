package ao

import (
	"slices"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/arweave/ans104"
)

func TestProcess(t *testing.T) {
	m := spawn(t, tags("Name=p", "Authority=a, b", "Authority=c", "Authority= ,,"))
	wantTags(t, m.Tags(), "Name=p", "Authority=a, b", "Authority=c", "Authority= ,,", "Data-Protocol=ao", "Variant=ao.TN.1",
		"Type=Process", "Module="+id(7).String(), "Scheduler=scheduler")
	if !m.IsSpawn() || m.Target() != m.ID() {
		t.Error("a spawn starts its own log")
	}
	p, err := m.Process()
	check(t, err)
	if p.ID() != m.ID() || p.Message().ID() != m.ID() || p.Module() != id(7) || p.Scheduler() != "scheduler" || p.Owner() != m.Owner() {
		t.Errorf("process %+v", p)
	}
	if got := p.Authorities(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("authorities %q", got)
	}
	for who, want := range map[string]bool{"a": true, "b": true, "c": true, "": false, "d": false, "a, b": false} {
		if p.Trusts(who) != want {
			t.Errorf("trusts %q: %v", who, !want)
		}
	}
	spawned := spawn(t, tags("From-Process="+id(9).String()))
	if p, err = spawned.Process(); err != nil || p.Owner() != id(9).String() {
		t.Errorf("a spawned process is owned by its spawner, not %s (%v)", p.Owner(), err)
	}
	_, err = message(t, id(3), nil, "").Process()
	wantErr(t, err, ErrType)
}

// What an item can hold bounds what a hostile process can make of its Authority tags.
func TestHostileAuthorities(t *testing.T) {
	m, err := SignProcess(signer("user"), id(7), "s", tags("Authority="+strings.Repeat("a,", 1900)), nil, nil)
	check(t, err)
	p, err := m.Process()
	check(t, err)
	if n := len(p.Authorities()); n != 1900 {
		t.Errorf("%d authorities", n)
	}
	_, err = SignProcess(signer("user"), id(7), "s", tags("Authority="+strings.Repeat("a,", ans104.MaxTagBytes)), nil, nil)
	wantErr(t, err, ans104.ErrTagBytes)
}

func TestModule(t *testing.T) {
	m, err := SignModule(signer("publisher"), "f", "512-mb", "1000", []byte("code"), Tag{Name: "Name", Value: "m"})
	check(t, err)
	wantTags(t, m.Tags(), "Data-Protocol=ao", "Type=Module", "Variant=ao.TN.1", "Module-Format=f", "Input-Encoding=JSON-1",
		"Output-Encoding=JSON-1", "Memory-Limit=512-mb", "Compute-Limit=1000", "Content-Type=application/wasm", "Name=m")
	it, err := ans104.Parse(m.Item().Raw())
	check(t, err)
	again, err := NewModule(it)
	check(t, err)
	if again.ID() != m.ID() || again.Format() != "f" || string(again.Code()) != "code" || again.Owner() != address(t, signer("publisher")) {
		t.Errorf("module %+v", again)
	}
	whole := []string{"Data-Protocol=ao", "Type=Module", "Module-Format=f", "Input-Encoding=i", "Output-Encoding=o"}
	for without, want := range []error{ErrNotAO, ErrType, ErrTags, ErrTags, ErrTags} {
		it := item(t, ans104.Fields{Tags: tags(slices.Delete(slices.Clone(whole), without, without+1)...)})
		_, err := NewModule(it)
		wantErr(t, err, want)
	}
	raw := item(t, ans104.Fields{Tags: tags(whole...)}).Raw()
	if it, err = ans104.Parse(tampered(raw)); err == nil {
		_, err = NewModule(it)
	}
	wantErr(t, err, ans104.ErrSignature)
	if _, err := SignModule(signer("x"), strings.Repeat("f", 5000), "", "", nil); err == nil {
		t.Error("tags of 5000 bytes are accepted")
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		process []string
		memory  string
		compute string
		want    Limits
		fails   bool
	}{
		{nil, "512-mb", "9000000000000", Limits{512 << 20, 9000000000000}, false},
		{nil, "1-gb", "0", Limits{1 << 30, 0}, false},
		{nil, "1gb", "1", Limits{1 << 30, 1}, false},
		{nil, "2 MB", "1", Limits{2 << 20, 1}, false},
		{nil, "65536", "1", Limits{65536, 1}, false},
		{nil, "3-b", "1", Limits{3, 1}, false},
		{nil, "4-kb", "1", Limits{4096, 1}, false},
		{nil, "1024-tb", "18446744073709551615", Limits{1 << 50, 1<<64 - 1}, false},
		{[]string{"Memory-Limit=1-mb", "Compute-Limit=5"}, "512-mb", "9", Limits{1 << 20, 5}, false},
		{[]string{"Compute-Limit=5"}, "512-mb", "nonsense", Limits{512 << 20, 5}, false},
		{[]string{"Memory-Limit="}, "512-mb", "9", Limits{}, true},
		{[]string{"Compute-Limit="}, "512-mb", "9", Limits{}, true},
		{nil, "1025-tb", "1", Limits{}, true},
		{nil, "17179869185-gb", "1", Limits{}, true}, // wraps around if it is shifted first
		{nil, "18446744073709551616", "1", Limits{}, true},
		{nil, "-1-mb", "1", Limits{}, true},
		{nil, "1.5-gb", "1", Limits{}, true},
		{nil, "1-pb", "1", Limits{}, true},
		{nil, "mb", "1", Limits{}, true},
		{nil, "", "1", Limits{}, true},
		{nil, "1-mb", "", Limits{}, true},
		{nil, "1-mb", "-1", Limits{}, true},
		{nil, "1-mb", "1e9", Limits{}, true},
		{nil, "1-mb", "18446744073709551616", Limits{}, true},
	} {
		m, err := SignModule(signer("publisher"), "f", c.memory, c.compute, nil)
		check(t, err)
		p, err := spawn(t, tags(c.process...)).Process()
		check(t, err)
		got, err := LimitsOf(p, m)
		if c.fails {
			wantErr(t, err, ErrTags)
		} else if err != nil || got != c.want {
			t.Errorf("%q %q %q: %+v, %v; want %+v", c.process, c.memory, c.compute, got, err, c.want)
		}
	}
	bare, err := NewModule(item(t, ans104.Fields{Tags: tags("Data-Protocol=ao", "Type=Module", "Module-Format=f", "Input-Encoding=i", "Output-Encoding=o")}))
	check(t, err)
	p, err := spawn(t, nil).Process()
	check(t, err)
	_, err = LimitsOf(p, bare)
	wantErr(t, err, ErrTags)
}
