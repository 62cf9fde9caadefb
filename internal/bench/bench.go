// Package bench holds what the peer promises about its speed against what the machine can do at all: each hot path runs
// beside its primitive, in one process and by turns; the paper names no numbers.
//
// In come pairs of things to do; out go a table for the terminal, bench.json, and a verdict for every row that has a
// goal.
//
// It never asserts a time, only ratios of medians, and never lets a primitive touch our own code: they all stand in
// primitive_test.go, so that nobody can make a row better by making its primitive slower.
//
// Start with rows in bench_test.go; measure_test.go is how a pair is run, and docs/bench.md what the rows mean.
package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// Row is one hot path beside its primitive.
type Row struct {
	Name      string   `json:"name"`
	Ours      float64  `json:"ours"`
	Primitive float64  `json:"primitive"`
	Ratio     float64  `json:"ratio"`
	Unit      string   `json:"unit"` // of Ours and Primitive; cpu means processor time
	Goal      *float64 `json:"goal"` // the largest allowed ratio; none if there is no promise
}

// Over says whether the row breaks its promise.
func (r Row) Over() bool { return r.Goal != nil && r.Ratio > *r.Goal }

// WriteTable writes the rows for a person.
func WriteTable(w io.Writer, rows []Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "row\tours\tprimitive\tunit\tratio\tgoal\t")
	for _, r := range rows {
		goal, verdict := "-", ""
		if r.Goal != nil {
			goal = fmt.Sprintf("%.2f", *r.Goal)
		}
		if r.Over() {
			verdict = "OVER"
		}
		fmt.Fprintf(t, "%s\t%.4g\t%.4g\t%s\t%.2f\t%s\t%s\n", r.Name, r.Ours, r.Primitive, r.Unit, r.Ratio, goal, verdict)
	}
	return t.Flush()
}

// WriteJSON writes the rows for a program.
func WriteJSON(w io.Writer, rows []Row) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(rows); err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	return nil
}
