package store

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	look := func(want bool) {
		t.Helper()
		pid, open, err := Owner(dir)
		if err != nil || open != want || open && pid != os.Getpid() {
			t.Errorf("owner %d, open %t, %v; want open %t", pid, open, err, want)
		}
	}
	look(false)
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Error("looking made the folder")
	}
	st, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	look(true)
	s := st.(*database).Status()
	for range 2 { // a sync is counted after those who waited for it are woken, but before the next one
		var b Batch
		b.Put("key", []byte("value"))
		if err := st.Commit(&b); err != nil {
			t.Fatal(err)
		}
	}
	if now := st.(*database).Status(); now.Syncs <= s.Syncs || now.SyncTime <= s.SyncTime || now.Disk == 0 {
		t.Errorf("after two commits the status is %+v, before them %+v", now, s)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	look(false)
	if s := st.(*database).Status(); s != (Status{}) {
		t.Errorf("a closed store says %+v", s)
	}
	if st, err = Open(dir, Options{}); err != nil {
		t.Fatalf("after looking: %v", err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}
