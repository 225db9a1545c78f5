package suite

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

// Case is a variant to be put through what every variant must pass.
type Case struct {
	Variant steps.Variant
	// Config is what a plan file says; nil for Configured.
	Config func() steps.Config
	// World is a host as an admin has it before the first apply; nil for one on which
	// the variant finds nothing to do.
	World func(t *testing.T) *World
	// Site is the site without the variant's own parts; nil for OneHost.
	Site func() *steps.Site
}

// Run puts a variant through what every variant must pass: it says what it is, finds
// nothing where there is nothing, has in its parts the containers that it makes, plans
// nothing the second time, leaves nothing of its own, survives being saved, and copes
// with hosts that lie.
func Run(t *testing.T, c Case) {
	if c.Config == nil {
		c.Config = func() steps.Config { return Configured(c.Variant) }
	}
	if c.Site == nil {
		c.Site = OneHost
	}
	t.Run("says what it is", c.describes)
	t.Run("finds nothing on an empty host", c.findsNothing)
	t.Run("stays on its host", c.staysOnItsHost)
	t.Run("leaves alone what is somebody else's", c.leavesAlone)
	if c.World != nil {
		t.Run("plans nothing the second time, and removal leaves nothing", c.settles)
	}
	t.Run("bears hosts that lie", c.bearsLies)
}

func (c Case) describes(t *testing.T) {
	v := c.Variant
	if v.Block == "" || v.Doc == "" || strings.ContainsAny(v.Doc, "\n|") {
		t.Errorf("block %q, doc %q: they are a row of a table", v.Block, v.Doc)
	}
	if !v.Implied && !strings.HasPrefix(v.Example, strings.TrimSpace(v.Block+" "+quoted(v.Label))+" {") {
		t.Errorf("the example is no block of the variant: %s", v.Example)
	}
	a, b := v.Config(), v.Config()
	if reflect.ValueOf(a).Kind() != reflect.Pointer || reflect.TypeOf(a) != reflect.TypeOf(b) {
		t.Fatalf("a config is %T and then %T", a, b)
	}
	if size := reflect.TypeOf(a).Elem().Size(); size > 0 && a == b {
		t.Error("two configs are one")
	}
}

func quoted(label string) string {
	if label == "" {
		return ""
	}
	return `"` + label + `"`
}

func (c Case) findsNothing(t *testing.T) {
	empty := Fake{Answer: func(string) host.Result { return host.Result{Code: 127} }}
	found, err := c.Variant.Detect(t.Context(), empty)
	if err != nil || len(found) > 0 {
		t.Errorf("it finds %+v, %v", found, err)
	}
}

// staysOnItsHost wants each part and step on the host that the config names, or on
// one of the site's.
func (c Case) staysOnItsHost(t *testing.T) {
	config := c.Config()
	site, d := c.declare(config)
	for _, p := range d.Parts {
		if p.Name == "" || p.Title == "" || p.Host != d.Host {
			t.Errorf("part %q (%s) is on %q, its block on %q", p.Name, p.Title, p.Host, d.Host)
		}
		for _, l := range p.Listens {
			if l.First < 1 || l.Last < l.First || l.Last > 65535 || l.Claim.Attr == "" || l.Claim.Fix == "" {
				t.Errorf("%s listens on %+v", p.Name, l)
			}
		}
		for _, r := range p.Routes {
			if (r.Upstream == "") == (r.File == "") || r.Name() == "" {
				t.Errorf("%s has the route %+v", p.Name, r)
			}
		}
	}
	for _, s := range config.Steps(d, site) {
		if !slices.Contains(site.Hosts(), s.Host) || !slices.Contains(steps.Stages(), s.Stage) || s.Step.Name() == "" {
			t.Errorf("step %q is in stage %q on host %q", s.Step.Name(), s.Stage, s.Host)
		}
	}
}

// leavesAlone wants a variant that leaves its thing to somebody else to take nothing of it
// away, where ecdeploy had configured it before.
func (c Case) leavesAlone(t *testing.T) {
	config := c.Config()
	if _, ok := config.(steps.ByHand); !ok {
		return
	}
	site, d := c.declare(config)
	for _, s := range config.Steps(d, site) {
		if got := Decide(t, s.Step, Fake{}); !got.LeavesAlone {
			t.Errorf("step %s does not leave alone what stands", s.Step.Name())
		}
	}
}

// declare puts the config in its site, in the place of the part of its kind.
func (c Case) declare(config steps.Config) (*steps.Site, steps.Decl) {
	site := c.Site()
	d := steps.Decl{Site: site.Name, Host: "h"}
	d.Parts = config.Parts(d)
	for _, p := range d.Parts {
		i := slices.IndexFunc(site.Parts, func(o steps.Part) bool { return o.Name == p.Name || o.Proxy != nil && p.Proxy != nil })
		if i < 0 {
			site.Parts = append(site.Parts, p)
			continue
		}
		site.Parts[i] = p
	}
	return site, d
}

