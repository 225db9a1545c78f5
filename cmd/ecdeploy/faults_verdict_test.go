package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// classOfPoint says what kind of point a key is; "" for one that belongs to no case.
func classOfPoint(scenario, key string) string {
	key = strings.TrimPrefix(key, "b:")
	ctx, rest, _ := strings.Cut(key, "/")
	if scenario == "two hosts" && !strings.HasSuffix(key, "/commit") {
		return "" // the other scenarios have those
	}
	if scenario == "second update" && !strings.HasPrefix(key, "commit/") {
		return "" // likewise
	}
	if ctx == "laptop" {
		when, what, _ := strings.Cut(rest, "/")
		switch {
		case what == "release", what == "made":
			return ""
		case scenario == "two hosts":
			return "between the commits of two hosts"
		case strings.HasPrefix(what, "do-"):
			what = "change"
		case strings.HasPrefix(what, "check-"):
			what = "check"
		case strings.HasPrefix(what, "engine-"):
			what = "engine's API"
		}
		_ = when // before and after are drawn by chance
		return "request: " + what
	}
	part := strings.Split(rest, "/") // change, when, command
	if len(part) != 3 {
		return ""
	}
	where := ctx
	if ctx == "run" {
		where = "change"
		if part[0] == "0000" {
			where = "arm"
		}
	}
	command, _, _ := strings.Cut(part[2], "-")
	kind := "write"
	switch command {
	case "sync":
		kind = "sync"
	case "docker":
		kind = "container"
	case "systemctl":
		kind = "reload"
	case "ufw", "sysctl":
		kind = "firewall, kernel"
	}
	return where + ": " + kind
}

// settle waits until nothing of a run is under way on any host.
func (l *lane) settle(most time.Duration) error {
	var why string
	for end := time.Now().Add(most); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		why = ""
		for _, h := range l.hosts {
			why += h.busy()
		}
		if why == "" {
			return nil
		}
	}
	return fmt.Errorf("after %s: %s", most, why)
}

// busy says what of a run is still going on; "" for nothing.
func (h *faultHost) busy() string {
	root := h.root()
	if !exists(root + "/etc/passwd") {
		return h.name + " is down "
	}
	var out []string
	runs, _ := filepath.Glob(root + "/var/lib/ecdeploy/runs/*")
	for _, r := range runs {
		for _, s := range []string{"arming", "armed", "reverting", "taking-back"} {
			if exists(r + "/" + s) {
				out = append(out, s)
			}
		}
		if exists(r+"/committed") && !exists(r+"/closed") {
			out = append(out, "committed, not closed")
		}
	}
	if hooks, _ := filepath.Glob(root + "/etc/systemd/system/ecdeploy-*"); len(hooks) > 0 {
		out = append(out, "boot hook")
	}
	if err := h.exec("! pgrep -f '^(/bin/)?sh /var/lib/ecdeploy/runs' && systemctl -q is-active docker ssh nginx"); err != nil {
		out = append(out, "processes of a run, or services that do not run")
	}
	if len(out) == 0 {
		return ""
	}
	return h.name + ": " + strings.Join(out, ", ") + " "
}

// audit looks at the hosts' logs over the relays, by which runs have seen them. A
// host whose power failed takes logins only a moment after its start.
func (l *lane) audit(plan string) (out string, code int) {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(500 * time.Millisecond) {
		out, code = l.quietly("audit", "--known-hosts", l.knownHosts(), l.plan(plan, true))
		if code != exitError || time.Now().After(end) {
			return out, code
		}
	}
}

func (l *lane) look() ([]lab.Snapshot, error) {
	var out []lab.Snapshot
	for _, h := range l.hosts {
		s, err := lab.Look(h.name, lookAtLedger)
		if err != nil {
			return nil, err
		}
		for k := range s {
			if k == "iptables nat DOCKER_OUTPUT" || k == "iptables nat DOCKER_POSTROUTING" {
				delete(s, k) // the outer engine's resolver, whose ports change when the host starts
			}
		}
		out = append(out, s)
	}
	return out, nil
}

var changing = regexp.MustCompile(`[0-9a-f]{64}|"ecdeploy.run":"[^"]*"|\d{8}T\d{6}Z-[0-9a-f]{6}|\bhost-[0-9a-f]{24}\b|\b[0-9a-f]{32}\b`)

