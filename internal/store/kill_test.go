package store

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// killDir tells a copy of the test binary to be the victim of TestKill, in the folder it names.
const killDir = "AOPEER_STORE_KILL_DIR"

const killWriters = 4

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		if err := beKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1) // it lives until it is killed
	}
	os.Exit(m.Run())
}

// beKilled commits without end and prints a line for each change that was acknowledged.
func beKilled(dir string) error {
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make(chan error, killWriters+1)
	for w := range killWriters {
		wg.Go(func() {
			log := fmt.Sprintf("log%d", w)
			n, err := s.Len(log)
			for ; err == nil; n++ {
				var b Batch
				b.Append(log, n, fmt.Appendf(nil, "record %d of %s", n, log))
				b.Put(fmt.Sprintf("key/%s/%d", log, n), fmt.Append(nil, n))
				b.Push("queue", fmt.Appendf(nil, "%s %d", log, n))
				if err = s.Commit(&b); err == nil {
					_, err = fmt.Printf("%s %d\n", log, n)
				}
			}
			errs <- err
		})
	}
	wg.Go(func() {
		n, err := nextFile(s)
		for ; err == nil; n++ {
			name := fmt.Sprintf("file/%d", n%7)
			if err = s.PutFile(name, strings.NewReader(strings.Repeat(fmt.Sprintf("%9d", n), 1000))); err == nil {
				_, err = fmt.Printf("%s %d\n", name, n)
			}
		}
		errs <- err
	})
	return <-errs
}

// nextFile goes on counting where the child before this one was killed, so that a higher number is always a later write.
func nextFile(s Store) (n int, err error) {
	for i := range 7 {
		f, err := s.OpenFile(fmt.Sprintf("file/%d", i))
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return 0, err
		}
		head := make([]byte, 9)
		_, err = f.ReadAt(head, 0)
		if err = errors.Join(err, f.Close()); err != nil {
			return 0, err
		}
		var last int
		if _, err := fmt.Sscan(string(head), &last); err != nil {
			return 0, err
		}
		n = max(n, last+1)
	}
	return n, nil
}

// TestKill kills a writing process with SIGKILL, again and again in one folder, and looks for everything it acknowledged.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acked := make(map[string]int) // log or file -> highest number acknowledged
	for round := range 5 {
		killOnce(t, dir, 200+311*round, acked)
		checkAcked(t, dir, acked)
	}
}

// killOnce lets a child acknowledge at least n changes and kills it in the middle of the next ones.
func killOnce(t *testing.T, dir string, n int, acked map[string]int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(pipe)
	seen := 0
	for lines.Scan() { // to the end: what was in the pipe when the child died was acknowledged too
		var (
			name   string
			number int
		)
		if _, err := fmt.Sscan(lines.Text(), &name, &number); err != nil {
			break // a line the kill cut short
		}
		acked[name] = max(acked[name], number)
		if seen++; seen == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // killed, so never nil
	if seen < n {
		t.Fatalf("child ended by itself after %d changes, before it was killed", seen)
	}
}

// checkAcked opens the folder the child left behind.
func checkAcked(t *testing.T, dir string, acked map[string]int) {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	var total uint64
	for name, last := range acked {
		if strings.HasPrefix(name, "file/") {
			body := readFile(t, s, name)
			var n int
			if _, err := fmt.Sscan(body[:9], &n); err != nil || n < last || body != strings.Repeat(fmt.Sprintf("%9d", n), 1000) {
				t.Fatalf("%s holds %q.. (%d bytes), acknowledged was %d", name, body[:9], len(body), last)
			}
			continue
		}
		checkAckedLog(t, s, name, uint64(last))
	}
	logs, err := s.Logs("log", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, log := range logs { // one whose first record nobody heard of counts too
		n, err := s.Len(log)
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	var after, queued uint64
	for {
		entries, err := s.Pending("queue", after, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			break
		}
		queued += uint64(len(entries))
		after = entries[len(entries)-1].Seq
	}
	if queued != total {
		t.Fatalf("%d entries queued with %d records: batches are whole or absent", queued, total)
	}
	if list, err := s.ListFiles(""); err != nil || len(list) > 7 {
		t.Fatalf("got %v, %v: temporary files stayed", list, err)
	}
}

// checkAckedLog reads a log through and finds the acknowledged record.
func checkAckedLog(t *testing.T, s Store, log string, last uint64) {
	t.Helper()
	var n uint64
	for {
		recs, err := s.Range(log, n, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(recs) == 0 {
			break
		}
		for _, r := range recs {
			if want := fmt.Sprintf("record %d of %s", n, log); string(r) != want {
				t.Fatalf("got %q, want %q", r, want)
			}
			if v, err := s.Get(fmt.Sprintf("key/%s/%d", log, n)); err != nil || string(v) != fmt.Sprint(n) {
				t.Fatalf("key of record %d: got %q, %v", n, v, err)
			}
			n++
		}
	}
	if length, err := s.Len(log); err != nil || length != n {
		t.Fatalf("%s: length %d, %v, but %d records", log, length, err, n)
	}
	if n <= last {
		t.Fatalf("%s has %d records, but %d was acknowledged", log, n, last)
	}
}
