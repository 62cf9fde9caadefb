package trial

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/aopeer/aopeer/ao"
)

// dryRunsAtOnce is how many dry-runs are under way while results are timed.
const dryRunsAtOnce = 100

// again is the pause before a unit that says it is not there yet is asked again.
const again = 20 * time.Millisecond

// rounds are all measurements, each on processes of its own, the module alone before and after.
func (t *trial) rounds(ctx context.Context) error {
	warm, err := t.town.begin(ctx, "warm", 20)
	if err != nil {
		return err
	}
	t.cfg.Progress("waiting for a first result: the unit compiles the module")
	if _, err := t.result(ctx, warm, warm.last()); err != nil {
		return err
	}
	for _, round := range []struct {
		says string
		run  func(context.Context) error
	}{
		{"the module alone", t.alone},
		{fmt.Sprintf("cold replay of %d slots", t.cfg.Slots), t.cold},
		{fmt.Sprintf("cold replay of two times %d slots at once", t.cfg.Slots), t.two},
		{"the module alone, again", t.alone},
		{"results and dry-runs", t.hot},
		{"idle processes", t.idle},
	} {
		t.cfg.Progress("%s", round.says)
		if err := round.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", round.says, err)
		}
	}
	t.compare()
	return nil
}

// alone calls the module itself. The first calls are left out: they boot it, and touch memory for the first time.
func (t *trial) alone(context.Context) error {
	from := t.spare.next()
	if len(t.times) == 0 {
		from = 0
	}
	if err := t.spare.evaluate(t.cfg.Calls + 10); err != nil {
		return err
	}
	var messages [][]byte
	for _, e := range t.spare.span(from, int(t.spare.next())) {
		messages = append(messages, t.bare.Message(e))
	}
	var before time.Duration
	for i, message := range messages {
		if i == 10 {
			before = own()
		}
		began := time.Now()
		if _, err := t.bare.Call(message); err != nil {
			return err
		}
		if i >= 10 {
			t.times = append(t.times, time.Since(began))
		}
	}
	t.work += own() - before
	return nil
}

// cold has a long log evaluated that the unit has not seen.
func (t *trial) cold(ctx context.Context) (err error) {
	t.report.Cold, err = t.replay(ctx, "cold")
	return err
}

// two does so with two logs at once.
func (t *trial) two(ctx context.Context) (err error) {
	t.report.Two, err = t.replay(ctx, "left", "right")
	return err
}

// replay waits until the last slots of new processes have their results.
func (t *trial) replay(ctx context.Context, names ...string) (Rate, error) {
	var list []*history
	for _, name := range names {
		h, err := t.town.begin(ctx, name, t.cfg.Slots)
		if err != nil {
			return Rate{}, err
		}
		list = append(list, h)
	}
	began, work := time.Now(), worked(t.unit.PID)
	errs := make(chan error, len(list))
	for _, h := range list {
		go func() {
			_, err := t.result(ctx, h, h.last())
			errs <- err
		}()
	}
	var err error
	for range list {
		err = errors.Join(err, <-errs)
	}
	slots := float64(len(names) * t.cfg.Slots)
	return Rate{PerSecond: slots / time.Since(began).Seconds(), Work: ms(worked(t.unit.PID)-work) / slots}, err
}

// hot times results of new slots, dry-runs, and results beside many dry-runs.
func (t *trial) hot(ctx context.Context) error {
	h, err := t.town.begin(ctx, "hot", 20)
	if err != nil {
		return err
	}
	other, err := t.town.begin(ctx, "asked", 20)
	if err != nil {
		return err
	}
	if _, err := t.result(ctx, other, other.last()); err != nil {
		return err
	}
	results, err := t.results(ctx, h)
	if err != nil {
		return err
	}
	t.report.Result = timesOf(results)
	var dry []time.Duration
	for i := range t.cfg.Calls {
		began := time.Now()
		if err := t.dryRun(ctx, other, i); err != nil {
			t.fail("dry-run", err)
			continue
		}
		dry = append(dry, time.Since(began))
	}
	t.report.DryRun = timesOf(dry)
	return t.beside(ctx, h, other)
}

// beside times results of one process while dry-runs of another are under way.
func (t *trial) beside(ctx context.Context, h, other *history) error {
	asking, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	for i := range dryRunsAtOnce {
		all.Go(func() {
			for n := i; asking.Err() == nil; n += dryRunsAtOnce {
				if err := t.dryRun(asking, other, t.cfg.Calls+n); err != nil && asking.Err() == nil {
					t.fail("dry-run of many", err)
					return
				}
			}
		})
	}
	results, err := t.results(ctx, h)
	stop()
	all.Wait()
	got := timesOf(results)
	t.report.Beside = Beside{DryRuns: dryRunsAtOnce, P50: got.P50, P99: got.P99}
	return err
}

