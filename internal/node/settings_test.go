package node

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestSettingsAreWhole: each has a key, a meaning and a value that can be read back from its own text.
func TestSettingsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Settings() {
		if s.Key == "" || strings.HasSuffix(s.Key, ".") || !strings.HasSuffix(s.Meaning, ".") || seen[s.Key] || seen["--"+s.Flag] {
			t.Errorf("setting %+v: no key, no sentence, or there twice", s)
		}
		seen[s.Key], seen["--"+s.Flag] = true, s.Flag != ""
		c := DefaultConfig()
		values := s.values(c)
		if err := s.Set(&c, values...); err != nil || s.Text(c) != s.Default() {
			t.Errorf("%s: its default %q reads as %q, %v", s.Key, s.Default(), s.Text(c), err)
		}
	}
}

func TestValuesOfSettings(t *testing.T) {
	byKey := map[string]Setting{}
	for _, s := range Settings() {
		byKey[s.Key] = s
	}
	for _, c := range []struct{ key, text, want string }{
		{"drain", "0s", "0s"},
		{"settle.max_age", "90m", "1h30m"},
		{"settle.max_bytes", "2048", "2KiB"},
		{"settle.max_bytes", "3 MiB", "3MiB"},
		{"limits.calls_per_second", "0.5", "0.5"},
		{"settle.depth", "3", "3"},
		{"p2p.mdns", "true", "true"},
		{"p2p.mdns", "yes", "!neither"},
		{"settle.depth", "-1", "!whole number"},
		{"limits.conns", "many", "!whole number"},
		{"limits.conns", "99999999999999999999", "!whole number"},
		{"settle.max_bytes", "1TiB", "!size"},
		{"settle.max_bytes", "9999999999999GiB", "!size"},
		{"settle.max_bytes", "-1", "!size"},
		{"settle.max_age", "2", "!duration"},
		{"limits.calls_per_second", "NaN", "!number"},
	} {
		cfg := DefaultConfig()
		err := byKey[c.key].Set(&cfg, c.text)
		if word, bad := strings.CutPrefix(c.want, "!"); bad {
			says(t, err, word)
		} else if got := byKey[c.key].Text(cfg); err != nil || got != c.want {
			t.Errorf("%s = %q reads as %q, %v; want %q", c.key, c.text, got, err, c.want)
		}
	}
}

