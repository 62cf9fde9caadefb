package wasmvm

import (
	"path/filepath"
	"testing"
)

const testLimit = 1 << 30

// testEngine keeps compiled code for the whole test binary's runs, since a compilation takes a second.
func testEngine(tb testing.TB) *engine {
	tb.Helper()
	e, err := newEngine(engineConfig{CacheDir: filepath.Join(tb.TempDir(), "code")})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(e.close)
	return e
}

func testScan(tb testing.TB) *pageScan {
	tb.Helper()
	s, err := newPageScan()
	if err != nil {
		tb.Logf("comparing every page: %v", err)
		return nil
	}
	tb.Cleanup(s.close)
	return s
}

func testProgram(tb testing.TB, name, sum string) *emscriptenProgram {
	tb.Helper()
	wasm := fetchModule(tb, name, sum)
	p, err := newEmscripten(tb.Context(), testEngine(tb), wasm, name != aosNarrow)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.close)
	return p
}

func testJournal(tb testing.TB, p program, scan *pageScan) *journal {
	tb.Helper()
	inst, err := p.start(testLimit)
	if err != nil {
		tb.Fatal(err)
	}
	j := newJournal(p, inst, testLimit, scan)
	tb.Cleanup(func() { j.close() })
	return j
}

// parityDigests are the first 8 bytes of the SHA-256 of the whole memory after each message of testScript, as
// the reference loader leaves it when the state goes back after an Error.
func parityDigests(wide bool) []string {
	if wide {
		return []string{
			"1be682ae9469d8e9", "129c21fb58fe34a4", "f590b19ff3d48ee9", "fa561edccca30a69", "f682e3635c265c4f", "7dff724109466d8e",
			"b68637f35283f6af", "10638e30e918fa22", "10638e30e918fa22", "d22e079b7da1a194", "87dd4c7be59391ac", "e6acaf27d45ac57e",
		}
	}
	return []string{
		"90776f6cf11f83ff", "2bdde3b94e67919d", "253c41fe58410eb1", "4f976e7677358056", "5d510b4ad07c35bb", "254eed0f076f6400",
		"94279ee7a8388dfd", "6554a64a3e0b9734", "6554a64a3e0b9734", "9a52fc21b6c2b63f", "2f26ef6fb98cc4fd", "6c868b77d0cfd245",
	}
}

// TestParity runs the script against real aos modules and compares the memory, byte for byte, with the
// reference's: on one hot instance, on one that is rebuilt from a checkpoint file before every message, and
// with and without the kernel's help in finding changed pages.
func TestParity(t *testing.T) {
	for _, module := range []struct {
		name, sum string
		wide      bool
	}{{aosWide, aosSum, true}, {aosNarrow, aosSum32, false}} {
		t.Run(module.name, func(t *testing.T) {
			if testing.Short() && !module.wide {
				t.Skip("the 32-bit twin runs the same code")
			}
			p := testProgram(t, module.name, module.sum)
			want := parityDigests(module.wide)
			hot := playScript(t, testJournal(t, p, testScan(t)), want, false)
			cold := playScript(t, testJournal(t, p, testScan(t)), want, true)
			slow := hot
			if !testing.Short() {
				slow = playScript(t, testJournal(t, p, nil), want, false)
			}
			for i := range hot {
				if hot[i] != cold[i] || hot[i] != slow[i] {
					t.Errorf("message %d used fuel %d hot, %d restored, %d without the page map", i, hot[i], cold[i], slow[i])
				}
			}
		})
	}
}

// playScript returns the fuel of each message.
func playScript(t *testing.T, j *journal, want []string, rebuild bool) (fuel []uint64) {
	t.Helper()
	for i, step := range testScript() {
		if rebuild {
			file, err := j.image().Encode()
			if err != nil {
				t.Fatal(err)
			}
			img, err := DecodeImage(file, testLimit)
			if err != nil {
				t.Fatal(err)
			}
			inst, err := j.prog.restore(img, testLimit)
			if err != nil {
				t.Fatal(err)
			}
			j.close()
			j = newJournal(j.prog, inst, testLimit, j.scan)
			t.Cleanup(j.close)
		}
		out, used, err := j.handle([]byte(step.msg), testEnv(), 10_000_000_000)
		if err != nil {
			t.Fatalf("%s: %v", step.label, err)
		}
		if failed(out) != (step.label == "error") {
			t.Fatalf("%s: %s", step.label, out)
		}
		if failed(out) {
			if err := j.rollback(); err != nil {
				t.Fatal(err)
			}
		} else {
			j.mark()
		}
		fuel = append(fuel, used)
		if got := hexSum(j.memory())[:16]; got != want[i] {
			t.Fatalf("message %d (%s): memory digest %s, want %s", i, step.label, got, want[i])
		}
	}
	return fuel
}
