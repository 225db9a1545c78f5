package plans

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

// removalFile is rightFile with a host y that no site is on.
const removalFile = "host \"y\" { address = \"203.0.113.11\" }\n" + rightFile

func loadRemoval(t *testing.T, text string) *File {
	t.Helper()
	f, m := load("hosts.hcl", []byte(text), LoadOptions{Environ: environ})
	if f == nil {
		t.Fatalf("%+v", m)
	}
	return f
}

// makeOn plans on these hosts, as if all were well on them: a sandbox has no Docker and
// no disk.
func makeOn(t *testing.T, f *File, hosts ...*sandbox) SitePlan {
	t.Helper()
	site, observers := f.Sites[0], observersOf(hosts)
	all, err := place(f, site)
	if err != nil {
		t.Fatal(err)
	}
	shared, ledgers, err := look(t.Context(), all, observers)
	if err != nil {
		t.Fatal(err)
	}
	shared.Secrets = credentials.Secrets(testKeys("s"))
	p, want, err := decide(site, all, shared)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range p.Hosts {
		for i := range h.Steps {
			h.Steps[i].Findings = nil
		}
	}
	r := removal{file: f, site: site, context: site.Context(), hosts: observers, ledgers: ledgers, secrets: shared.Secrets}
	if err := r.plan(t.Context(), &p, want); err != nil {
		t.Fatal(err)
	}
	return p
}

