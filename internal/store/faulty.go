package store

// Faulty is a Store whose writes can be made to fail on purpose, for the crash pairs of tests and simulations:
// failed and not written, failed but written. Set its fields before use.
type Faulty struct {
	Store
	// Before, when set, is asked before each Commit; its error is returned and nothing is written.
	Before func(*Batch) error
	// After, when set, is asked after each Commit that succeeded; its error is returned although all is written.
	After func(*Batch) error
}

// Commit implements Store with the faults.
func (f *Faulty) Commit(b *Batch) error {
	if f.Before != nil {
		if err := f.Before(b); err != nil {
			return err
		}
	}
	if err := f.Store.Commit(b); err != nil {
		return err
	}
	if f.After != nil {
		return f.After(b)
	}
	return nil
}
