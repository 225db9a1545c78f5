package view

import (
	"strconv"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/plans"
)

// Status is what is known of a site.
type Status struct {
	Site     string           `json:"site"`
	Deployed []Deployed       `json:"deployed"`
	Runs     []engine.Past    `json:"runs"`
	Checks   []engine.Checked `json:"checks"`
	// Findings are what the steps saw that a person should know.
	Findings []plans.Finding `json:"findings"`
	Drifted  bool            `json:"drifted"`
}

// Deployed is a component as a host has it, whatever the plan file says.
type Deployed struct {
	Component string `json:"component"`
	Host      string `json:"host"`
	What      string `json:"what"`  // "livekit-sfu  livekit/livekit-server:v1.13.9", "Synapse 1.160.0"
	State     string `json:"state"` // as Docker or systemd words it; "" where it is not there
}

// Status shows what is known of a site, of which p is the plan.
func (s *Screen) Status(st Status, p plans.SitePlan) error {
	return s.result(func(t *textForm) { t.Status(st, p) }, func(j *jsonForm) error { return j.Write("status", st) })
}

// Status shows tables of what is there, and what an apply would change.
func (t *textForm) Status(st Status, p plans.SitePlan) {
	rows := []Row{{"COMPONENT", "HOST", "WHAT", "STATE"}}
	for _, d := range st.Deployed {
		if d.State == "" {
			d.State = "not there"
		}
		rows = append(rows, Row{d.Component, d.Host, d.What, d.State})
	}
	t.print("site %s\n", line(st.Site))
	t.Table(rows)
	rows = []Row{{"RUN", "HOST", "STATE", "BY"}}
	for _, r := range st.Runs {
		rows = append(rows, Row{r.Run, r.Host, r.State, r.By})
	}
	t.print("\n")
	t.Table(rows)
	rows = []Row{{"CHECK", "HOST", "RESULT"}}
	for _, c := range st.Checks {
		result := "ok"
		if c.Err != "" {
			result = "FAILED: " + c.Err
		}
		rows = append(rows, Row{c.Name, c.Host, result})
	}
	t.print("\n")
	t.Table(rows)
	t.print("\n")
	t.drift(st, p)
}

func (t *textForm) drift(st Status, p plans.SitePlan) {
	switch {
	case p.Blocked():
		t.print("whether something drifted is unknown:\n")
	case st.Drifted:
		t.print("drift: the hosts differ from the plan file\n")
	default:
		t.print("no drift: the hosts are as the plan file says\n")
		if !plans.KeysOf(p.Found).Old.IsZero() {
			t.print("LiveKit accepts the old LIVEKIT_KEY of a rotation, too; ecdeploy secrets rotate --finish ends that\n")
		}
	}
	if p.Blocked() || st.Drifted {
		t.Plan(plans.Plan{Sites: []plans.SitePlan{p}})
	}
}

// Runs shows the runs that hosts remember.
func (s *Screen) Runs(past []engine.Past) error {
	return s.result(func(t *textForm) { t.Runs(past) }, func(j *jsonForm) error { return j.Write("runs", past) })
}

// Runs shows a table, one line for each run on each host.
func (t *textForm) Runs(past []engine.Past) {
	if len(past) == 0 {
		t.print("the hosts remember no run\n")
		return
	}
	rows := []Row{{"HOST", "SITE", "RUN", "STATE", "BEGUN", "BY", ""}}
	for _, p := range past {
		rows = append(rows, Row{p.Host, p.Site, p.Run, p.State, p.Since.Format("2006-01-02 15:04 MST"), p.By, remark(p)})
	}
	t.Table(rows)
}

// remark is what a person should know of a run besides its state.
func remark(p engine.Past) string {
	switch {
	case p.Unfinished(), p.Blocks():
		return p.What()
	case p.State == "committed":
		return "`ecdeploy rollback` undoes it"
	case p.Conflict:
		return "kept what somebody else edited: see " + engine.Root + "/runs on the host"
	}
	return ""
}

// Audit shows a host's audit log.
func (s *Screen) Audit(log engine.Audit) error {
	return s.result(func(t *textForm) { t.Audit(log) }, func(j *jsonForm) error { return j.Write("audit", log) })
}

// Audit shows a table of what was done on a host, and whether the log is intact.
func (t *textForm) Audit(log engine.Audit) {
	rows := []Row{{"LINE", "TIME", "RUN", "EVENT", ""}}
	for _, e := range log.Entries {
		rows = append(rows, Row{strconv.Itoa(e.N), e.Time.Format("2006-01-02 15:04:05 MST"), e.Run, e.Event, e.Text})
	}
	t.print("host %s\n", line(log.Host))
	if len(log.Entries) > 0 {
		t.Table(rows)
	}
	switch {
	case len(log.Flaws) > 0:
		t.Flaws(log.Flaws)
	case len(log.Entries) == 0:
		t.print("nothing was done there yet\n")
	default:
		t.print("whole: %d lines, each follows the one before it\n", len(log.Entries))
	}
	if log.Taken > 0 {
		t.print("what is wrong further above was accepted (%d)\n", log.Taken)
	}
	if log.Torn > 0 {
		t.print("%d more were torn by a full disk or a power failure\n", log.Torn)
	}
	t.print("\n")
}

// Secrets prints a site's credentials as they are, as text in any case.
func (s *Screen) Secrets(site string, k plans.Keys) {
	s.text(s.out, func(t *textForm) {
		t.print("# %s\n", line(site))
		if !k.Old.IsZero() {
			t.print("# LiveKit accepts an old pair, too; ecdeploy secrets rotate --finish ends that\n")
		}
		t.print("LIVEKIT_KEY=%s\nLIVEKIT_SECRET=%s\n", k.Key.Reveal(), k.Secret.Reveal())
	})
}
