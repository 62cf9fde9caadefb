package gateway

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/openapi-*.json")

// TestOpenAPIPage holds docs/openapi-*.json to the table of routes.
func TestOpenAPIPage(t *testing.T) {
	for _, s := range Surfaces() {
		want, err := OpenAPI(s)
		if err != nil {
			t.Fatal(err)
		}
		file := "../../docs/openapi-" + string(s) + ".json"
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is stale: run make docs", file)
		}
	}
}

// TestPageAndRoutesAgree asks for every path and method of the pages: each is answered by its own route, and what a page does
// not name is not there.
func TestPageAndRoutesAgree(t *testing.T) {
	f := newFixture(t)
	for _, s := range Surfaces() {
		raw, err := OpenAPI(s)
		if err != nil {
			t.Fatal(err)
		}
		var page struct {
			Paths map[string]map[string]json.RawMessage
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			t.Fatal(err)
		}
		if len(page.Paths) < 3 {
			t.Fatalf("%s has %d paths", s, len(page.Paths))
		}
		h := f.gateway.Handler(s)
		for path, methods := range page.Paths {
			for _, method := range []string{"GET", "POST", "DELETE", "PUT", "PATCH"} {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(method, strings.NewReplacer("{", "", "}", "").Replace(path), nil))
				_, named := methods[strings.ToLower(method)]
				if served := w.Code != http.StatusMethodNotAllowed && !strings.Contains(w.Body.String(), "no such route"); served != named {
					t.Errorf("%s %s %s: %d %s; the page names it: %v", s, method, path, w.Code, w.Body, named)
				}
			}
		}
	}
}
