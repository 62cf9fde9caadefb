package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestSpill: what lies in memory for long is written out by the next commit, and a crash in the middle of it loses nothing.
func TestSpill(t *testing.T) {
	disk := vfs.NewCrashableMem()
	d, err := open(disk, "store", Options{})
	if err != nil {
		t.Fatal(err)
	}
	put := func(i int) {
		t.Helper()
		var b Batch
		b.Put(fmt.Sprintf("key/%d", i), []byte("value"))
		if err := d.Commit(&b); err != nil {
			t.Fatal(err)
		}
	}
	flushes := func() int64 { return d.db.Metrics().Flush.Count }
	before := flushes()
	put(0)
	d.spill(time.Now())
	put(1)
	if n := flushes(); n != before {
		t.Fatalf("%d flushes of a table that is young", n-before)
	}
	d.spilled = d.spilled.Add(-spillEvery)
	put(2)
	crashed := disk.CrashClone(vfs.CrashCloneCfg{}) // the old journal is whole, whether the new one has begun or not
	for end := time.Now().Add(time.Minute); flushes() == before; {
		if time.Now().After(end) {
			t.Fatal("the table was not written out")
		}
		put(3)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, disk := range []vfs.FS{crashed, disk} {
		d, err := open(disk, "store", Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if v, err := d.Get(fmt.Sprintf("key/%d", i)); err != nil || string(v) != "value" {
				t.Errorf("key %d: %q, %v", i, v, err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
