package archtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

const root = "../.."

// TestHouse applies every rule to this module.
func TestHouse(t *testing.T) {
	all, err := Load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("found %d source files: this is not the module's root", len(all))
	}
	for _, f := range Check(all) {
		t.Error(f)
	}
}

// TestRules applies each rule to its fixture: an archive of source files, and a last file named want with the
// findings, one a line. What a fixture holds beside its offenders must pass.
func TestRules(t *testing.T) {
	for _, rule := range Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			sources, want := readFixture(t, rule.Name)
			var got strings.Builder
			for _, f := range rule.Run(sources) {
				got.WriteString(f.String() + "\n")
			}
			if want == "" {
				t.Error("a fixture expects at least one finding")
			}
			if got.String() != want {
				t.Errorf("got:\n%swant:\n%s", got.String(), want)
			}
		})
	}
	// Every fixture belongs to a rule, so none is kept that nothing runs.
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) != len(Rules()) {
		t.Errorf("got %d fixtures, %v, for %d rules", len(names), err, len(Rules()))
	}
}

func readFixture(t *testing.T, rule string) (sources []*Source, want string) {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", rule+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.Files {
		if f.Name == "want" {
			want = string(f.Data)
			continue
		}
		// A fill line stands for more lines than a fixture should hold.
		data := strings.Replace(string(f.Data), "//fill\n", strings.Repeat("//\n", 599), 1)
		s, err := Parse(f.Name, []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, s)
	}
	return sources, want
}

// TestPins asserts the version that any `go get` of an older dependency would lower without a word.
func TestPins(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the go tool is not installed: ", err)
	}
	cmd := exec.Command(tool, "list", "-m", "github.com/libp2p/go-libp2p")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list module: %v", err)
	}
	if got, want := strings.TrimSpace(string(out)), "github.com/libp2p/go-libp2p v0.51.0"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}
