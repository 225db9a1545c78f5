package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/rtc"
	"github.com/emdecloud/ecdeploy/plans"
	"github.com/emdecloud/ecdeploy/steps"
)

// JSONVersion is the version of all JSON that ecdeploy writes. It grows when a
// field changes its meaning or goes; new fields do not count.
const JSONVersion = 1

// jsonForm writes one object a line for programs. Screen sees to it that nobody
// else writes meanwhile.
type jsonForm struct{ out io.Writer }

// newJSON writes to out.
func newJSON(out io.Writer) *jsonForm { return &jsonForm{out: out} }

// Write writes v as {"version":1,"type":kind,kind:v}.
func (j *jsonForm) Write(kind string, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(map[string]any{"version": JSONVersion, "type": kind, kind: v}); err != nil {
		return fmt.Errorf("write json: %w", err)
	}
	if _, err := io.WriteString(j.out, escaped(b.String())); err != nil {
		return fmt.Errorf("write json: %w", err)
	}
	return nil
}

// escaped has an escape for each character that could steer a terminal, for
// people who look at JSON on one. Go's encoder leaves those from 0x7f on as they
// are; they can stand in strings alone.
func escaped(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r >= 0x7f && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// planJSON is a plan as programs read it: what happens, not how.
type planJSON struct {
	Summary string     `json:"summary"`
	Changes int        `json:"changes"`
	Sites   []siteJSON `json:"sites"`
}

type siteJSON struct {
	Site     string          `json:"site"`
	Blocked  bool            `json:"blocked"`
	Findings []steps.Finding `json:"findings"`
	Hosts    []hostJSON      `json:"hosts"`
}

type hostJSON struct {
	Host    string       `json:"host"`
	Changes []changeJSON `json:"changes"`
}

type changeJSON struct {
	Stage plans.Stage `json:"stage"`
	Step  string      `json:"step"`
	Kind  string      `json:"kind"`
	steps.Summary
}

// Plan writes a plan.
func (j *jsonForm) Plan(p plans.Plan) error {
	out := planJSON{Summary: Summary(p), Sites: []siteJSON{}}
	for _, s := range p.Sites {
		site := siteJSON{Site: s.Site, Blocked: s.Blocked(), Findings: append([]steps.Finding{}, Findings(s)...), Hosts: []hostJSON{}}
		for _, h := range s.Hosts {
			host := hostJSON{Host: h.Host, Changes: []changeJSON{}}
			for _, st := range h.Steps {
				for _, c := range st.Changes {
					host.Changes = append(host.Changes, changeJSON{st.Stage, st.Step, c.Kind(), c.Summary()})
					out.Changes++
				}
			}
			site.Hosts = append(site.Hosts, host)
		}
		out.Sites = append(out.Sites, site)
	}
	return j.Write("plan", out)
}

// Report writes what was seen of a site. docs/verify-report.schema.json
// describes it: lists are lists there, also where nothing is in them.
func (j *jsonForm) Report(r rtc.Report) error {
	r.Links = append([]rtc.Link{}, r.Links...)
	r.Flows = append([]rtc.Flow{}, r.Flows...)
	r.Explained = append([]rtc.Explanation{}, r.Explained...)
	return j.Write("report", r)
}

// Event writes an event.
func (j *jsonForm) Event(e engine.Event) {
	name := "event"
	switch e.(type) {
	case engine.PhaseStarted:
		name = "phase"
	case engine.Progress:
		name = "progress"
	case engine.Changed:
		name = "changed"
	case engine.Checked:
		name = "checked"
	case engine.Committed:
		name = "committed"
	case engine.RolledBack:
		name = "rolled_back"
	case engine.Calls:
		name = "calls"
	case engine.Warned:
		name = "warned"
	}
	_ = j.Write(name, e) // a closed pipe is no reason to stop half-way
}
