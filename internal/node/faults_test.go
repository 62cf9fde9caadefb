package node

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestFaultsAreAllowedOnRequest: a devnet's gateway can be spoiled only by who asked for that.
func TestFaultsAreAllowedOnRequest(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		d, stop := runDevnet(t, Home(t.TempDir()+"/devnet"), DevnetConfig{OnlyGate: true, Faults: allowed})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.File().Gateway+"/faults", strings.NewReader(`{"refuse":1}`))
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body) // for the message below
		resp.Body.Close()
		if got := resp.StatusCode == http.StatusOK; got != allowed {
			t.Errorf("allowed %t, it answers %d: %s", allowed, resp.StatusCode, text)
		}
		resp, err = client.Get(d.File().Gateway + "/info")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if spoilt := resp.StatusCode == http.StatusServiceUnavailable; spoilt != allowed {
			t.Errorf("allowed %t, /info answers %d", allowed, resp.StatusCode)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}
