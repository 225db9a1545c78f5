package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/rtc"
)

// writeVerifyReport makes the tables of docs/verify.md of all results.
func writeVerifyReport(t *testing.T, path string, faults []verifyFault, done map[string]verifyResult) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const mark = "<!-- results -->"
	head, _, ok := strings.Cut(string(b), mark)
	if !ok {
		t.Fatalf("%s has no line %s", path, mark)
	}
	slices.SortFunc(faults, func(a, b verifyFault) int { return strings.Compare(strings.ToLower(a.name), strings.ToLower(b.name)) })
	right := 0
	commits := map[string]bool{}
	for _, f := range faults {
		r := done[f.name]
		commits[r.Commit] = true
		if r.Detail == "" {
			right++
		}
	}
	var out strings.Builder
	out.WriteString(head + mark + "\n\n")
	fmt.Fprintf(&out, "`%s`, %s, at %s: %d faults, %d of them named as they have to be.\n\n", os.Getenv("ECDEPLOY_FAULT_COMMAND"),
		time.Now().UTC().Format(time.DateOnly), strings.Join(sorted(commits), ", "), len(faults), right)
	out.WriteString(healthyText(done))
	out.WriteString(faultTable(faults, done))
	out.WriteString(fieldTable(faults, done))
	out.WriteString(writeConfusion(faults, done))
	if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// healthyText is what verify said of a site that works, and how long it took.
func healthyText(done map[string]verifyResult) string {
	var b strings.Builder
	n, alarms := 0, 0
	for i := 1; ; i++ {
		r, ok := done["healthy "+strconv.Itoa(i)]
		if !ok {
			break
		}
		n++
		if r.Detail != "" {
			alarms++
		}
		fmt.Fprintf(&b, "| %d | %.1f | %.1f | %.1f |\n", i, r.Seconds, r.Media, r.Seconds-r.Media)
	}
	return fmt.Sprintf("## When nothing is broken\n\n%d healthy runs, %d false alarms. Seconds: all, of these while calls were held and a\nWebSocket was silent, and what is left.\n\n| run | all | calls | rest |\n|---|---|---|---|\n%s\n", n, alarms, &b)
}

func faultTable(faults []verifyFault, done map[string]verifyResult) string {
	var b strings.Builder
	b.WriteString("## What was broken, and what verify said first\n\n| broken | expected | found | cause lies at | people see | Element shows | s |\n|---|---|---|---|---|---|---|\n")
	for _, f := range faults {
		r := done[f.name]
		found := fmt.Sprintf("%s `%s`", r.FoundID, r.Found)
		if r.Detail != "" {
			found = "**" + strings.TrimSpace(found) + "**"
		}
		side := string(r.Side)
		if f.warns {
			side = "a warning"
		}
		sees, shows := "", ""
		for _, e := range rtc.Explain(string(f.code)) {
			sees, shows = e.Sees, strings.Join(e.Element, ", ")
		}
		fmt.Fprintf(&b, "| %s | %s `%s` | %s | %s | %s | %s | %.0f |\n", escapeCell(f.name), strings.Join(f.ids, " or "), f.code, found, side, escapeCell(sees), escapeCell(shows), r.Seconds)
	}
	return b.String() + "\n"
}

func escapeCell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// fieldTable says which faults stand for what people meet.
func fieldTable(faults []verifyFault, done map[string]verifyResult) string {
	var b strings.Builder
	b.WriteString("## What people who run MatrixRTC meet\n\n| | tried as | named |\n|---|---|---|\n")
	for n, what := range fieldFaults {
		if n == 0 {
			continue
		}
		var tried []string
		right := 0
		for _, f := range faults {
			if f.field != n {
				continue
			}
			tried = append(tried, f.name)
			if done[f.name].Detail == "" {
				right++
			}
		}
		fmt.Fprintf(&b, "| %d. %s | %s | %d of %d |\n", n, what, escapeCell(strings.Join(tried, "; ")), right, len(tried))
	}
	return b.String() + "\n"
}

// writeConfusion counts which code was found for which. Those that were never taken for
// another would be a diagonal: they stand in one line.
func writeConfusion(faults []verifyFault, done map[string]verifyResult) string {
	pairs := map[[2]rtc.Code]int{}
	for _, f := range faults {
		pairs[[2]rtc.Code{f.code, done[f.name].Found}]++
	}
	var right, wrong []string
	for p, n := range pairs {
		if p[0] == p[1] {
			right = append(right, fmt.Sprintf("`%s` %d", p[0], n))
		} else {
			wrong = append(wrong, fmt.Sprintf("| `%s` | `%s` | %d |\n", p[0], p[1], n))
		}
	}
	slices.Sort(right)
	slices.Sort(wrong)
	out := "## Which code was taken for which\n\nFor itself, and how often: " + strings.Join(right, ", ") + ".\n\n"
	if len(wrong) == 0 {
		return out + "None was taken for another.\n"
	}
	return out + "| expected | found | times |\n|---|---|---|\n" + strings.Join(wrong, "")
}
