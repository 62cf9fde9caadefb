package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v3"
)

var update = flag.Bool("update", false, "rewrite docs/cli.md")

// TestCLIPage holds docs/cli.md to the commands.
func TestCLIPage(t *testing.T) {
	const file = "../../docs/cli.md"
	want := cliPage()
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
		t.Errorf("docs/cli.md is stale from line %d on: run make docs\n%q", i+1, slices.Concat(fresh[i:], []string{""})[0])
	}
	for _, secret := range []string{os.TempDir() + "/", defaultHome()} {
		if strings.Contains(want, secret) {
			t.Errorf("docs/cli.md names %s of this machine", secret)
		}
	}
}

// cliPage is docs/cli.md.
func cliPage() string {
	var b strings.Builder
	root := command()
	b.WriteString(`# Commands

Generated from the command tree in ` + "`cmd/aopeer`; rewrite it with `make docs`" + `.

Flags may stand anywhere; behind ` + "`--`" + ` everything is an argument. Exit codes: 0, 1 for a failure, 2 for misuse; each is one line on
standard error that says what to do. With ` + "`--json`" + ` the answer, or the failure, is JSON with stable keys on standard output.

## Every command

`)
	flagTable(&b, root.Flags)
	var walk func(path string, c *cli.Command)
	walk = func(path string, c *cli.Command) {
		name := path + " " + c.Name
		fmt.Fprintf(&b, "\n## %s\n\n", name)
		fmt.Fprintf(&b, "%s.\n", strings.ToUpper(c.Usage[:1])+c.Usage[1:])
		if usage := strings.TrimSpace(c.ArgsUsage); usage != "" {
			fmt.Fprintf(&b, "\n    %s %s\n", name, usage)
		}
		if c.Description != "" {
			fmt.Fprintf(&b, "\n%s\n", c.Description)
		}
		if len(c.Flags) > 0 {
			b.WriteString("\n")
			flagTable(&b, c.Flags)
		}
		for _, sub := range c.Commands {
			walk(name, sub)
		}
	}
	for _, c := range root.Commands {
		walk(root.Name, c)
	}
	return b.String()
}

func flagTable(b *strings.Builder, flags []cli.Flag) {
	b.WriteString("| flag | default | meaning |\n|---|---|---|\n")
	for _, f := range flags {
		d := f.(cli.DocGenerationFlag)
		usage, value := d.GetUsage(), ""
		if d.TakesValue() {
			value = " " + strings.ToUpper(d.TypeName())
			if _, rest, ok := strings.Cut(usage, "`"); ok {
				name, after, _ := strings.Cut(rest, "`")
				before, _, _ := strings.Cut(usage, "`")
				usage, value = before+name+after, " "+name
			}
		}
		if env := d.GetEnvVars(); len(env) > 0 {
			usage += " [$" + strings.Join(env, ", $") + "]"
		}
		def := d.GetDefaultText()
		if def == "" && d.IsDefaultVisible() && d.TakesValue() {
			def = d.GetValue()
		}
		if def = strings.Trim(def, `"`); def == "" || def == "[]" || def == "false" {
			def = "–"
		}
		names := make([]string, 0, 2)
		for _, n := range f.Names() {
			dash := "--"
			if len(n) == 1 {
				dash = "-"
			}
			names = append(names, "`"+dash+n+value+"`")
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", strings.Join(names, ", "), def, strings.ReplaceAll(usage, "|", `\|`))
	}
}
