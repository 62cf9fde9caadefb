package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/internal/trial"
	"github.com/aopeer/aopeer/wasmvm"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Usage: "measure a unit as its users meet it",
		Commands: []*cli.Command{{
			Name: "cu", Usage: "measure a computer: replay, results, dry-runs, memory, beside the module called with nothing around it", ArgsUsage: " ",
			Description: "Without --url a peer of this binary is measured, in a process and with a home of its own. Any other computer of ao is\n" +
				"measured with --url: it must find Arweave at --serve-gateway and the scheduler at --serve-su, which this command serves.",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "module", Usage: "wasm `FILE` of the module that is evaluated, of aos for example (default: the embedded one)"},
				&cli.IntFlag{Name: "slots", Usage: "length of the log that is replayed", Value: 5000},
				&cli.IntFlag{Name: "calls", Usage: "results and dry-runs that are timed", Value: 200},
				&cli.IntFlag{Name: "idle", Usage: "processes whose memory is measured", Value: 50},
				&cli.StringFlag{Name: "url", Usage: "`URL` of the computer to measure"},
				&cli.IntFlag{Name: "pid", Usage: "process ID of that computer, for its memory"},
				&cli.StringFlag{Name: "serve-gateway", Usage: "`HOST:PORT` of the stand-in of Arweave", Value: "127.0.0.1:0"},
				&cli.StringFlag{Name: "serve-su", Usage: "`HOST:PORT` of the stand-in of the scheduler", Value: "127.0.0.1:0"},
				&cli.DurationFlag{Name: "timeout", Usage: "how long it may take in all", Value: time.Hour},
			},
			Action: benchComputer,
		}},
	}
}

func benchComputer(ctx context.Context, c *cli.Command) error {
	if err := args(c, 0, 0); err != nil {
		return err
	}
	for flag, least := range map[string]int{"slots": 10, "calls": 10, "idle": 1} {
		if n := c.Int(flag); n < least || n > 1_000_000 {
			return misuse("--%s %d: from %d to 1000000", flag, n, least)
		}
	}
	code := wasmvm.DefaultModule()
	if name := c.String("module"); name != "" {
		var err error
		if code, err = os.ReadFile(name); err != nil {
			return fmt.Errorf("read module %s: %w", name, bare(err))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Duration("timeout"))
	defer cancel()
	dir, err := os.MkdirTemp("", "aopeer-bench-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(dir)
	p := startProgress(c, "making ready")
	defer p.end()
	start := func(ctx context.Context, t trial.Town) (trial.Unit, error) { return startBenched(ctx, dir, t) }
	if url := c.String("url"); url != "" {
		start = func(ctx context.Context, t trial.Town) (trial.Unit, error) {
			p.set("waiting for a computer at %s, which finds Arweave at %s and the scheduler %s at %s", url, t.Gateway, t.Address, t.Scheduler)
			return trial.Unit{URL: url, PID: c.Int("pid")}, awaitURL(ctx, url, nil)
		}
	}
	r, err := trial.Run(ctx, trial.Config{
		Module: code, Slots: c.Int("slots"), Calls: c.Int("calls"), Idle: c.Int("idle"), CacheDir: filepath.Join(dir, "code"),
		Gateway: c.String("serve-gateway"), Schedule: c.String("serve-su"), Start: start, Progress: p.set,
	})
	if err != nil {
		return err
	}
	p.end()
	return output(c).value(r, func(w io.Writer) { writeTrial(w, r) })
}

// startBenched runs a computer of this binary, in a process of its own so that its memory is nobody else's.
func startBenched(ctx context.Context, dir string, t trial.Town) (u trial.Unit, err error) {
	self, err := os.Executable()
	if err != nil {
		return u, fmt.Errorf("find this program: %w", err)
	}
	at, err := freeAddress(ctx)
	if err != nil {
		return u, err
	}
	log, err := os.Create(filepath.Join(dir, "unit.log"))
	if err != nil {
		return u, fmt.Errorf("keep the unit's log: %w", bare(err))
	}
	cmd := exec.Command(self, "run", "--role", "cu", "--gateway", t.Gateway, "--scheduler-url", t.Scheduler, "--http", at, "--home", filepath.Join(dir, "home"))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		log.Close()
		return u, fmt.Errorf("start a computer: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // why it ended is in its log
		close(ended)
	}()
	u = trial.Unit{URL: "http://" + at, PID: cmd.Process.Pid, Stop: func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-ended:
		case <-time.After(benchPatience):
			_ = cmd.Process.Kill()
			<-ended
		}
		log.Close()
	}}
	if err := awaitURL(ctx, u.URL, ended); err != nil {
		u.Stop()
		said, _ := os.ReadFile(log.Name())
		return u, fmt.Errorf("%w: %.2000s", err, said)
	}
	return u, nil
}

// benchPatience is how long a computer that was measured may take to end.
const benchPatience = 20 * time.Second

// freeAddress is one of this machine that nobody listens on now.
func freeAddress(ctx context.Context) (string, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// awaitURL waits until something answers there.
func awaitURL(ctx context.Context, url string, ended <-chan struct{}) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/", nil)
		if err != nil {
			return misuse("%q is no URL", url)
		}
		client := http.Client{Timeout: 5 * time.Second}
		if w, err := client.Do(r); err == nil {
			w.Body.Close()
			return nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return fmt.Errorf("the computer has ended")
		case <-ctx.Done():
			return fmt.Errorf("wait for a computer at %s: %w", url, ctx.Err())
		}
	}
}

// writeTrial prints a report for a person.
func writeTrial(out io.Writer, r trial.Report) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "the module alone\t%.0f calls/s\tp50 %.2f ms\tp99 %.2f ms\ttwo at once %.0f calls/s\n", r.Bare.PerSecond, r.Bare.P50, r.Bare.P99, r.Bare.Pair)
	fmt.Fprintf(w, "cold replay of %d slots\t%.0f slots/s\t%.2f of the module alone\t%.2f ms of processor time a slot, alone %.2f\n",
		r.Slots, r.Cold.PerSecond, r.Cold.OfBare, r.Cold.Work, r.Bare.Work)
	fmt.Fprintf(w, "two at once\t%.0f slots/s\t%.2f of the module alone\t%.2f of two of it at once\n", r.Two.PerSecond, r.Two.OfBare, r.Two.OfPair)
	fmt.Fprintf(w, "result of a new slot\tp50 %.2f ms\tp99 %.2f ms\t%+.2f ms beside the module alone\n", r.Result.P50, r.Result.P99, r.Result.OverBare)
	fmt.Fprintf(w, "dry-run\tp50 %.2f ms\tp99 %.2f ms\t%.2f times the module alone\n", r.DryRun.P50, r.DryRun.P99, r.DryRun.OfBare)
	fmt.Fprintf(w, "result beside %d dry-runs\tp50 %.2f ms\tp99 %.2f ms\t%.2f times the p99 without\n", r.Beside.DryRuns, r.Beside.P50, r.Beside.P99, r.Beside.OfIdle)
	if r.Memory.Processes > 0 {
		fmt.Fprintf(w, "resident\t%.0f MiB\t%.2f MiB for an idle process, of %d\n", r.Memory.Resident, r.Memory.Each, r.Memory.Processes)
	}
	for _, f := range r.Failed {
		fmt.Fprintf(w, "failed\t%s\n", f)
	}
	_ = w.Flush() // the terminal is gone, if anything
}
