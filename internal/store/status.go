package store

import (
	"time"

	dto "github.com/prometheus/client_model/go"
)

// Status is a store at one moment, in numbers that cost nothing to read.
type Status struct {
	Disk     uint64        // bytes of the database on disk, with its journal
	Journal  uint64        // of them, the journal
	Syncs    uint64        // synced writes of the journal since the store was opened
	SyncTime time.Duration // that those took together
}

// Status is what the engine counts.
func (d *database) Status() Status {
	if d.enter() != nil {
		return Status{}
	}
	defer d.gate.leave()
	m := d.db.Metrics()
	s := Status{Disk: m.DiskSpaceUsage(), Journal: m.WAL.PhysicalSize}
	var h dto.Metric
	if f := m.LogWriter.FsyncLatency; f != nil && f.Write(&h) == nil {
		s.Syncs = h.GetHistogram().GetSampleCount()
		s.SyncTime = time.Duration(h.GetHistogram().GetSampleSum())
	}
	return s
}
