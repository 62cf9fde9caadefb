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
	"sync/atomic"
	"time"

	"github.com/aopeer/aopeer/ao"
)

// dryRunsAtOnce is how many dry-runs are under way while results are timed.
const dryRunsAtOnce = 100

// again is the pause before a unit that says it is not there yet is asked again.
const again = 20 * time.Millisecond

// rounds are all measurements, each on processes of its own.
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
		{fmt.Sprintf("cold replay of %d slots", t.cfg.Slots), t.cold},
		{fmt.Sprintf("cold replay of two times %d slots at once", t.cfg.Slots), t.two},
		{"results and dry-runs", t.hot},
		{"idle processes", t.idle},
	} {
		t.cfg.Progress("%s", round.says)
		if err := round.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", round.says, err)
		}
	}
	return nil
}

// stretches is how many parts a replay has, with the module alone called in between: a machine's speed moves.
const stretches = 10

// cold has a long log evaluated that the unit has not seen, and the module called with the same by turns.
func (t *trial) cold(ctx context.Context) error {
	h, err := t.town.begin(ctx, "cold", t.cfg.Slots)
	if err != nil {
		return err
	}
	m, err := t.begin(ctx, h)
	if err != nil {
		return err
	}
	defer m.close()
	var unit, alone effort
	var ratios []float64
	for i := range stretches {
		from, upto := t.stretch(i)
		bare, err := m.goTo(upto)
		if err != nil {
			return err
		}
		replay, err := t.replay(ctx, from, upto, h)
		if err != nil {
			return err
		}
		alone, unit = alone.and(bare), unit.and(replay)
		ratios = append(ratios, replay.perSecond()/bare.perSecond())
	}
	r := &t.report
	r.Bare.PerSecond, r.Bare.Work = alone.perSecond(), alone.workEach()
	r.Cold = Rate{PerSecond: unit.perSecond(), OfBare: median(ratios), Work: unit.workEach()}
	return nil
}

// two does so with two logs at once, beside the module alone, and two of it at once.
func (t *trial) two(ctx context.Context) error {
	var logs [2]*history
	var single *module
	var pair [2]*module
	for i, name := range []string{"left", "right"} {
		var err error
		if logs[i], err = t.town.begin(ctx, name, t.cfg.Slots); err != nil {
			return err
		}
		if pair[i], err = t.begin(ctx, logs[i]); err != nil {
			return err
		}
		defer pair[i].close()
	}
	single, err := t.begin(ctx, logs[0])
	if err != nil {
		return err
	}
	defer single.close()
	var unit, both effort
	var ratios, ofPair []float64
	for i := range stretches {
		from, upto := t.stretch(i)
		bare, err := single.goTo(upto)
		if err != nil {
			return err
		}
		replay, err := t.replay(ctx, from, upto, logs[:]...)
		if err != nil {
			return err
		}
		together, err := goBothTo(upto, pair)
		if err != nil {
			return err
		}
		unit, both = unit.and(replay), both.and(together)
		ratios = append(ratios, replay.perSecond()/bare.perSecond())
		ofPair = append(ofPair, replay.perSecond()/together.perSecond())
	}
	r := &t.report
	r.Bare.Pair = both.perSecond()
	r.Two = Rate{PerSecond: unit.perSecond(), OfBare: median(ratios), OfPair: median(ofPair), Work: unit.workEach()}
	return nil
}

// stretch is the slots of a part, from one on and below another.
func (t *trial) stretch(i int) (from, upto ao.Slot) {
	return ao.Slot(t.cfg.Slots * i / stretches), ao.Slot(t.cfg.Slots * (i + 1) / stretches)
}

// replay has logs evaluated from a slot on, up to another.
func (t *trial) replay(ctx context.Context, from, upto ao.Slot, list ...*history) (effort, error) {
	began, work := time.Now(), worked(t.unit.PID)
	errs := make(chan error, len(list))
	for _, h := range list {
		go func() {
			_, err := t.result(ctx, h, h.span(upto-1, 1)[0])
			errs <- err
		}()
	}
	var err error
	for range list {
		err = errors.Join(err, <-errs)
	}
	return effort{len(list) * int(upto-from), time.Since(began), worked(t.unit.PID) - work}, err
}