// results times the result of a new slot, again and again.
func (t *trial) results(ctx context.Context, h *history) (out []time.Duration, err error) {
	for range t.cfg.Calls {
		if err := h.evaluate(1); err != nil {
			return out, err
		}
		took, err := t.result(ctx, h, h.last())
		if err != nil {
			return out, err
		}
		out = append(out, took)
	}
	return out, nil
}

// idle begins processes, and sees what each takes when it is at rest.
func (t *trial) idle(ctx context.Context) error {
	if t.unit.PID == 0 {
		return nil
	}
	before, err := resident(t.unit.PID)
	if err != nil {
		t.fail("memory", err)
		return nil
	}
	for i := range t.cfg.Idle {
		h, err := t.town.begin(ctx, fmt.Sprintf("idle %d", i), 3)
		if err != nil {
			return err
		}
		if _, err := t.result(ctx, h, h.last()); err != nil {
			return err
		}
	}
	after, err := resident(t.unit.PID)
	if err != nil {
		return err
	}
	t.report.Memory = Memory{Resident: mib(before), Processes: t.cfg.Idle, Each: mib(after-before) / float64(t.cfg.Idle)}
	return nil
}

// compare puts the module alone beside everything else.
func (t *trial) compare() {
	r := &t.report
	bare := timesOf(t.times)
	r.Bare = Bare{P50: bare.P50, P99: bare.P99}
	var sum time.Duration
	for _, d := range t.times {
		sum += d
	}
	r.Bare.PerSecond, r.Bare.Work = float64(len(t.times))/sum.Seconds(), ms(t.work)/float64(len(t.times))
	r.Cold.OfBare, r.Two.OfBare = r.Cold.PerSecond/r.Bare.PerSecond, r.Two.PerSecond/r.Bare.PerSecond
	for _, x := range []*Times{&r.Result, &r.DryRun} {
		if x.Calls > 0 {
			x.OverBare, x.OfBare = x.P50-bare.P50, x.P50/bare.P50
		}
	}
	if r.Result.P99 > 0 {
		r.Beside.OfIdle = r.Beside.P99 / r.Result.P99
	}
}

// timesOf are the percentiles of single calls.
func timesOf(list []time.Duration) Times {
	if len(list) == 0 {
		return Times{}
	}
	list = slices.Sorted(slices.Values(list))
	at := func(part int) float64 { return ms(list[(len(list)-1)*part/100]) }
	return Times{Calls: len(list), P50: at(50), P99: at(99)}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// fail notes what went wrong, once for each kind.
func (t *trial) fail(what string, err error) {
	t.lock.Lock()
	defer t.lock.Unlock()
	if !t.failed[what] {
		t.failed[what] = true
		t.report.Failed = append(t.report.Failed, what+": "+err.Error())
	}
}

// result asks for the result of an entry until there is one, and says how long that took.
func (t *trial) result(ctx context.Context, h *history, e ao.Entry) (time.Duration, error) {
	url := t.unit.URL + "/result/" + e.Message.ID().String() + "?process-id=" + h.id().String()
	began := time.Now()
	for {
		status, body, err := t.ask(ctx, http.MethodGet, url, nil)
		if err != nil {
			return 0, err
		}
		if status == http.StatusOK {
			return time.Since(began), right(body)
		}
		if status != http.StatusAccepted && status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests {
			return 0, fmt.Errorf("result of slot %d: %d %.300s", e.Assignment.Nonce(), status, body)
		}
		timer := time.NewTimer(again)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return 0, ctx.Err()
		}
	}
}

// right looks whether a result is none of a failure.
func right(body []byte) error {
	var r struct{ Error, Output json.RawMessage }
	if err := json.Unmarshal(body, &r); err != nil {
		return fmt.Errorf("read result: %w", err)
	}
	if len(r.Error) > 0 && string(r.Error) != "null" && string(r.Error) != `""` {
		return fmt.Errorf("the result is an error: %.300s", r.Error)
	}
	if len(r.Output) == 0 {
		return errors.New("the result has no output")
	}
	return nil
}

// dryRun asks what a constant evaluates to; no two questions are the same, for some units remember answers.
func (t *trial) dryRun(ctx context.Context, h *history, number int) error {
	type tag struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	owner := addressOf(key("owner"))
	body, err := json.Marshal(map[string]any{
		"Id": "1234", "Target": h.id().String(), "Owner": owner, "Anchor": "0", "Data": "1+1", "Tags": []tag{
			{"Action", "Eval"}, {"Number", fmt.Sprint(number)}, {"Data-Protocol", "ao"}, {"Type", "Message"}, {"Variant", "ao.TN.1"},
		},
	})
	if err != nil {
		return err
	}
	status, answer, err := t.ask(ctx, http.MethodPost, t.unit.URL+"/dry-run?process-id="+h.id().String(), body)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("dry-run: %d %.300s", status, answer)
	}
	return right(answer)
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 20

func (t *trial) ask(ctx context.Context, method, url string, body []byte) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	w, err := t.client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer w.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(w.Body, maxAnswer))
	return w.StatusCode, answer, err
}