func removeOn(t *testing.T, f *File, hosts ...*sandbox) SitePlan {
	t.Helper()
	p, err := MakeRemoval(t.Context(), f, f.Sites[0], observersOf(hosts))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func observersOf(hosts []*sandbox) map[string]host.Observer {
	out := map[string]host.Observer{}
	for _, h := range hosts {
		out[h.Name()] = h
	}
	return out
}

// went are the changes that end something, and what is said besides, a line for each:
// "host stage step: - title".
func went(p SitePlan) []string {
	var out []string
	for _, h := range p.Hosts {
		for _, st := range h.Steps {
			at := h.Host + " " + string(st.Stage) + " " + st.Step + ": "
			for _, c := range st.Changes {
				if s := c.Summary(); s.Verb == "-" {
					out = append(out, at+"- "+s.Title)
				}
			}
			for _, f := range st.Findings {
				if st.Stage == steps.StageRemoval || p.Destroys {
					out = append(out, at+string(f.Severity)+": "+f.Summary)
				}
			}
		}
	}
	return out
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

const ofX = `[{"Id":"old","State":{"Running":true},"Config":{"Labels":{"ecdeploy.site":"x.test"}}}]`

// All of a site that is in the ledgers goes, the stages in their opposite order, and
// nothing of another site.
func TestMakeRemoval(t *testing.T) {
	f := loadRemoval(t, removalFile)
	x, y := &sandbox{t: t, file: f, name: "x", containers: map[string]string{"livekit-sfu": ofX}}, &sandbox{t: t, file: f, name: "y"}
	x.enter(steps.Entry{Kind: steps.EntryContainer, Name: "livekit-sfu", Stage: steps.StageSFU, Step: "livekit"}, "")
	x.enter(steps.Entry{Kind: steps.EntryFile, Name: "/etc/nginx/ours", Stage: steps.StageProxy, Step: "nginx", Title: "nginx"}, "x")
	y.enter(steps.Entry{Kind: steps.EntryFile, Name: "/etc/ecdeploy/x.test/auth/key", Stage: steps.StageAuth, Step: "jwt", Title: "files"}, "k")
	y.entries = append(y.entries, steps.Entry{ID: "file-9", Site: "y.test", Format: 1, Kind: steps.EntryFile, Name: "/etc/other"})
	p := removeOn(t, f, x, y)
	if !p.Destroys || p.Blocked() {
		t.Errorf("%+v", p)
	}
	wantLines(t, went(p), "x proxy nginx: - nginx", "x sfu livekit: - container livekit-sfu", "y auth jwt: - files")
	var silent []string
	for _, st := range p.Hosts[0].Steps {
		for _, c := range st.Checks {
			if c.HTTP != nil && c.HTTP.Unsaid != "" {
				silent = append(silent, string(st.Stage)+" "+c.HTTP.URL+" "+c.HTTP.Unsaid)
			}
		}
	}
	wantLines(t, silent, "well-known https://x.test/.well-known/matrix/client https://jwt.x.test")

	// Nothing stands: there is nothing to do, nor to look at.
	if p := removeOn(t, f, &sandbox{t: t, file: f, name: "x"}, &sandbox{t: t, file: f, name: "y"}); !p.Empty() || len(went(p)) > 0 {
		t.Errorf("%v", went(p))
	}
}

// What somebody else serves is left to them, and said.
func TestMakeRemovalByHand(t *testing.T) {
	f := loadRemoval(t, spoilLines(t, rightFile, `proxy "nginx" { host = host.x }`, `proxy "external" { host = host.x }`,
		`synapse "debian" { host = host.x }`, `synapse "external" { url = "https://matrix.x.test" }`))
	x := &sandbox{t: t, file: f, name: "x"}
	x.enter(steps.Entry{Kind: steps.EntryFile, Name: "/etc/f", Stage: steps.StageSFU, Step: "livekit", Title: "files"}, "x")
	var notes []string
	for _, line := range went(removeOn(t, f, x)) {
		at, _, _ := strings.Cut(line, ": note: ")
		notes = append(notes, at)
	}
	slices.Sort(notes)
	wantLines(t, notes, "x removal proxy", "x removal synapse", "x sfu livekit: - files")
}

// What no step wants any more goes after the last proof, but for a container whose step
// makes another one: both would have the same ports.
func TestMakeTakesAway(t *testing.T) {
	f := loadRemoval(t, removalFile)
	x := &sandbox{t: t, file: f, name: "x", containers: map[string]string{"my-sfu": ofX, "my-jwt": ofX}}
	y := &sandbox{t: t, file: f, name: "y", containers: map[string]string{"livekit-sfu": ofX}}
	step := ""
	for _, st := range makeOn(t, f, &sandbox{t: t, file: f, name: "x"}).Hosts[0].Steps {
		if st.Stage == steps.StageSFU {
			step = st.Step
		}
	}
	x.enter(steps.Entry{Kind: steps.EntryContainer, Name: "my-sfu", Stage: steps.StageSFU, Step: step}, "")
	x.enter(steps.Entry{Kind: steps.EntryContainer, Name: "my-jwt", Stage: steps.StageAuth, Step: "another"}, "")
	x.enter(steps.Entry{Kind: steps.EntryContainer, Name: "livekit-sfu", Stage: steps.StageSFU, Step: step}, "")
	x.enter(steps.Entry{Kind: steps.EntryLines, Name: "/var/www/x.test/client", Stage: steps.StageWellKnown, Step: "well-known"}, "")
	x.enter(steps.Entry{Kind: steps.EntryFile, Name: "/etc/ecdeploy/x.test/sfu/old", Stage: steps.StageSFU, Step: "old", Title: "files"}, "x")
	y.enter(steps.Entry{Kind: steps.EntryContainer, Name: "livekit-sfu", Stage: steps.StageSFU, Step: step}, "")
	p := makeOn(t, f, x, y)
	wantLines(t, went(p), "x sfu "+step+": - container my-sfu", "x removal another: - container my-jwt", "x removal old: - files",
		"y removal "+step+": - container livekit-sfu")
	var order []string
	for _, st := range p.Hosts[0].Steps {
		for _, c := range st.Changes {
			if c, ok := c.(*steps.Container); ok {
				order = append(order, c.Spec.Name)
			}
		}
	}
	wantLines(t, order, "my-sfu", "livekit-sfu", "element-call-jwt", "my-jwt")
}

// Where a step stops the run it may not know what it wants: nothing goes.
func TestMakeTakesNothingAwayWhereBlocked(t *testing.T) {
	f := loadRemoval(t, rightFile)
	x := &sandbox{t: t, file: f, name: "x"} // without Docker
	x.enter(steps.Entry{Kind: steps.EntryFile, Name: "/etc/old", Stage: steps.StageSFU, Step: "old", Title: "files"}, "x")
	choose := func(credentials.Found) (livekit.Keys, error) { return testKeys("s"), nil }
	p, err := Make(t.Context(), f, f.Sites[0], observersOf([]*sandbox{x}), choose)
	if err != nil || !p.Blocked() {
		t.Errorf("nothing blocks it: %v", err)
	}
	wantLines(t, went(p))
}

// A ledger that is not all known stops a run, be it that the site stays.
func TestUnknownLedger(t *testing.T) {
	f := loadRemoval(t, rightFile)
	x := &sandbox{t: t, file: f, name: "x"}
	x.enter(steps.Entry{Kind: steps.EntryFile, Name: "/etc/old", Stage: steps.StageSFU, Step: "old", Title: "files"}, "x")
	x.entries[0].Format = steps.LedgerFormat + 1
	for _, p := range []SitePlan{makeOn(t, f, x), removeOn(t, f, x)} {
		if !p.Blocked() {
			t.Error("nothing blocks it")
		}
		wantLines(t, went(p),
			"x removal ledger: error: nothing can be taken away on x, since its ledger was written by a newer ecdeploy (format 2; this one knows 1)")
	}
}

// Effects are taken away by the variant that knows them; those that are not there any
// more only leave the ledger, and those of a variant that nobody knows stay.
func TestRemovalOfEffects(t *testing.T) {
	f := loadRemoval(t, rightFile)
	x := &sandbox{t: t, file: f, name: "x"}
	x.enter(steps.Entry{Kind: steps.EntryEffect, Name: "ufw 1234/tcp", Stage: steps.StageHost, Step: "firewall"}, "")
	x.enter(steps.Entry{Kind: steps.EntryEffect, Name: "toy 1", Stage: steps.StageHost, Step: "toy"}, "")
	p := removeOn(t, f, x)
	wantLines(t, went(p), "x host toy: warning: toy 1 on x stays: this version of ecdeploy does not know what it is", "x host firewall: - record of ufw")
	var leave []string
	for _, st := range p.Hosts[0].Steps {
		for _, c := range st.Changes {
			leave = append(leave, c.(*steps.Files).Leave...)
		}
	}
	wantLines(t, leave, "effect-0")
	// Of a site that stays, its own step looks after them.
	wantLines(t, went(makeOn(t, f, x)), "x removal toy: warning: toy 1 on x stays: this version of ecdeploy does not know what it is")
}

// A host that the site was on and that nobody reaches is named; hosts that are reached
// know of each other as long as they hold something.
func TestLeftBehind(t *testing.T) {
	f := loadRemoval(t, removalFile)
	fresh := func() (x, y *sandbox) { return &sandbox{t: t, file: f, name: "x"}, &sandbox{t: t, file: f, name: "y"} }
	records := func(p SitePlan) []string {
		var out []string
		for _, on := range []string{"x", "y"} {
			for _, in := range p.Records[on].Enter {
				out = append(out, on+" knows "+in.Entry.Title)
			}
			for _, id := range p.Records[on].Leave {
				out = append(out, on+" forgets "+id)
			}
		}
		return out
	}

	x, y := fresh()
	x.enter(steps.Entry{Kind: steps.EntryHost, Name: "id-of-z", Title: "z"}, "")
	p := makeOn(t, f, x, y)
	wantLines(t, went(p), "x removal left-behind: warning: host z is left behind: something of the site may still stand there, and nobody reaches it now")
	wantLines(t, records(p)) // y holds nothing

	x, y = fresh()
	y.enter(steps.Entry{Kind: "toy", Name: "it", Stage: steps.StageHost, Step: "toy"}, "") // nobody can take it away
	p = makeOn(t, f, x, y)
	wantLines(t, records(p), "x knows y", "y knows x")
	if r := p.Records["x"].Enter[0].Entry; r.Kind != steps.EntryHost || r.Name != "id-of-y" {
		t.Errorf("%+v", r)
	}

	x, y = fresh()
	x.enter(steps.Entry{Kind: steps.EntryHost, Name: "id-of-y", Title: "y"}, "")
	y.enter(steps.Entry{Kind: steps.EntryHost, Name: "id-of-x", Title: "x"}, "")
	wantLines(t, records(makeOn(t, f, x, y)), "x forgets host-0", "y forgets host-0") // y is not on the site any more
	wantLines(t, records(removeOn(t, f, x, y)), "x forgets host-0", "y forgets host-0")
}
