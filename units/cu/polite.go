package cu

import "runtime"

// polite is threads to which the system gives what others leave of the processor. They are kept, because one of them can never
// be an ordinary thread again. Safe for concurrent use.
type polite struct {
	jobs    chan func()   // without room: somebody takes what is sent
	threads chan struct{} // holds a token for each of them
	end     chan struct{}
}

func newPolite(most int) *polite {
	return &polite{jobs: make(chan func()), threads: make(chan struct{}, most), end: make(chan struct{})}
}

// start has work done by a thread once one is idle.
func (p *polite) start(work func()) {
	select {
	case p.jobs <- work:
		return
	default:
	}
	select {
	case p.jobs <- work:
	case p.threads <- struct{}{}:
		go p.serve(work)
	}
}

// run is start, and waits for the work.
func (p *polite) run(work func()) {
	done := make(chan struct{})
	p.start(func() {
		defer close(done)
		work()
	})
	<-done
}

func (p *polite) serve(work func()) {
	runtime.LockOSThread() // for good: the thread ends with this goroutine
	yieldToOthers()
	for {
		work()
		select {
		case work = <-p.jobs:
		case <-p.end:
			return
		}
	}
}

// close ends the threads, once nobody starts anything.
func (p *polite) close() { close(p.end) }
