package view

import (
	"fmt"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/plans"
	"github.com/emdecloud/ecdeploy/steps"
)

// Plan shows what a run would do: by site and host, with diffs and findings,
// and one line that sums it up.
func (t *textForm) Plan(p plans.Plan) {
	for _, s := range p.Sites {
		t.print("%s", t.site(s))
	}
	t.print("%s\n", t.paint(bold, line(Summary(p))))
}

func (t *textForm) site(s plans.SitePlan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", t.paint(bold, line("site "+s.Site)))
	for _, h := range s.Hosts {
		var body strings.Builder
		for _, st := range h.Steps {
			for _, c := range st.Changes {
				body.WriteString(t.change(c.Summary()))
			}
		}
		if body.Len() == 0 {
			body.WriteString("    nothing to do\n")
		}
		fmt.Fprintf(&b, "  host %s\n%s", line(h.Host), body.String())
	}
	for _, f := range Findings(s) {
		b.WriteString(t.finding(f))
	}
	return b.String() + "\n"
}

func (t *textForm) change(s steps.Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "    %s %s", t.verb(s.Verb), line(s.Title))
	if s.Interrupt != "" {
		b.WriteString(t.paint(yellow, "  ("+line(s.Interrupt)+")"))
	}
	b.WriteString("\n")
	for _, d := range s.Details {
		fmt.Fprintf(&b, "        %s\n", line(d))
	}
	for l := range strings.Lines(s.Diff) {
		l = clean(strings.TrimRight(l, "\r\n"))
		switch {
		case strings.HasPrefix(l, "+"):
			l = t.paint(green, l)
		case strings.HasPrefix(l, "-"):
			l = t.paint(red, l)
		}
		fmt.Fprintf(&b, "        | %s\n", l)
	}
	return b.String()
}

func (t *textForm) verb(v string) string {
	return t.paint(map[string]string{"+": green, "-": red, "~": yellow}[v], line(v))
}

func (t *textForm) finding(f steps.Finding) string {
	code := map[steps.Severity]string{steps.Error: red, steps.Warning: yellow, steps.Note: dim}[f.Severity]
	s := "  " + t.paint(code, line(string(f.Severity))+":") + " " + strings.TrimLeft(indented(clean(f.Summary), "      "), " ")
	if f.Hint != "" {
		s += "    hint: " + strings.TrimLeft(indented(clean(f.Hint), "      "), " ")
	}
	return s
}

// Findings are a site's findings, each once, errors first.
func Findings(s plans.SitePlan) []steps.Finding {
	var all []steps.Finding
	for _, h := range s.Hosts {
		for _, st := range h.Steps {
			for _, f := range st.Findings {
				if !slices.Contains(all, f) {
					all = append(all, f)
				}
			}
		}
	}
	rank := map[steps.Severity]int{steps.Error: 0, steps.Warning: 1, steps.Note: 2}
	slices.SortStableFunc(all, func(a, b steps.Finding) int { return rank[a.Severity] - rank[b.Severity] })
	return all
}

// Summary is a plan in one line.
func Summary(p plans.Plan) string {
	count := map[string]int{}
	hosts := map[string]bool{}
	var interrupts []string
	blocked := 0
	for _, s := range p.Sites {
		if s.Blocked() {
			blocked++
		}
		for _, h := range s.Hosts {
			for _, st := range h.Steps {
				for _, c := range st.Changes {
					sum := c.Summary()
					count[sum.Verb]++
					hosts[h.Host] = true
					if sum.Interrupt != "" && !slices.Contains(interrupts, sum.Interrupt) {
						interrupts = append(interrupts, sum.Interrupt)
					}
				}
			}
		}
	}
	if blocked > 0 {
		return "Plan: it cannot be applied because of errors; nothing would be changed."
	}
	if len(hosts) == 0 {
		return "Plan: nothing to do."
	}
	line := fmt.Sprintf("Plan: %d to add, %d to change, %d to remove on %s.", count["+"], count["~"], count["-"], plural(len(hosts), "host"))
	if len(interrupts) > 0 {
		line += " " + strings.Join(interrupts, "; ") + "."
	}
	return line
}
