package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/faults"
)

// The fault suite: a run of ecdeploy is stopped at a point, something is broken
// there, and the host must be as before, as planned, or roll back by itself.
// scripts/faults runs it. What breaks is in faults_break_test.go, what is
// deployed in faults_scenario_test.go, what is wanted in faults_verdict_test.go.

// runWithFaults makes this test binary an ecdeploy with faults in its transport.
func runWithFaults(dir string) {
	t := &faults.Transport{Dir: dir}
	wrapHost = func(h host.Host) host.Host { return t.Wrap(h) }
	if skew, err := time.ParseDuration(os.Getenv("ECDEPLOY_FAULT_CLOCK")); err == nil {
		now = func() time.Time { return time.Now().Add(skew) }
	}
	os.Exit(run(os.Args[1:]))
}

// faultCase is one pair of a point and a fault.
type faultCase struct {
	ID       string `json:"id"`
	Scenario string `json:"scenario"`
	Point    string `json:"point"` // key, and which of its occurrences
	Nth      int    `json:"nth"`
	Class    string `json:"class"`
	Fault    string `json:"fault"`
}

// faultResult is a line of the results file.
type faultResult struct {
	faultCase
	Verdict string  `json:"verdict"` // restored, planned, conflict, in doubt, lost, missed
	Residue string  `json:"residue,omitempty"`
	Detail  string  `json:"detail,omitempty"`
	Seconds float64 `json:"seconds"`
	Exit    int     `json:"exit"`
	Commit  string  `json:"commit"`
}

// TestFaults runs the cases that are not in the results file yet.
func TestFaults(t *testing.T) {
	if os.Getenv("ECDEPLOY_FAULTS") == "" {
		t.Skip("scripts/faults runs it")
	}
	wanted, lanes := envInt(t, "ECDEPLOY_FAULT_CASES"), envInt(t, "ECDEPLOY_FAULT_LANES")
	seed := envInt(t, "ECDEPLOY_FAULT_SEED")
	file := os.Getenv("ECDEPLOY_FAULT_RESULTS")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	all := []*lane{newLane(t, self, "fltpair1", "fltpair2")}
	for i := range lanes {
		all = append(all, newLane(t, self, fmt.Sprintf("flt%d", i+1)))
	}
	share := shareScenarios(t, all)
	var ready sync.WaitGroup
	for _, l := range all {
		ready.Go(func() { l.prepare(share[l]) })
	}
	ready.Wait()
	if t.Failed() {
		return
	}
	points := map[string][]string{}
	for _, l := range all {
		maps.Copy(points, l.points)
	}
	cases := loadDraw(t, file+".cases", func() []faultCase { return draw(points, wanted, uint64(seed)) })
	if only := os.Getenv("ECDEPLOY_FAULT_ONLY"); only != "" {
		pattern, err := regexp.Compile(only)
		if err != nil {
			t.Fatal(err)
		}
		cases = slices.DeleteFunc(cases, func(c faultCase) bool { return !pattern.MatchString(c.ID) })
	}
	done := results(t, file)
	queues := map[bool][]faultCase{} // those that need two hosts, and the others
	for _, c := range cases {
		if _, ok := done[c.ID]; !ok {
			pair := scenarios[c.Scenario].hosts == 2
			queues[pair] = append(queues[pair], c)
		}
	}
	t.Logf("%d cases, %d done before", len(cases), len(cases)-len(queues[true])-len(queues[false]))
	var mu sync.Mutex
	next := func(l *lane) (faultCase, bool) {
		mu.Lock()
		defer mu.Unlock()
		pair := len(l.hosts) == 2
		i := l.choose(queues[pair])
		if i < 0 {
			return faultCase{}, false
		}
		c := queues[pair][i]
		queues[pair] = slices.Delete(queues[pair], i, i+1)
		return c, true
	}
	var working sync.WaitGroup
	for _, l := range all {
		working.Go(func() {
			for {
				c, ok := next(l)
				if !ok {
					return
				}
				r := l.run(c)
				mu.Lock()
				done[c.ID] = r
				appendResult(t, file, r)
				n := len(done)
				mu.Unlock()
				t.Logf("%3d %-9s %4.0fs %s %s %s", n, r.Verdict, r.Seconds, r.ID, r.Residue, firstLine(r.Detail))
			}
		})
	}
	working.Wait()
	for _, c := range cases {
		switch r := done[c.ID]; {
		case r.Verdict == "lost", r.Verdict == "":
			t.Errorf("%s: %s: %s\n%s", r.Verdict, c.ID, r.Detail, r.Residue)
		case r.Residue != "":
			t.Errorf("residue: %s\n%s", c.ID, r.Residue)
		}
	}
	// A point that comes only now and then (a feed, what an older run left to
	// remove) may be missed; that was no case.
	cases = slices.DeleteFunc(cases, func(c faultCase) bool { return done[c.ID].Verdict == "missed" })
	if os.Getenv("ECDEPLOY_FAULT_ONLY") == "" && len(cases) < wanted*5/6 {
		t.Errorf("of %d cases only %d reached their points", wanted, len(cases))
	}
	if out := os.Getenv("ECDEPLOY_FAULT_REPORT"); out != "" && !t.Failed() {
		writeReport(t, out, cases, done)
	}
}