// normalizeSnapshot is a snapshot with what differs from run to run, or from host to host,
// taken out: the ids of containers, runs and machines. Things that are alike but for
// that are still as many.
func normalizeSnapshot(s lab.Snapshot) lab.Snapshot {
	out := lab.Snapshot{}
	for _, k := range sorted(s) {
		v := s[k]
		if strings.HasPrefix(k, "bytes ") {
			out[k] = v
			continue
		}
		k, v = changing.ReplaceAllString(k, "*"), changing.ReplaceAllString(v, "*")
		if other, ok := out[k]; ok {
			v = other + "\n" + v
		}
		out[k] = v
	}
	return out
}

// judge says how a case ended.
func (l *lane) judge(r *faultResult, b *breakage) {
	lost := func(format string, args ...any) {
		r.Verdict, r.Detail = "lost", fmt.Sprintf(format, args...)+"\n"+b.proc.out()+"\n"+b.second
		l.state = "again"
	}
	if err := l.settle(60 * time.Second); err != nil {
		lost("it does not roll back: %v", err)
		return
	}
	if b.wrong != nil {
		lost("%v", b.wrong)
		return
	}
	if r.Exit == -2 {
		lost("ecdeploy did not end within 100 s")
		return
	}
	if out, code := l.audit(scenarios[r.Scenario].plan); code != 0 {
		lost("the audit log is not intact: exit code %d\n%s", code, out)
		return
	}
	// A holder whose connection is gone does not keep the host.
	for _, h := range l.hosts {
		lock := h.root() + "/var/lib/ecdeploy/lock"
		if !exists(lock) {
			continue
		}
		text, err := os.ReadFile(lock)
		if err == nil && len(text) == 0 && r.Fault == "power fails" {
			_ = os.Remove(lock) // its bytes were not on the disk yet: it names nobody, and holds nothing
			continue
		}
		out, code := l.ecdeploy(scenarios[r.Scenario].plan, "runs", "--json")
		if code != 0 || !strings.Contains(out, `"holds":true`) {
			lost("there is a lock of %q (%v), and runs does not show it: exit code %d\n%s", text, err, code, out)
			return
		}
		if !strings.Contains(out, `"alive":true`) {
			_ = os.Remove(lock) // the snapshot then shows a residue
		}
	}
	after, err := l.look()
	if err != nil {
		lost("%v", err)
		return
	}
	var verdicts []string
	var details string
	for i, s := range after {
		for k := range s {
			if strings.HasPrefix(k, "residue ") || strings.HasPrefix(k, "process ") {
				r.Residue += k + " " + s[k] + "\n"
				delete(s, k)
			}
		}
		v, detail := l.verdict(i, s, b.edited, strings.HasPrefix(b.second, "exit code 0\n"))
		verdicts = append(verdicts, v)
		details += detail
	}
	switch {
	case slices.Contains(verdicts, "lost"):
		lost("neither as before nor as planned:\n%s", details)
	case b.edited != "" && !slices.Contains(verdicts, "conflict"):
		lost("what the human wrote into %s is gone", b.edited)
	case slices.Contains(verdicts, "conflict"):
		r.Verdict = "conflict"
	case len(slices.Compact(slices.Clone(verdicts))) > 1:
		l.inDoubt(r, lost)
	default:
		r.Verdict = verdicts[0]
	}
	if wrong := ledgerProblems(after, b.edited); wrong != "" && r.Verdict != "lost" {
		lost("the ledger does not say what stands:\n%s", wrong)
	}
	if r.Verdict == "restored" && b.edited == "" { // as it was
		for i := range after {
			if lab.Diff(l.before[i], after[i]) != "" { // but tidied up
				l.state = "again"
			}
		}
		return
	}
	if b.second == "" && b.edited == "" {
		l.back(r, lost)
	}
	if b.edited != "" || b.second != "" {
		l.state = "again"
	}
}

// goal is what a host should be like after the scenario: as it was before, but
// for what an undisturbed run has changed.
func (l *lane) goal(i int) lab.Snapshot { return l.goalOf(l.state, i) }

func (l *lane) goalOf(scenario string, i int) lab.Snapshot {
	out, from, to := normalizeSnapshot(l.before[i]), normalizeSnapshot(l.from[scenario][i]), normalizeSnapshot(l.to[scenario][i])
	for k := range from {
		if v, ok := to[k]; !ok {
			delete(out, k)
		} else if v != from[k] {
			out[k] = v
		}
	}
	for k, v := range to {
		if _, ok := from[k]; !ok {
			out[k] = v
		}
	}
	return out
}

