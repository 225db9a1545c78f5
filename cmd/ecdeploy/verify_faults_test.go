package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/rtc"
)

// Faults of a deployment: one thing of a site that works is broken, as people
// break it, and `ecdeploy verify` has to name that very thing. scripts/verify-faults
// runs it. What is broken is in verify_faults_list_test.go and
// verify_faults_matrix_test.go, where in verify_faults_host_test.go.

// runForVerify makes this test binary an ecdeploy whose clock may be wrong.
func runForVerify() {
	if skew, err := time.ParseDuration(os.Getenv("ECDEPLOY_FAULT_CLOCK")); err == nil {
		now = func() time.Time { return time.Now().Add(skew) }
	}
	os.Exit(run(os.Args[1:]))
}

// verifyFault is one thing that is broken, and what verify has to say of it.
type verifyFault struct {
	name   string
	field  int    // its number in fieldFaults; 0 for none
	breaks string // sh on the host, after verifyFaultsLib
	fixes  string
	here   func(*verifyLane) (fix func(), err error) // what is broken on this machine
	outer  []string                                  // dropped in front of the host
	names  map[string]string                         // where names lead for the laptop; %GATEWAY is this machine
	helper bool                                      // an echo may run on the host
	clock  string                                    // how far the laptop's is ahead
	ids    []string                                  // links of which one has to be the first that is broken
	code   rtc.Code
	warns  bool // calls work all the same
}

// verifyResult is a line of the results file.
type verifyResult struct {
	Name    string   `json:"name"` // of a fault, or "healthy 3"
	Field   int      `json:"field,omitempty"`
	IDs     []string `json:"ids,omitempty"`
	Code    rtc.Code `json:"code,omitempty"`
	FoundID string   `json:"found_id,omitempty"`
	Found   rtc.Code `json:"found,omitempty"`
	Side    rtc.Side `json:"side,omitempty"`
	Others  []string `json:"others,omitempty"` // failures after the first
	Seconds float64  `json:"seconds"`          // that verify took
	Media   float64  `json:"media"`            // of these, while it held calls
	Detail  string   `json:"detail,omitempty"` // why it is not as it has to be; "" where it is
	Commit  string   `json:"commit"`
}

// TestVerifyFaults tries all faults that the results file does not have yet.
func TestVerifyFaults(t *testing.T) {
	if os.Getenv("ECDEPLOY_VERIFY_FAULTS") == "" {
		t.Skip("scripts/verify-faults runs it")
	}
	file, healthy := os.Getenv("ECDEPLOY_FAULT_RESULTS"), envInt(t, "ECDEPLOY_FAULT_HEALTHY")
	faults := chosenFaults(t)
	done := verifyResults(t, file)
	l := newVerifyLane(t)
	record := func(r verifyResult) {
		done[r.Name] = r
		appendResult(t, file, r)
		t.Logf("%3d %4.0fs %s: %s %s %s", len(done), r.Seconds, r.Name, r.FoundID, r.Found, firstLine(r.Detail))
		if r.Detail != "" {
			t.Errorf("%s: %s", r.Name, r.Detail)
		}
	}
	// Healthy looks lie between the faults: what one of them leaves behind would
	// show.
	every := max(1, len(faults)/max(1, healthy-1))
	looks := 0
	look := func() {
		looks++
		name := fmt.Sprintf("healthy %d", looks)
		if r, ok := done[name]; (!ok || r.Detail != "") && looks <= healthy {
			record(l.checkHealthy(name))
		}
	}
	for i, f := range faults {
		if i%every == 0 {
			look()
		}
		if r, ok := done[f.name]; !ok || r.Detail != "" {
			record(l.try(f))
		}
	}
	for looks < healthy {
		look()
	}
	if out := os.Getenv("ECDEPLOY_FAULT_REPORT"); out != "" { // what was not named stands there, too
		writeVerifyReport(t, out, faults, done)
	}
}

