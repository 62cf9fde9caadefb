package node

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/gateway"
	"github.com/aopeer/aopeer/units/unitstest"
)

// TestComputerOfHyperBEAM: a computer stands beside a HyperBEAM node, over a restart, and a home that took the node's word is
// good for nothing else.
func TestComputerOfHyperBEAM(t *testing.T) {
	a := newAway(t)
	beam := unitstest.NewHyperBEAM()
	server := httptest.NewServer(beam)
	defer server.Close()
	pid := beam.Spawn("p", a.module, ao.ChainedSince)
	beam.Add(pid, "one", "first", nil)
	beam.Add(pid, "two", "second", nil)
	h := home(t)
	if _, err := h.EnsureKey(); err != nil {
		t.Fatal(err)
	}
	keepWallet(t, h) // which is not for this
	cfg := DefaultConfig()
	cfg.Roles, cfg.Gateways, cfg.HTTP.Listen, cfg.HTTP.HyperBEAM = []string{"cu"}, []string{a.gateway}, "127.0.0.1:0", server.URL
	ask := func(at string, slot int) string {
		t.Helper()
		code, text := fetch(t, "POST", fmt.Sprintf("%s/result/%d?process-id=%s", at, slot, pid), beam.Body(pid, ao.Slot(slot)))
		if code != 200 {
			t.Fatalf("slot %d: %d %s", slot, code, text)
		}
		return text
	}
	for round, want := range []string{"second", "third"} {
		n, err := New(h, cfg, Parts{Machine: a.machine}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		stop := running(t, n)
		at := n.Peer().HTTP["cu"]
		if got := ask(at, 2+round); !strings.Contains(got, `"`+want+`"`) {
			t.Errorf("slot %d: %s", 2+round, got)
		}
		if code, text := fetch(t, "GET", at+"/status", ""); code != 200 || !strings.Contains(text, `"network":"hyperbeam"`) {
			t.Errorf("status: %d %s", code, text)
		}
		if s := n.computer.Status(); n.bundler != nil || s.Batches != 0 || s.Unsettled != 0 {
			t.Errorf("it settles: %+v", s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		beam.Add(pid, "three", "third", nil)
	}
	cfg.HTTP.HyperBEAM = ""
	_, err := New(h, cfg, Parts{Machine: a.machine}, quiet())
	says(t, err, "nobody may sign for", "--home")

	other := home(t)
	if _, err := other.EnsureKey(); err != nil {
		t.Fatal(err)
	}
	cfg.Elsewhere.URL = a.url
	n, err := New(other, cfg, Parts{Machine: a.machine}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	stop := running(t, n)
	p, err := ao.SignProcess(unitstest.Wallet("user"), a.module, a.su.Address(), nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.su.Put(p.Raw()); err != nil {
		t.Fatal(err)
	}
	if code, text := fetch(t, "GET", n.Peer().HTTP["cu"]+"/result/"+p.ID().String()+"?process-id="+p.ID().String(), ""); code != 200 {
		t.Fatalf("%d %s", code, text)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	cfg.HTTP.HyperBEAM = server.URL
	_, err = New(other, cfg, Parts{Machine: a.machine}, quiet())
	says(t, err, "a --home of its own")

	joined := peerHome(t, signed(t, func(n *Network) { n.Bootstrap = nil }))
	_, err = New(joined, cfg, Parts{Machine: a.machine, Archive: a.arch}, quiet())
	says(t, err, "joined no network")
}

// TestHyperBEAMSetting: what it asks of the rest of the config.
func TestHyperBEAMSetting(t *testing.T) {
	good := DefaultConfig()
	good.Roles, good.HTTP.Listen, good.HTTP.HyperBEAM = []string{"cu"}, "127.0.0.1:6363", "http://localhost:8734"
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	if doors := good.HTTP.doors(good.Roles); len(doors) != 1 || fmt.Sprint(doors[0].Surfaces) != fmt.Sprint([]gateway.Surface{gateway.Computer, gateway.HyperBEAM}) {
		t.Errorf("it serves %+v", doors)
	}
	for name, change := range map[string]func(*Config){
		"not a computer alone": func(c *Config) { c.Roles = []string{"cu", "mu"} },
		"cannot ask the peer":  func(c *Config) { c.HTTP.Listen = "" },
		"is not a URL":         func(c *Config) { c.HTTP.HyperBEAM = "localhost:8734" },
	} {
		c := good
		change(&c)
		says(t, c.Validate(), "http.hyperbeam", name)
	}
}
