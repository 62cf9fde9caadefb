package wasmvm

import "testing"

// booted is an aos process after its first message.
func booted(tb testing.TB) (*emscriptenProgram, *journal) {
	p := testProgram(tb, aosWide, aosSum)
	j := testJournal(tb, p, testScan(tb))
	for _, msg := range []string{testSpawn(), testEval(1, "1+1")} {
		if out, _, err := j.handle([]byte(msg), testEnv(), MaxFuel); err != nil || failed(out) {
			tb.Fatalf("boot: %v %s", err, out)
		}
		j.mark()
	}
	return p, j
}

// BenchmarkEval is a message on a hot process: evaluated and marked.
func BenchmarkEval(b *testing.B) {
	_, j := booted(b)
	msg, env := []byte(testEval(2, "1+1")), testEnv()
	for b.Loop() {
		if _, _, err := j.handle(msg, env, MaxFuel); err != nil {
			b.Fatal(err)
		}
		j.mark()
	}
}

// BenchmarkEvalBare is the same message with nothing kept: the engine's own time.
func BenchmarkEvalBare(b *testing.B) {
	_, j := booted(b)
	msg, env := []byte(testEval(2, "1+1")), testEnv()
	for b.Loop() {
		if _, _, err := j.inst.handle(msg, env, MaxFuel); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMark is the bookkeeping after a message that changed nothing.
func BenchmarkMark(b *testing.B) {
	_, j := booted(b)
	for b.Loop() {
		j.mark()
	}
}

// BenchmarkRollback is a failed message, put back on the same instance.
func BenchmarkRollback(b *testing.B) {
	_, j := booted(b)
	msg, env := []byte(testEval(2, "error('no')")), testEnv()
	for b.Loop() {
		if _, _, err := j.handle(msg, env, MaxFuel); err != nil {
			b.Fatal(err)
		}
		if err := j.rollback(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRestore builds an instance from an image in memory, as after a trap or for a dry run.
func BenchmarkRestore(b *testing.B) {
	p, j := booted(b)
	img := j.image()
	for b.Loop() {
		inst, err := p.restore(img, testLimit)
		if err != nil {
			b.Fatal(err)
		}
		inst.close()
	}
}

// BenchmarkImage copies the state, BenchmarkImageEncode makes a checkpoint file of it.
func BenchmarkImage(b *testing.B) {
	_, j := booted(b)
	for b.Loop() {
		j.image()
	}
}

func BenchmarkImageEncode(b *testing.B) {
	_, j := booted(b)
	img := j.image()
	for b.Loop() {
		file, err := img.Encode()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(file)), "file-B")
	}
}

func BenchmarkImageDecode(b *testing.B) {
	_, j := booted(b)
	file, err := j.image().Encode()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := DecodeImage(file, testLimit); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart makes a fresh process up to its first message.
func BenchmarkStart(b *testing.B) {
	p, _ := booted(b)
	for b.Loop() {
		inst, err := p.start(testLimit)
		if err != nil {
			b.Fatal(err)
		}
		inst.close()
	}
}