// verdict compares one host with before and with the goal, and leaves out what
// a human edited meanwhile, which must still be there.
func (l *lane) verdict(i int, s lab.Snapshot, edited string, applied bool) (string, string) {
	before := l.beginning(i, s)
	diffs := map[string]string{"restored": lab.Diff(before, s), "planned": lab.Diff(l.goal(i), normalizeSnapshot(s))}
	// A second ecdeploy that came after the end has applied the plan file itself.
	if applied {
		goal := normalizeSnapshot(l.before[i])
		if like := scenarios[l.state].like; like != "" {
			goal = l.goalOf(like, i)
		}
		if lab.Diff(goal, normalizeSnapshot(s)) == "" {
			return "planned", ""
		}
	}
	for _, v := range []string{"restored", "planned"} {
		if diffs[v] == "" {
			return v, ""
		}
	}
	if edited != "" {
		for _, want := range []lab.Snapshot{normalizeSnapshot(before), l.goal(i)} {
			if differsOnlyIn(edited, want, normalizeSnapshot(s)) {
				return "conflict", ""
			}
		}
	}
	return "lost", "-- from before:\n" + diffs["restored"] + "-- from the goal:\n" + diffs["planned"]
}

// differsOnlyIn reports whether nothing but that file differs, what the ledger has of it,
// or the file of a human.
func differsOnlyIn(file string, a, b lab.Snapshot) bool {
	about := func(k string) bool {
		return strings.HasSuffix(k, " "+file) || strings.HasSuffix(k, " /etc/a-human") || inLedgerOf(file, k, a, b)
	}
	for k, v := range a {
		if b[k] != v && !about(k) {
			return false
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok && !about(k) {
			return false
		}
	}
	return true
}

// inDoubt is where one host is as planned and the other as before: the next run
// sees it and goes back.
func (l *lane) inDoubt(r *faultResult, lost func(string, ...any)) {
	if out, code := l.ecdeploy(scenarios[r.Scenario].plan, "plan"); code != 0 || !strings.Contains(out, "in doubt") {
		lost("hosts differ, and plan does not say so: exit code %d\n%s", code, out)
		return
	}
	r.Verdict = "in doubt"
}

// back brings the hosts to where the scenario begins, by the tool itself.
func (l *lane) back(r *faultResult, lost func(string, ...any)) {
	if r.Verdict == "lost" || r.Verdict == "conflict" || r.Verdict == "restored" || r.Scenario == "second update" {
		l.state = "again"
		return
	}
	next := scenarios[r.Scenario].next
	if next != "" && r.Verdict == "planned" { // where that begins
		var err error
		if l.before, err = l.look(); err != nil {
			lost("%v", err)
			return
		}
		l.state = next
		return
	}
	if r.Scenario == "rollback" {
		out, code := l.ecdeploy("two", "apply", "--yes")
		if code != 0 {
			lost("afterwards: apply: exit code %d\n%s", code, out)
			return
		}
		err := l.settle(30 * time.Second)
		if err == nil {
			l.before, err = l.look()
		}
		if err != nil {
			lost("afterwards: %v", err)
		}
		return
	}
	out, code := l.ecdeploy(scenarios[r.Scenario].plan, "rollback", "--yes")
	if code != 0 {
		lost("afterwards: rollback: exit code %d\n%s", code, out)
		return
	}
	if err := l.settle(30 * time.Second); err != nil {
		lost("afterwards: rollback: %v", err)
		return
	}
	after, err := l.look()
	if err != nil {
		lost("%v", err)
		return
	}
	for i := range after {
		if diff := lab.Diff(l.beginning(i, after[i]), after[i]); diff != "" {
			lost("afterwards: rollback: not as before:\n%s", diff)
		}
	}
	if next != "" {
		l.state = "again"
	}
}

// beginning is a host before the run. Where moves follow each other, the commit of one
// host removes what the move before had set aside there, and may be taken back since the
// other host's commit did not come: what s does not have of that is not missing.
func (l *lane) beginning(i int, s lab.Snapshot) lab.Snapshot {
	out := maps.Clone(l.before[i])
	for k := range l.before[i] {
		if _, ok := s[k]; !ok && scenarios[l.state].next != "" && strings.HasPrefix(k, "container ") && strings.Contains(k, ".ecdeploy-") {
			delete(out, k)
		}
	}
	return out
}
