package wasmvm

// The reference answers a module's file system from the network, so its imports are asynchronous: the module
// unwinds its stack into a buffer, the answer is fetched, the stack is wound back. Here the answer is at hand (drive.go),
// but the buffer comes from the module's malloc and the bytes stay in its memory, so all of it is done the same way.

// sleepState is where asyncify stands.
type sleepState int

const (
	awake sleepState = iota
	unwinding
	rewinding
)

// asleep is the import's answer, found once and given when the module has been unwound and rewound.
func (m *emscripten) asleep(find func() (uint64, error)) (uint64, error) {
	if m.sleep == rewinding {
		m.sleep = awake
		if _, err := m.call("asyncify_stop_rewind"); err != nil {
			return 0, err
		}
		_, err := m.call("free", m.sleeper)
		m.sleeper = 0
		return m.dreamt, err
	}
	if m.sleep != awake {
		return 0, faultAsyncify
	}
	var err error
	if m.dreamt, err = find(); err != nil {
		return 0, err
	}
	m.sleep = unwinding
	word := uint64(4)
	if m.wide {
		word = 8
	}
	header := 3 * word // two pointers and the number of the call to rewind to, padded
	p, err := m.call("malloc", header+asyncStack)
	if err != nil {
		return 0, err
	}
	m.sleeper = p
	if err := m.putWord(p, p+header); err != nil {
		return 0, err
	}
	if err := m.putWord(p+word, p+header+asyncStack); err != nil {
		return 0, err
	}
	if err := m.put32(p+2*word, 0); err != nil {
		return 0, err
	}
	_, err = m.call("asyncify_start_unwind", p)
	return 0, err
}

// rewind turns an unwound stack around, for handle to be called once more.
func (m *emscripten) rewind() error {
	m.sleep = awake
	if _, err := m.call("asyncify_stop_unwind"); err != nil {
		return err
	}
	m.sleep = rewinding
	_, err := m.call("asyncify_start_rewind", m.sleeper)
	return err
}