// window is how many results, calls of the module alone, dry-runs, and results beside dry-runs take turns: a machine's speed moves.
const window = 20

// hot times results of new slots, the module called with the same messages, dry-runs, and results beside many dry-runs.
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
	if _, err := t.result(ctx, h, h.last()); err != nil {
		return err
	}
	bare, err := t.begin(ctx, h)
	if err != nil {
		return err
	}
	defer bare.close()
	var results, alone, dry, beside []time.Duration
	windows := max(1, t.cfg.Calls/window)
	for w := range windows {
		n := t.cfg.Calls*(w+1)/windows - t.cfg.Calls*w/windows
		if _, err := bare.goTo(h.next()); err != nil {
			return err
		}
		more, err := t.results(ctx, h, n)
		if err != nil {
			return err
		}
		results = append(results, more...)
		if more, err = bare.timed(); err != nil {
			return err
		}
		alone = append(alone, more...)
		dry = append(dry, t.dryRuns(ctx, other, n)...)
		if more, err = t.beside(ctx, h, other, n); err != nil {
			return err
		}
		beside = append(beside, more...)
	}
	r := &t.report
	module := timesOf(alone)
	r.Bare.P50, r.Bare.P99 = module.P50, module.P99
	r.Result, r.DryRun = timesOf(results), timesOf(dry)
	for _, x := range []*Times{&r.Result, &r.DryRun} {
		if x.Calls > 0 {
			x.OverBare, x.OfBare = x.P50-module.P50, x.P50/module.P50
		}
	}
	under := timesOf(beside)
	r.Beside = Beside{DryRuns: dryRunsAtOnce, P50: under.P50, P99: under.P99, OfIdle: under.P99 / r.Result.P99}
	return nil
}

// dryRuns times dry-runs of a process at rest.
func (t *trial) dryRuns(ctx context.Context, h *history, n int) (out []time.Duration) {
	for range n {
		began := time.Now()
		if err := t.dryRun(ctx, h, t.number()); err != nil {
			t.fail("dry-run", err)
			continue
		}
		out = append(out, time.Since(began))
	}
	return out
}

// beside times results of one process while dry-runs of another are under way, once each of those who ask has had an answer.
func (t *trial) beside(ctx context.Context, h, other *history, n int) ([]time.Duration, error) {
	var all sync.WaitGroup
	var enough atomic.Bool
	var first sync.WaitGroup
	for range dryRunsAtOnce {
		first.Add(1)
		all.Go(func() {
			begun := sync.OnceFunc(first.Done)
			defer begun()
			for !enough.Load() && ctx.Err() == nil {
				if err := t.dryRun(ctx, other, t.number()); err != nil {
					t.fail("dry-run of many", err)
					return
				}
				begun()
			}
		})
	}
	first.Wait()
	out, err := t.results(ctx, h, n)
	enough.Store(true)
	all.Wait() // what is under way comes to its end, and disturbs nobody after that
	return out, err
}

// number is another one each time: no two questions are the same, for some units remember answers.
func (t *trial) number() int64 { return t.numbers.Add(1) }

// results times the result of a new slot, again and again.
func (t *trial) results(ctx context.Context, h *history, n int) (out []time.Duration, err error) {
	for range n {
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

// timesOf are the percentiles of single calls.
func timesOf(list []time.Duration) Times {
	if len(list) == 0 {
		return Times{}
	}
	list = slices.Sorted(slices.Values(list))
	at := func(part int) float64 { return ms(list[(len(list)-1)*part/100]) }
	return Times{Calls: len(list), P50: at(50), P99: at(99)}
}

func median(list []float64) float64 { return slices.Sorted(slices.Values(list))[len(list)/2] }

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

// dryRun asks what a constant evaluates to.
func (t *trial) dryRun(ctx context.Context, h *history, number int64) error {
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