// TestPrecedence: flag over environment over file over default.
func TestPrecedence(t *testing.T) {
	h := home(t)
	text := "name = 'file'\nroles = ['su']\n[compute]\nmax_hot = 3\nworkers = 4\n[settle]\nmax_age = '2s'\n"
	if err := os.WriteFile(h.config(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"AOPEER_NAME=env", "AOPEER_COMPUTE_MAX_HOT=5", "AOPEER_ROLES=cu,mu", "AOPEER_DRAIN=", "OTHER=1", "AOPEER_HOME=x",
		"AOPEER_ROLE=su", "AOPEER_STORE_KILL_DIR=x",
	}
	e, err := h.Effective(env, map[string][]string{"compute.max_hot": {"7"}, "p2p.deny": {"192.0.2.1", "192.0.2.2"}})
	if err != nil {
		t.Fatal(err)
	}
	c := e.Config
	for _, v := range []struct {
		key, source string
		got, want   any
	}{
		{"compute.max_hot", "flag", c.Compute.MaxHot, 7},
		{"p2p.deny", "flag", len(c.P2P.Deny), 2},
		{"name", "AOPEER_NAME", c.Name, "env"},
		{"roles", "AOPEER_ROLES", strings.Join(c.Roles, "+"), "cu+mu"},
		{"compute.workers", "config.toml", c.Compute.Workers, 4},
		{"drain", "default", c.Drain, DefaultConfig().Drain},
		{"settle.poll", "settle.max_age", c.Settle.Poll, Duration(2 * time.Second)},
		{"compute.claim_age", "settle.max_age", c.Compute.ClaimAge, Duration(2 * time.Second)},
	} {
		if v.got != v.want || e.Sources[v.key] != v.source {
			t.Errorf("%s is %v from %s, want %v from %s", v.key, v.got, e.Sources[v.key], v.want, v.source)
		}
	}
	if len(e.Unknown) != 1 || !strings.Contains(e.Unknown[0], "AOPEER_ROLE is no setting: did you mean AOPEER_ROLES?") {
		t.Errorf("of the variables it says %q", e.Unknown)
	}
	_, err = h.Effective([]string{"AOPEER_LIMITS_CONNS=some"}, nil)
	says(t, err, "AOPEER_LIMITS_CONNS", "whole number")
	_, err = h.Effective(nil, map[string][]string{"log.level": {"loud"}})
	says(t, err, "log.level", "debug, info, warn, error")
}

// TestWrongFiles: each fault is told with its line and, if it is a misspelt name, with the right one.
func TestWrongFiles(t *testing.T) {
	for text, words := range map[string][]string{
		"name = 'x'\nnmae = 'x'":              {"line 2", "unknown setting nmae", "did you mean name?"},
		"[settle]\n\nmaxage = '2s'":           {"line 3", "settle.maxage", "did you mean settle.max_age?"},
		"[setle]\nmax_age = '2s'":             {"line 1", "setle", "did you mean settle?"},
		"[compute]\nmax_hot = 'many'":         {"line 2", "another type"},
		"roles = ['su']\nlisten = 3":          {"line 2", "another type"},
		"[settle]\nmax_age = '2 fortnights'":  {"line 2", "not a duration"},
		"[limits]\nmemory = 'lots'":           {"line 2", "not a size"},
		"name = 'x'\nname = 'y'":              {"config.toml"},
		"utterly = 'nowhere near a real one'": {"line 1", "unknown setting utterly", "docs/config.md"},
	} {
		h := home(t)
		if err := os.WriteFile(h.config(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := h.LoadConfig()
		says(t, err, words...)
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: more than one line: %v", text, err)
		}
	}
}

// TestSavedConfig: what is not the default stands in the file, the rest as comments; all of it is read back.
func TestSavedConfig(t *testing.T) {
	h, c := home(t), DefaultConfig()
	c.Name, c.Roles, c.P2P.MDNS, c.Limits.Memory, c.Log.Format = `it's "me"`, []string{"su", "mu"}, true, 1<<30, "json"
	if err := h.SaveConfig(c); err != nil {
		t.Fatal(err)
	}
	got, err := h.LoadConfig()
	if err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("read back %+v, %v", got, err)
	}
	raw, err := os.ReadFile(h.config())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nroles = ['su', 'mu']\n", "\n# max_hot = 256\n", "\n[limits]\n", "\nmemory = '1GiB'\n", "\n# drain = '10s'\n"} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("the file lacks %q:\n%s", want, raw)
		}
	}
	// Every commented line is a setting too.
	lines := strings.Split(string(raw), "\n")
	for i, l := range lines {
		if cut, ok := strings.CutPrefix(l, "# "); ok && strings.Contains(cut, " = ") {
			lines[i] = cut
		}
	}
	if err := os.WriteFile(h.config(), []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := h.LoadConfig(); err != nil || got.Compute != c.Compute || got.Limits != c.Limits {
		t.Errorf("with its comments taken off it reads as %+v, %v", got, err)
	}
}

func TestAdminAddressIsLoopback(t *testing.T) {
	for listen, word := range map[string]string{
		"127.0.0.1:9100": "", "[::1]:9100": "", "127.0.0.1:0": "", "": "",
		"0.0.0.0:9100": "admin.public", ":9100": "admin.public", "192.0.2.1:9100": "admin.public", "localhost:9100": "admin.public",
		"9100": "HOST:PORT", "127.0.0.1:http": "port", "127.0.0.1:99999": "port",
	} {
		err := AdminConfig{Listen: listen}.Validate()
		if word == "" && err != nil {
			t.Errorf("%q: %v", listen, err)
		} else if word != "" {
			says(t, err, word)
		}
	}
	if err := (AdminConfig{Listen: "0.0.0.0:9100", Public: true}).Validate(); err != nil {
		t.Errorf("allowed to be public: %v", err)
	}
}

func TestShownHidesPasswords(t *testing.T) {
	for in, want := range map[string]string{
		"https://user:secret@host/x,http://plain": "https://user:xxxxx@host/x,http://plain", "a,b": "a,b", "": "",
	} {
		if got := Shown(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}