// chosenFaults are all, in an order that the seed decides, or those that were
// asked for.
func chosenFaults(t *testing.T) []verifyFault {
	t.Helper()
	all := slices.Concat(wayFaults, serviceFaults, proxyFaults, matrixFaults)
	names := map[string]bool{}
	for _, f := range all {
		if names[f.name] {
			t.Fatalf("two faults are called %q", f.name)
		}
		names[f.name] = true
		if e := rtc.Explain(string(f.code)); len(e) != 1 || e[0].Do == "" {
			t.Fatalf("%s: the code %q has no advice", f.name, f.code)
		}
	}
	seed := uint64(envInt(t, "ECDEPLOY_FAULT_SEED"))
	rnd := rand.New(rand.NewPCG(seed, seed))
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if only := os.Getenv("ECDEPLOY_FAULT_ONLY"); only != "" {
		pattern, err := regexp.Compile(only)
		if err != nil {
			t.Fatal(err)
		}
		all = slices.DeleteFunc(all, func(f verifyFault) bool { return !pattern.MatchString(f.name) })
	}
	if n := envInt(t, "ECDEPLOY_FAULT_CASES"); n > 0 && len(all) > n {
		all = all[:n]
	}
	return all
}

func verifyResults(t *testing.T, file string) map[string]verifyResult {
	t.Helper()
	out := map[string]verifyResult{}
	b, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var r verifyResult
		if err := json.Unmarshal(line, &r); err == nil { // a torn last line is run again
			out[r.Name] = r
		}
	}
	return out
}

// judge holds a report against what a fault wants.
func (f verifyFault) judge(r rtc.Report, exit int) (out verifyResult) {
	out = measureReport(f.name, r)
	out.Field, out.IDs, out.Code = f.field, f.ids, f.code
	first, ok := r.Broken()
	want := exitUnhealthy
	if f.warns {
		want = exitOK
		for _, l := range r.Links {
			if !ok && l.Status == rtc.Warning {
				first, ok = l, true
			}
		}
	}
	if !ok {
		out.Detail = "nothing is broken, it says"
		return out
	}
	out.FoundID, out.Found, out.Side = first.ID, first.Code, first.Side
	for _, l := range r.Links {
		if l.Status == rtc.Failed && l.ID != first.ID {
			out.Others = append(out.Others, l.ID+" "+string(l.Code))
		}
	}
	advice := ""
	for _, e := range r.Explained {
		if e.Code == first.Code {
			advice = e.Do
		}
	}
	var wrong []string
	if exit != want {
		wrong = append(wrong, fmt.Sprintf("exit code %d, not %d", exit, want))
	}
	if !slices.Contains(f.ids, first.ID) || first.Code != f.code {
		wrong = append(wrong, fmt.Sprintf("%s %s, not %s %s", first.ID, first.Code, strings.Join(f.ids, "|"), f.code))
	}
	if advice == "" {
		wrong = append(wrong, "no advice")
	}
	if len(wrong) > 0 {
		out.Detail = strings.Join(append(wrong, listLinks(r)...), "\n")
	}
	return out
}

// measureReport has how long a look took.
func measureReport(name string, r rtc.Report) verifyResult {
	out := verifyResult{Name: name, Seconds: r.Took.Seconds(), Commit: os.Getenv("ECDEPLOY_FAULT_COMMIT")}
	for _, l := range r.Links {
		if l.Part == rtc.Media || l.ID == "sfu.websocket" {
			out.Media = max(out.Media, l.Took.Seconds())
		}
	}
	return out
}

// listLinks are all links of a report that do not work, for whoever reads the test's log.
func listLinks(r rtc.Report) []string {
	var out []string
	for _, l := range r.Links {
		if l.Status != rtc.OK {
			out = append(out, fmt.Sprintf("  %s: %s %s %s %s", l.ID, l.Status, l.Code, l.Side, strings.Join(l.Evidence, " / ")))
		}
	}
	return out
}
