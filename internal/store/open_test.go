package store

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func mustOpenDir(t *testing.T, dir string) Store {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := mustOpenDir(t, dir)
	commit(t, s, func(b *Batch) {
		b.Put("k", []byte("v"))
		b.Append("l", 0, []byte("r"))
		b.Push("q", []byte("e"))
		b.Push("q", []byte("f"))
	})
	commit(t, s, func(b *Batch) { b.Done("q", 2) })
	if err := s.PutFile("f", strings.NewReader("body")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpenDir(t, dir)
	defer func() { _ = s.Close() }()
	if v, err := s.Get("k"); err != nil || string(v) != "v" {
		t.Fatalf("got %q, %v", v, err)
	}
	var b Batch
	b.Append("l", 0, nil)
	wantErr(t, s.Commit(&b), ErrNotNext)
	commit(t, s, func(b *Batch) { b.Append("l", 1, nil); b.Push("q", []byte("g")) })
	if q, err := s.Pending("q", 1, 0); err != nil || len(q) != 1 || q[0].Seq <= 2 {
		t.Fatalf("got %v, %v: a number is not given twice after a restart either", q, err)
	}
	if got := readFile(t, s, "f"); got != "body" {
		t.Fatalf("got %q", got)
	}
}

func TestOpenLocked(t *testing.T) {
	dir := t.TempDir()
	s := mustOpenDir(t, dir)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, link, dir + "/."} {
		_, err := Open(name, Options{})
		wantErr(t, err, ErrLocked)
		if !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
			t.Errorf("%q does not name the owner", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := mustOpenDir(t, link).Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenFormat(t *testing.T) {
	dir := t.TempDir()
	if err := mustOpenDir(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, nameFormat)
	for _, content := range []string{"aopeer store 1\n", "aopeer store 3\n", "", stamp + "x", "aopeer store 2"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir, Options{})
		wantErr(t, err, ErrFormat)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, Options{})
	wantErr(t, err, ErrFormat)
	// A refusal released the folder and changed nothing.
	if err := os.WriteFile(name, []byte(stamp), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := mustOpenDir(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenInTheWay(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{name, filepath.Join(name, "below")} {
		if s, err := Open(dir, Options{}); err == nil {
			t.Fatalf("opened %s, where a file is: %v", dir, s.Close())
		}
	}
}

func TestOpenClearsHalfWrittenFiles(t *testing.T) {
	dir := t.TempDir()
	if err := mustOpenDir(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, nameFiles, tempSign+"7")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := mustOpenDir(t, dir)
	defer func() { _ = s.Close() }()
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Fatalf("got %v, want the half-written file gone", err)
	}
}
