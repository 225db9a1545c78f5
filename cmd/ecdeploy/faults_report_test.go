package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// writeReport makes docs/faults.md of all results.
func writeReport(t *testing.T, path string, cases []faultCase, done map[string]faultResult) {
	type row struct{ pairs, restored, planned, conflict, doubt, lost, residue int }
	count := func(of func(faultCase) string) map[string]*row {
		rows := map[string]*row{}
		for _, c := range cases {
			k := of(c)
			if rows[k] == nil {
				rows[k] = &row{}
			}
			w, r := rows[k], done[c.ID]
			w.pairs++
			switch r.Verdict {
			case "restored":
				w.restored++
			case "planned":
				w.planned++
			case "conflict":
				w.conflict++
			case "in doubt":
				w.doubt++
			default:
				w.lost++
			}
			if r.Residue != "" {
				w.residue++
			}
		}
		return rows
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const mark = "<!-- results -->"
	head, _, ok := strings.Cut(string(b), mark)
	if !ok {
		t.Fatalf("%s has no line %s", path, mark)
	}
	var out strings.Builder
	out.WriteString(head + mark + "\n\n")
	commits := map[string]bool{}
	for _, c := range cases {
		commits[done[c.ID].Commit] = true
	}
	fmt.Fprintf(&out,
		"`%s`, %s, at %s: %d pairs of %d kinds of points and %d faults.\n",
		os.Getenv("ECDEPLOY_FAULT_COMMAND"),
		time.Now().UTC().Format("2006-01-02"),
		strings.Join(sorted(commits), ", "), len(cases), len(count(func(c faultCase) string { return c.Class })), len(faultNames))
	for _, table := range []struct {
		name string
		of   func(faultCase) string
	}{{"scenario", func(c faultCase) string { return c.Scenario }},
		{"fault", func(c faultCase) string { return c.Fault }},
		{"point", func(c faultCase) string { return c.Class }}} {
		fmt.Fprintf(&out, "\n| %s | pairs | restored | planned | conflict | in doubt | lost | residue |\n|---|---|---|---|---|---|---|---|\n", table.name)
		rows := count(table.of)
		sum := row{}
		for _, k := range sorted(rows) {
			w := rows[k]
			fmt.Fprintf(&out, "| %s | %d | %d | %d | %d | %d | %d | %d |\n", k, w.pairs, w.restored, w.planned, w.conflict, w.doubt, w.lost, w.residue)
			sum = row{
				pairs:    sum.pairs + w.pairs,
				restored: sum.restored + w.restored,
				planned:  sum.planned + w.planned,
				conflict: sum.conflict + w.conflict,
				doubt:    sum.doubt + w.doubt,
				lost:     sum.lost + w.lost,
				residue:  sum.residue + w.residue,
			}
		}
		fmt.Fprintf(&out, "| **all** | %d | %d | %d | %d | %d | %d | %d |\n", sum.pairs, sum.restored, sum.planned, sum.conflict, sum.doubt, sum.lost, sum.residue)
	}
	if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
