package view

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/plans"
	"github.com/emdecloud/ecdeploy/steps"
)

// JSONVersion is the version of all JSON that ecdeploy writes. It grows when a
// field changes its meaning or goes; new fields do not count.
const JSONVersion = 1

// JSON writes one object a line for programs.
type JSON struct {
	mu  sync.Mutex
	enc *json.Encoder
}

// NewJSON writes to out.
func NewJSON(out io.Writer) *JSON {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return &JSON{enc: enc}
}

// Write writes v as {"version":1,"type":kind,kind:v}.
func (j *JSON) Write(kind string, v any) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.enc.Encode(map[string]any{"version": JSONVersion, "type": kind, kind: v}); err != nil {
		return fmt.Errorf("write json: %w", err)
	}
	return nil
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
func (j *JSON) Plan(p plans.Plan) error {
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

// Event writes an event.
func (j *JSON) Event(e engine.Event) {
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
	}
	_ = j.Write(name, e) // a closed pipe is no reason to stop half-way
}
