//go:build e2e

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// liar is a gateway before the gateway: it serves one item with one byte changed, whichever way it is asked for.
type liar struct {
	proxy *httputil.ReverseProxy

	lock  sync.Mutex
	id    string
	whole []byte // the item as it is
	bent  []byte // and as it is served
}

func newLiar(t *testing.T, gateway string) (*liar, string) {
	t.Helper()
	u, err := url.Parse(gateway)
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{proxy: httputil.NewSingleHostReverseProxy(u)}
	l.proxy.ModifyResponse = l.bend
	s := httptest.NewServer(l.proxy)
	t.Cleanup(s.Close)
	return l, s.URL
}

// bend changes the item inside whatever the real gateway answers: the item, a bundle around it, its data, or the
// index's account of it.
func (l *liar) bend(r *http.Response) error {
	l.lock.Lock()
	id, whole, bent := l.id, l.whole, l.bent
	l.lock.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body.Close()
	if id != "" {
		body = bytes.ReplaceAll(body, whole, bent)
		b64 := base64.RawURLEncoding.EncodeToString
		w, b := parts(whole, whole), parts(whole, bent)
		switch {
		case r.Request.URL.Path == "/graphql":
			body = bytes.ReplaceAll(body, []byte(b64(w.signature)), []byte(b64(b.signature)))
			if !bytes.Equal(w.tags, b.tags) || !bytes.Equal(w.head, b.head) || !bytes.Equal(w.kind, b.kind) {
				// The index would need its own account of the change; it gives none, as if it had lost the parts.
				body = bytes.ReplaceAll(body, []byte(`"signature":"`+b64(w.signature)), []byte(`"signature":"`))
			}
		case strings.HasSuffix(r.Request.URL.Path, "/"+id):
			if len(w.data) > 0 && bytes.Equal(body, w.data) {
				body = b.data
			}
		}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	r.Header.Set("Content-Length", fmt.Sprint(len(body)))
	return nil
}

func (l *liar) set(id string, whole, bent []byte) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.id, l.whole, l.bent = id, whole, bent
}

// layout is an item cut into its regions; head is what lies between signature and tags.
type layout struct{ kind, signature, head, tags, data []byte }

// parts cuts raw where the regions of whole, of which it is a copy with one byte changed, begin and end.
func parts(whole, raw []byte) layout {
	sig, owner := 64, 32
	if binary.LittleEndian.Uint16(whole) == 1 {
		sig, owner = 512, 512
	}
	at := 2 + sig + owner
	for range 2 { // target, anchor
		if whole[at] == 1 {
			at += 32
		}
		at++
	}
	at += 16
	n := int(binary.LittleEndian.Uint64(whole[at-8:]))
	return layout{kind: raw[:2], signature: raw[2 : 2+sig], head: raw[2+sig : at], tags: raw[at : at+n], data: raw[at+n:]}
}

// flips are the item with one byte changed in each of its regions that is not empty.
func flips(raw []byte) map[string][]byte {
	p := parts(raw, raw)
	out := map[string][]byte{}
	at := 0
	for _, r := range []struct {
		name string
		b    []byte
	}{{"header", p.kind}, {"signature", p.signature}, {"owner", p.head}, {"tags", p.tags}, {"data", p.data}} {
		if len(r.b) > 0 {
			bent := bytes.Clone(raw)
			bent[at+len(r.b)/2] ^= 1
			out[r.name] = bent
		}
		at += len(r.b)
	}
	return out
}

func fetch(t *testing.T, url string) []byte {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %d %v", url, resp.StatusCode, err)
	}
	return b
}

// TestVerifyFindsEveryChange: from an empty home and a gateway alone, verify prints the digest that the computers
// have; and with one byte of one settled item changed, whichever, it fails and names the slot.
func TestVerifyFindsEveryChange(t *testing.T) {
	t.Parallel()
	home := filepath.Join(t.TempDir(), "devnet")
	_, net := devnet(t, home)
	process := must[spawned](t, "spawn", "--home", home).Process
	for i := 1; i < 12; i++ {
		must[reply](t, "eval", process, fmt.Sprintf("N = %d return N", i), "--home", home)
	}
	full := must[report](t, "verify", process, "--home", home)
	if !full.OK || full.Slots != 12 || full.Claimed != 12 {
		t.Fatalf("%+v", full)
	}
	for _, s := range must[[]struct{ StateDigest string }](t, "status", process, "--home", home) {
		if s.StateDigest != full.StateDigest {
			t.Fatalf("a computer has state %s, verify %s", s.StateDigest, full.StateDigest)
		}
	}
	empty := filepath.Join(t.TempDir(), "nothing")
	alone := must[report](t, "verify", process, "--archive", net.Gateway, "--home", empty)
	if !alone.OK || alone.StateDigest != full.StateDigest || alone.Claimed != 12 {
		t.Fatalf("from an empty home: %+v, want %+v", alone, full)
	}

	liar, url := newLiar(t, net.Gateway)
	tried := 0
	for _, l := range logOf(t, home, process) {
		for _, id := range []string{l.Assignment, l.Message} {
			raw := fetch(t, net.Gateway+"/item/"+id)
			for region, bent := range flips(raw) {
				liar.set(id, raw, bent)
				// The devnet's home lends its compiled module; everything else comes through the liar.
				o := try(t, "verify", process, "--archive", url, "--home", home)
				if o.code != 1 || count(o.stdout+o.stderr, fmt.Sprintf("slot %d", l.Slot)) == 0 || count(o.stdout, "NOT OK") == 0 {
					t.Errorf("slot %d, %s of %s: exit %d\n%s%s", l.Slot, region, id, o.code, o.stdout, o.stderr)
				}
				tried++
			}
		}
	}
	liar.set("", nil, nil)
	if r := must[report](t, "verify", process, "--archive", url, "--home", home); !r.OK {
		t.Fatalf("with nothing changed: %+v", r)
	}
	if tried < 2*12*4 {
		t.Fatalf("only %d changes tried", tried)
	}
}
