package plans

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// removal derives, from what stands on the hosts and what shall, what goes.
type removal struct {
	file    *File
	site    Site
	context *steps.Site
	hosts   map[string]host.Observer
	ledgers map[string]steps.Ledger // by host
	secrets steps.Secrets
	whole   bool // nothing of the site is to be left
}

// plan adds to p what stands on the hosts and is not to: neither want nor a change of p
// names it. hosts that the site is not on any more have their turn, too.
func (r removal) plan(ctx context.Context, p *SitePlan, want wanted) error {
	r.hosts = r.eachOnce(p)
	names := sortedKeys(r.hosts)
	found := make([][]StepPlan, len(names))
	g, gctx := errgroup.WithContext(ctx)
	for i, name := range names {
		g.Go(func() (err error) {
			found[i], err = r.on(gctx, name, r.ledgers[name].LeavingAlone(want.aloneOn(name)), want.stands[name], stepsOn(*p, name))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, name := range names {
		if len(found[i]) > 0 || slices.Contains(r.context.Hosts(), name) {
			setSteps(p, name, found[i])
		}
	}
	r.leftBehind(p, names)
	return nil
}

// eachOnce leaves out hosts that are one of the site's under another name: what is wanted
// there is known by that one. A site that has one machine twice cannot be applied.
func (r removal) eachOnce(p *SitePlan) map[string]host.Observer {
	out := maps.Clone(r.hosts)
	mine := r.context.Hosts()
	for _, name := range sortedKeys(r.hosts) {
		for _, other := range mine {
			switch {
			case name == other || r.hosts[other] == nil || !r.ledgers[name].Same(r.ledgers[other]):
			case !slices.Contains(mine, name):
				delete(out, name)
			case name > other:
				f := steps.Error.Finding("the host blocks "+other+" and "+name+" are one machine",
					"use one of them; for two machines that were cloned, give one a machine-id of its own (systemd-machine-id-setup)")
				setSteps(p, name, append(stepsOn(*p, name), StepPlan{Stage: steps.StagePreflight, Step: "machine", Findings: []Finding{f}}))
			}
		}
	}
	return out
}

// readLedgers asks all hosts what stands there.
func readLedgers(ctx context.Context, hosts map[string]host.Observer) (map[string]steps.Ledger, error) {
	names := sortedKeys(hosts)
	found := make([]steps.Ledger, len(names))
	g, ctx := errgroup.WithContext(ctx)
	for i, name := range names {
		g.Go(func() error {
			res, err := hosts[name].Query(ctx, steps.QueryLedger)
			if err == nil {
				found[i] = steps.ParseLedger(res[0])
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := map[string]steps.Ledger{}
	for i, name := range names {
		out[name] = found[i]
	}
	return out, nil
}

// leftBehind names hosts that the site was on and that nobody reaches now, and brings
// what each host knows of the others up to date.
func (r removal) leftBehind(p *SitePlan, names []string) {
	slug := r.context.Slug()
	here := map[string]string{} // names by machine
	holds := map[string]bool{}  // machines that hold something of the site when the plan is done
	for _, name := range names {
		here[r.ledgers[name].Machine] = name
		if !r.whole && slices.Contains(r.context.Hosts(), name) || len(r.ledgers[name].Remaining(slug, stepsOn(*p, name))) > 0 {
			holds[r.ledgers[name].Machine] = true
		}
	}
	if len(p.Hosts) == 0 {
		return
	}
	var lost []string
	p.Records = map[string]steps.LedgerMoves{}
	for _, name := range names {
		var m steps.LedgerMoves
		known := map[string]bool{r.ledgers[name].Machine: true}
		for _, e := range r.ledgers[name].Of(slug) {
			if e.Kind != steps.EntryHost {
				continue
			}
			known[e.Name] = true
			switch _, reached := here[e.Name]; {
			case !holds[r.ledgers[name].Machine]: // nothing of the site is here any more
				m.Leave = append(m.Leave, e.ID)
			case !reached:
				lost = append(lost, e.Title)
			case !holds[e.Name]:
				m.Leave = append(m.Leave, e.ID)
			}
		}
		for _, machine := range sortedKeys(here) {
			if machine != "" && !known[machine] && holds[machine] && holds[r.ledgers[name].Machine] {
				m.Enter = append(m.Enter, steps.OtherHost(machine, here[machine]))
			}
		}
		p.Records[name] = m
	}
	slices.Sort(lost)
	for _, name := range slices.Compact(lost) {
		f := steps.Warning.Finding("host "+name+" is left behind: something of the site may still stand there, and nobody reaches it now",
			"keep its host block in the plan file until a run has reached it; if it is gone for good: ecdeploy forget "+name+" FILE")
		if slices.ContainsFunc(r.file.Hosts, func(h Host) bool { return h.Name == name && !h.Unused }) {
			f = steps.Note.Finding("something of the site may still stand on "+name+", where this run does not look", "run ecdeploy without --limit")
		}
		on := p.Hosts[0].Host
		setSteps(p, on, append(stepsOn(*p, on), StepPlan{Stage: steps.StageRemoval, Step: "left-behind", Findings: []Finding{f}}))
	}
}

func stepsOn(p SitePlan, name string) []StepPlan {
	for _, h := range p.Hosts {
		if h.Host == name {
			return slices.Clone(h.Steps)
		}
	}
	return nil
}

func setSteps(p *SitePlan, name string, all []StepPlan) {
	i, there := slices.BinarySearchFunc(p.Hosts, name, func(h HostPlan, name string) int { return strings.Compare(h.Host, name) })
	if !there {
		p.Hosts = slices.Insert(p.Hosts, i, HostPlan{Host: name})
	}
	p.Hosts[i].Steps = all
}

// on are the steps of a host with what goes there.
func (r removal) on(ctx context.Context, name string, ledger steps.Ledger, stands []steps.Ref, wanted []StepPlan) ([]StepPlan, error) {
	o := r.hosts[name]
	slug := r.context.Slug()
	if (SitePlan{Hosts: []HostPlan{{Steps: wanted}}}).Blocked() {
		return wanted, nil // what a step did not see it may want
	}
	if ledger.Problem != "" {
		f := steps.Error.Finding("nothing can be taken away on "+name+", since "+ledger.Problem, "look at "+steps.Root+"/ledger there, or use the newer ecdeploy")
		return append(wanted, StepPlan{Stage: steps.StageRemoval, Step: "ledger", Findings: []Finding{f}}), nil
	}
	ledger = r.rebuilt(ledger, r.whole || !slices.Contains(r.context.Hosts(), name))
	ledger.TakesBack(slug, stands, wanted)
	unwanted := ledger.Unwanted(slug, stands, wanted)
	if len(unwanted) == 0 {
		r.ledgers[name].Folders(slug, wanted)
		return wanted, nil
	}
	gone, err := r.effects(ctx, o, unwanted)
	if err != nil {
		return nil, err
	}
	ledger.TakesBack(slug, stands, gone)
	all := append(slices.Clone(wanted), gone...)
	unwanted = ledger.Unwanted(slug, stands, all)
	things, err := steps.Removal{Site: r.context, Ledger: ledger, Entries: unwanted, Secrets: r.secrets, Whole: r.whole}.Plan(ctx, o)
	if err != nil {
		return nil, err
	}
	all = r.arrange(wanted, append(things, gone...))
	r.ledgers[name].Folders(slug, all)
	return all, nil
}

// rebuilt is a ledger with what may be the site's where it was lost: files that the
// site's parts have by their names, containers by their label, and, where nothing of the
// site shall be left, whatever the variants know again by comments and headers.
func (r removal) rebuilt(l steps.Ledger, effects bool) steps.Ledger {
	slug := r.context.Slug()
	if !slices.ContainsFunc(l.Of(slug), func(e steps.Entry) bool { return e.Lost }) {
		return l
	}
	var own []string
	for _, p := range r.context.Parts {
		own = append(own, p.Own...)
	}
	l.Entries = slices.DeleteFunc(slices.Clone(l.Entries), func(e steps.Entry) bool {
		return e.Site == slug && e.Lost && e.Kind == steps.EntryFile && !slices.Contains(own, e.Name)
	})
	for _, v := range r.file.variants {
		if v.Effects != nil && effects {
			l.Entries = append(l.Entries, steps.Entry{Site: slug, Kind: steps.EntryEffect, Name: v.Effects.Word + " of before",
				Stage: v.Effects.Stage, Step: v.Effects.Word, Lost: true})
		}
	}
	return l
}

// arrange puts what goes where it belongs among what is wanted: after the last proof,
// but for a container, which goes before the one that its step makes now, since both
// would have the same ports. Where nothing is left, everything goes in the stage in which
// it came.
func (r removal) arrange(wanted, gone []StepPlan) []StepPlan {
	out := slices.Clone(wanted)
	for _, st := range gone {
		makes := func(w StepPlan) bool { return w.Stage == st.Stage && w.Step == st.Step && hasContainer(w.Changes) }
		switch i := slices.IndexFunc(out, makes); {
		case r.whole:
			out = append(out, st)
		case i >= 0 && hasContainer(st.Changes):
			out = slices.Insert(out, i, st)
		default:
			st.Stage = steps.StageRemoval
			out = append(out, st)
		}
	}
	r.sort(out)
	return out
}

// sort puts steps in the order of the stages.
func (r removal) sort(all []StepPlan) {
	order := SitePlan{Destroys: r.whole}.Stages()
	slices.SortStableFunc(all, func(a, b StepPlan) int { return slices.Index(order, a.Stage) - slices.Index(order, b.Stage) })
}

func (r removal) inOrder(p *SitePlan) {
	for _, h := range p.Hosts {
		r.sort(h.Steps)
	}
}

func hasContainer(changes []steps.Change) bool {
	return slices.ContainsFunc(changes, func(c steps.Change) bool { _, ok := c.(*steps.Container); return ok })
}

// effects lets the variants that made effects which nobody wants look at them again, as
// if the site had nothing on the host.
func (r removal) effects(ctx context.Context, o host.Observer, unwanted []steps.Entry) ([]StepPlan, error) {
	kinds := map[string][]steps.Entry{}
	for _, e := range unwanted {
		if e.Kind == steps.EntryEffect {
			kinds[e.Ref().Name] = append(kinds[e.Ref().Name], e)
		}
	}
	var out []StepPlan
	for _, word := range sortedKeys(kinds) {
		made := kinds[word]
		p := StepPlan{Stage: made[0].Stage, Step: made[0].Step}
		i := slices.IndexFunc(r.file.variants, func(v steps.Variant) bool { return v.Effects != nil && v.Effects.Word == word })
		if i < 0 {
			p.Findings = []Finding{steps.Warning.Finding(fmt.Sprintf("%s on %s stays: this version of ecdeploy does not know what it is", made[0].Name, o.Name()), "use the version that made it")}
			out = append(out, p)
			continue
		}
		step := r.file.variants[i].Effects.Step(&steps.Site{Name: r.site.ServerName})
		facts, err := step.Probe(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", o.Name(), step.Name(), err)
		}
		d, err := facts.Diff(steps.Shared{})
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", o.Name(), step.Name(), err)
		}
		p.Changes, p.Findings = d.Changes, d.Findings
		if !slices.ContainsFunc(made, func(e steps.Entry) bool { return !e.Lost }) && (SitePlan{Hosts: []HostPlan{{Steps: []StepPlan{p}}}}).Blocked() {
			continue // nothing tells that there is something of the site: an error is the admin's own affair
		}
		if slices.Contains(d.Stands, steps.Ref{Kind: steps.EntryEffect, Name: word}) { // all of it is known
			p.Changes = append(p.Changes, vanished(made, d.Changes)...)
		}
		out = append(out, p)
	}
	return out, nil
}

// vanished drops the entries of effects that are not there any more, and so are ended
// by no change.
func vanished(made []steps.Entry, changes []steps.Change) []steps.Change {
	var ids []string
	for _, e := range made {
		if !e.Lost && !slices.ContainsFunc(changes, func(c steps.Change) bool { return steps.Ends(c, e.Name) }) {
			ids = append(ids, e.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return []steps.Change{&steps.Files{Title: "record of " + made[0].Ref().Name, Leave: ids}}
}

// byHand adds what somebody else has to take away, and looks in the end whether
// clients are still told of the backend.
func (r removal) byHand(p *SitePlan, shared steps.Shared) {
	add := func(name string, st StepPlan) { setSteps(p, name, append(stepsOn(*p, name), st)) }
	for _, d := range r.site.Blocks {
		if c, ok := d.Config.(steps.ByHand); ok {
			add(d.Decl.Host, StepPlan{Stage: steps.StageRemoval, Step: d.Block, Findings: []Finding{steps.Note.Finding(c.ByHand(), "")}})
		}
	}
	defer r.inOrder(p)
	for _, part := range r.context.With(steps.Announce) {
		for _, route := range part.Routes {
			if route.Purpose == steps.Announce && route.File != "" && slices.Contains(sortedKeys(r.hosts), part.Host) {
				dial := cmp.Or(shared.HTTPS[part.Host], "127.0.0.1:443")
				silent := checks(r.site, []steps.Check{steps.Silent(route.URL, dial, r.context.ServiceURL())})
				add(part.Host, StepPlan{Stage: steps.StageWellKnown, Step: part.Name, Checks: silent})
			}
		}
	}
}

// stillAnnounced stops a plan after which a homeserver would go on telling clients of the
// backend, since somebody else wrote that, or the ledger was lost.
func (r removal) stillAnnounced(ctx context.Context, p *SitePlan) error {
	url := r.context.ServiceURL()
	for _, part := range r.context.Parts {
		o := r.hosts[part.Host]
		if part.Homeserver == nil || !part.Homeserver.Configured() || o == nil {
			continue
		}
		state, err := part.Homeserver.State(ctx, o, r.context)
		if err != nil {
			return err
		}
		silent := slices.ContainsFunc(state.Lacks, func(l steps.Lack) bool { return l.Need == steps.Transport })
		if silent || state.Problem != "" || url == "" || takesOut(stepsOn(*p, part.Host), url, part.Title) {
			continue
		}
		f := steps.Error.Finding(part.Title+" would still announce "+url+" to clients",
			"take that transport out of its configuration by hand, restart it, then run ecdeploy again")
		setSteps(p, part.Host, append(stepsOn(*p, part.Host), StepPlan{Stage: steps.StageHomeserver, Step: part.Name, Findings: []Finding{f}}))
	}
	r.inOrder(p)
	return nil
}

// takesOut reports whether a plan takes lines with that text out of a file of somebody
// else's that the homeserver, the part of that title, reads.
func takesOut(all []StepPlan, text, title string) bool {
	for _, st := range all {
		for _, c := range st.Changes {
			files, ok := c.(*steps.Files)
			if !ok || st.Stage == steps.StageWellKnown && st.Step != steps.BeforeLedger+title {
				continue
			}
			for _, e := range files.Edits {
				for line := range strings.Lines(e.Diff) {
					if strings.HasPrefix(line, "-") && strings.Contains(line, text) {
						return true
					}
				}
			}
		}
	}
	return false
}
