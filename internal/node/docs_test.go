package node

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/config.md and docs/metrics.md")

// page holds a generated page to what it is made from.
func page(t *testing.T, name, want string) {
	t.Helper()
	file := "../../docs/" + name
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		old, fresh := strings.Split(string(got), "\n"), strings.Split(want, "\n")
		i := 0
		for i < len(old) && i < len(fresh) && old[i] == fresh[i] {
			i++
		}
		t.Errorf("docs/%s is stale from line %d on: run make docs\n%q", name, i+1, slices.Concat(fresh[i:], []string{""})[0])
	}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// code is text as code, "–" for none.
func code(s string) string {
	if s == "" {
		return "–"
	}
	return "`" + s + "`"
}

// TestConfigPage is docs/config.md.
func TestConfigPage(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Settings of a peer

Generated from the table in ` + "`internal/node/config.go`; rewrite it with `make docs`" + `.

A setting can be given in ` + "`config.toml`" + ` in the home, in an environment variable and by a flag of ` + "`aopeer run`, `aopeer init`," + `
` + "`aopeer config` and `aopeer doctor`" + `. A flag goes before the environment, that before the file, and that before the default. A setting
without a flag of its own is given as ` + "`--set KEY=VALUE`" + `. In a variable and in ` + "`--set`" + ` the values of a list stand between commas.
Durations are such as ` + "`250ms`, `2s`, `1h`" + `; sizes are such as ` + "`512KiB`, `16MiB`, `1GiB`" + `, or bytes.

` + "`aopeer config`" + ` shows what holds and where it comes from. An unknown key in the file is refused, with its line and what may have been meant.
`)
	section := "none"
	for _, s := range Settings() {
		head, name, ok := strings.Cut(s.Key, ".")
		if !ok {
			head, name = "", s.Key
		}
		if head != section {
			section = head
			title := "The peer itself"
			if head != "" {
				title = "[" + head + "]"
			}
			fmt.Fprintf(&b, "\n## %s\n\n| key | default | environment | flag | meaning |\n|---|---|---|---|---|\n", title)
		}
		flag := ""
		if s.Flag != "" {
			flag = "--" + s.Flag
		}
		meaning := s.Meaning
		if len(s.OneOf) > 0 {
			meaning += " One of " + strings.Join(s.OneOf, ", ") + "."
		}
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s | %s |\n", name, code(s.Default()), s.Env, code(flag), cell(meaning))
	}
	page(t, "config.md", b.String())
}

// TestMetricsPage is docs/metrics.md.
func TestMetricsPage(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Metrics of a peer

Generated from the table in ` + "`internal/node/metrics.go`; rewrite it with `make docs`" + `.

` + "`aopeer run --admin 127.0.0.1:9100`" + ` (or ` + "`aopeer devnet --admin …`" + `, for all its peers) serves, without any password:

| path | what |
|---|---|
| ` + "`/metrics`" + ` | the table below, beside what Go, the process (` + "`go_`, `process_`" + `) and libp2p (` + "`libp2p_`" + `) count, for Prometheus |
| ` + "`/healthz`" + ` | 200 while the process works |
| ` + "`/readyz`" + ` | 200 while the peer takes work, else 503 and why: it does not listen yet, knows no block height, or is about to stop |
| ` + "`/debug/pprof/`" + ` | profiles of processor, memory and goroutines |

Every metric has the label ` + "`peer`" + `: the peer's name or, if it has none, its address. What a role counts is there only if the peer has it.
The counts of libp2p are those of the whole process, whichever of its peers they are shown for.

| metric | kind | labels | meaning |
|---|---|---|---|
`)
	for _, m := range metrics() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, m.kind, code(strings.Join(m.labels, ", ")), cell(m.help))
	}
	page(t, "metrics.md", b.String())
}