// shareScenarios says which lane learns which scenarios: the first those of two hosts,
// the others share those of one host among them, each with the one that is like it.
func shareScenarios(t *testing.T, all []*lane) map[*lane][]string {
	t.Helper()
	wanted, err := regexp.Compile(os.Getenv("ECDEPLOY_FAULT_SCENARIOS"))
	if err != nil {
		t.Fatal(err)
	}
	share, of, n := map[*lane][]string{}, map[string]*lane{}, 0
	for _, s := range sorted(scenarios) {
		if !wanted.MatchString(s) {
			continue
		}
		base := cmp.Or(scenarios[s].like, s)
		switch {
		case of[base] != nil:
		case scenarios[s].hosts == 2:
			of[base] = all[0]
		default:
			of[base] = all[1+n%(len(all)-1)]
			n++
		}
		share[of[base]] = append(share[of[base]], s)
	}
	return share
}

// loadDraw are the cases of the run that began this results file, else new ones: how
// often a host is fed, and so what there is to draw from, differs from run to run.
func loadDraw(t *testing.T, file string, draw func() []faultCase) []faultCase {
	t.Helper()
	var cases []faultCase
	b, err := os.ReadFile(file)
	if err == nil && json.Unmarshal(b, &cases) == nil {
		return cases
	}
	cases = draw()
	if b, err = json.Marshal(cases); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return cases
}

// draw makes pairs: every class of point with every fault at least once, the
// rest by chance; the seed decides all. Fewer cases than classes times faults
// are a sample of them.
func draw(points map[string][]string, wanted int, seed uint64) []faultCase {
	rnd := rand.New(rand.NewPCG(seed, seed))
	type place struct {
		scenario, key string
		nth           int
	}
	byClass := map[string][]place{}
	for _, scenario := range sorted(points) {
		count := map[string]int{}
		for _, key := range points[scenario] {
			count[key]++
			if c := classOfPoint(scenario, key); c != "" {
				byClass[c] = append(byClass[c], place{scenario, key, count[key]})
			}
		}
	}
	var out []faultCase
	add := func(c, fault string) bool {
		p := byClass[c][rnd.IntN(len(byClass[c]))]
		id := fmt.Sprintf("%s | %s #%d | %s", p.scenario, p.key, p.nth, fault)
		if slices.ContainsFunc(out, func(o faultCase) bool { return o.ID == id }) {
			return false
		}
		out = append(out, faultCase{ID: id, Scenario: p.scenario, Point: p.key, Nth: p.nth, Class: c, Fault: fault})
		return true
	}
	classes := sorted(byClass)
	for _, c := range classes {
		for _, f := range faultNames {
			for range 20 {
				if add(c, f) {
					break
				}
			}
		}
	}
	for tries := 0; len(out) < wanted && tries < 10000; tries++ {
		add(classes[rnd.IntN(len(classes))], faultNames[rnd.IntN(len(faultNames))])
	}
	rnd.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	if len(out) > wanted {
		out = pickSample(out, wanted)
	}
	slices.SortStableFunc(out, func(a, b faultCase) int { return strings.Compare(a.Scenario, b.Scenario) })
	return out
}

// choose says which of these cases a lane does next; -1 for none. One of a scenario
// that it has not learnt is worth the trouble where many are left; a lane that has
// learnt it does the others.
func (l *lane) choose(q []faultCase) int {
	if i := slices.IndexFunc(q, func(c faultCase) bool { return c.Scenario == l.state }); i >= 0 { // as the host is now
		return i
	}
	if i := slices.IndexFunc(q, func(c faultCase) bool { return l.points[c.Scenario] != nil }); i >= 0 {
		return i
	}
	left := map[string]int{}
	for _, c := range q {
		left[c.Scenario]++
	}
	return slices.IndexFunc(q, func(c faultCase) bool { return left[c.Scenario] >= 8 })
}

// pickSample takes turns among the faults, so that a small sample has them all.
func pickSample(all []faultCase, n int) []faultCase {
	byFault := map[string][]faultCase{}
	for _, c := range all {
		byFault[c.Fault] = append(byFault[c.Fault], c)
	}
	var out []faultCase
	for i := 0; len(out) < n; i++ {
		for _, f := range faultNames {
			if i < len(byFault[f]) && len(out) < n {
				out = append(out, byFault[f][i])
			}
		}
	}
	return out
}

func sorted[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func envInt(t *testing.T, name string) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func results(t *testing.T, file string) map[string]faultResult {
	t.Helper()
	out := map[string]faultResult{}
	b, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var r faultResult
		if err := json.Unmarshal(line, &r); err == nil { // a torn last line is run again
			out[r.ID] = r
		}
	}
	return out
}

func appendResult(t *testing.T, file string, r any) {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if err := json.NewEncoder(f).Encode(r); err != nil {
		t.Error(err)
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// sh runs something on this machine that must succeed.
func sh(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