// settles does what is planned, wants all of it to be among the variant's parts and what
// shall stand, and nothing to be planned again; then it takes all away that the ledger
// has, and wants every file to be as before.
func (c Case) settles(t *testing.T) {
	world := c.World(t)
	before := maps.Clone(world.Files)
	config := c.Config()
	site, d := c.declare(config)
	first := c.decide(t, world, config.Steps(d, site))
	if len(first.Changes) == 0 {
		t.Fatalf("nothing is planned the first time: %s", Summaries(first.Findings))
	}
	for _, change := range first.Changes {
		c.isData(t, change)
		if made, ok := change.(*steps.Container); ok {
			inParts := func(p steps.Part) bool {
				return p.Run != nil && p.Run.Container == made.Spec.Name && p.Run.Image == made.Spec.Image
			}
			if !slices.ContainsFunc(d.Parts, inParts) {
				t.Errorf("container %s is in no part", made.Spec.Name)
			}
		}
		world.Do(t, change)
	}
	again := c.decide(t, world, config.Steps(d, site))
	if len(again.Changes) > 0 {
		t.Errorf("the second time it plans\n%s", Words(again))
	}
	for _, stands := range [][]steps.Ref{first.Stands, again.Stands} {
		for _, e := range world.Ledger().Unwanted(Slug, stands, nil) {
			t.Errorf("%s %s stands, and no step wants it to: it would be taken away", e.Kind, e.Name)
		}
	}
	c.takeAway(t, world, site)
	if diff := cmp.Diff(before, world.Files); diff != "" {
		t.Errorf("after a removal files are others: %s", diff)
	}
	if len(world.containers) > 0 {
		t.Errorf("after a removal there are containers: %v", slices.Sorted(maps.Keys(world.containers)))
	}
}

// isData wants a change to survive JSON, and to hold no secret.
func (c Case) isData(t *testing.T, change steps.Change) {
	t.Helper()
	b, err := steps.MarshalChange(change)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range Keys().ByRef() {
		if !v.IsZero() && strings.Contains(string(b), v.Reveal()) {
			t.Errorf("%s holds a secret", change.Summary().Title)
		}
	}
	back, err := steps.UnmarshalChange(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(change, back); diff != "" {
		t.Errorf("%s does not survive JSON: %s", change.Summary().Title, diff)
	}
}

// takeAway does what is planned where nothing of the site is wanted any more.
func (c Case) takeAway(t *testing.T, world *World, site *steps.Site) {
	t.Helper()
	ledger := world.Ledger()
	var all []steps.StepPlan
	made := func(e steps.Entry) bool {
		return e.Ref() == steps.Ref{Kind: steps.EntryEffect, Name: c.Variant.Effects.Word}
	}
	if kind := c.Variant.Effects; kind != nil && slices.ContainsFunc(ledger.Entries, made) {
		d := c.decide(t, world, []steps.Placed{{Step: kind.Step(&steps.Site{Name: site.Name})}})
		all = append(all, steps.StepPlan{Changes: d.Changes})
	}
	r := steps.Removal{Site: site, Ledger: ledger, Entries: ledger.Unwanted(Slug, nil, all), Secrets: credentials.Secrets(Keys()), Whole: true}
	things, err := r.Plan(t.Context(), world)
	if err != nil {
		t.Fatal(err)
	}
	all = append(things, all...)
	ledger.Folders(Slug, all)
	for _, st := range all {
		for _, f := range st.Findings {
			t.Errorf("a removal says: %s", f.Summary)
		}
		for _, change := range st.Changes {
			c.isData(t, change)
			world.Do(t, change)
		}
	}
	for _, e := range world.Ledger().Entries {
		t.Errorf("after a removal the ledger has %s %s", e.Kind, e.Name)
	}
}

// decide is what these steps decide together.
func (c Case) decide(t *testing.T, o host.Observer, placed []steps.Placed) steps.Decision {
	t.Helper()
	var all []steps.Facts
	shared := steps.Shared{Sources: map[string]string{}, HTTPS: map[string]string{}}
	for _, s := range placed {
		facts, err := s.Step.Probe(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		facts.Share(&shared)
		all = append(all, facts)
	}
	shared.Secrets = credentials.Secrets(Keys())
	var out steps.Decision
	for _, f := range all {
		one, err := f.Diff(shared)
		if err != nil {
			t.Fatal(err)
		}
		out.Changes = append(out.Changes, one.Changes...)
		out.Findings = append(out.Findings, one.Findings...)
		out.Stands = append(out.Stands, one.Stands...)
	}
	return out
}

func (c Case) bearsLies(t *testing.T) {
	for name, s := range StepsOf(c.Variant) {
		for i, seed := range HostileSeeds() {
			o := NewHostile([]byte(seed))
			o.N = i
			t.Run(name, func(t *testing.T) { DecideHostile(t, s, o) })
		}
	}
}
