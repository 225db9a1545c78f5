package synapse

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
)

const venvPath = "/etc/synapse/homeserver.yaml"

// unitHost is a host whose units are what systemd says of each; the Python of each
// with a virtualenv reports a version.
type unitHost struct {
	suite.Fake
	units   map[string]string
	version string
	dpkg    string // the version of the package
	stopped bool   // no unit runs
}

func (o unitHost) Query(_ context.Context, cmds ...host.Cmd) ([]host.Result, error) {
	var out []host.Result
	for _, c := range cmds {
		text, unit, answer := c.Argv[2], c.Argv[len(c.Argv)-1], ""
		switch {
		case strings.Contains(text, "'*.service'"):
			for name := range o.units {
				answer += name + "\n"
			}
		case strings.Contains(text, "importlib.metadata"):
			answer = o.version + "\n"
		case text == packageVersion:
			answer = o.dpkg + "\n"
		case strings.Contains(text, "systemctl show"):
			answer = "LoadState=not-found\nPython=\n"
			if known, ok := o.units[unit]; ok {
				answer = known
			}
		case strings.Contains(text, "is-active") && !o.stopped:
			answer = strings.Join(c.Argv[4:], "\n")
		case strings.Contains(text, "command -v"): // all programs are there
			answer = strings.Join(c.Argv[4:], "\n")
		}
		out = append(out, host.Result{Stdout: []byte(answer)})
	}
	return out, nil
}

// venvUnitText is the unit of the documentation.
func venvUnitText() string {
	return unitStarting("/opt/synapse/venv/bin/python -m synapse.app.homeserver --config-path=homeserver.yaml",
		"WorkingDirectory=/etc/synapse", "Python=/opt/synapse/venv/bin/python", "Virtualenv=/opt/synapse/venv")
}

func venvHost() unitHost {
	return unitHost{
		Fake:  suite.Fake{Files: map[string]string{venvPath: suite.SynapseListens}},
		units: map[string]string{venvUnit: venvUnitText()}, version: "1.163.2",
	}
}

// It is configured where its unit reads, checked by its own Python, restarted by its
// own unit, and then there is nothing to do.
func TestVenv(t *testing.T) {
	o, c := venvHost(), newService(Venv, "h", venvUnit)
	d := suite.Decide(t, suite.StepOf(c, suite.OneHost()), o)
	change := suite.Only(t, d.Changes).(*steps.Files)
	if got := suite.Summaries(d.Findings); got != "" {
		t.Errorf("it says %s", got)
	}
	if change.Edits[0].Path != venvPath || !slices.Equal(change.Overlay, []string{"/etc/synapse"}) || change.Unit != venvUnit || change.Action != "restart" {
		t.Errorf("edits %s below %s, then %s %s", change.Edits[0].Path, change.Overlay, change.Action, change.Unit)
	}
	for _, want := range []string{"cd /etc/synapse && ", "setpriv --reuid=synapse ", " /opt/synapse/venv/bin/python -m synapse.config -c " + venvPath + " "} {
		if !strings.Contains(change.CheckText(), want) {
			t.Errorf("the check lacks %q: %s", want, change.CheckText())
		}
	}
	text, err := steps.MarshalChange(change)
	if err != nil {
		t.Fatal(err)
	}
	back, err := steps.UnmarshalChange(text)
	if err != nil || !cmp.Equal(back, steps.Change(change)) {
		t.Errorf("of its JSON comes %s (%v)", cmp.Diff(steps.Change(change), back), err)
	}
	for _, check := range d.Checks {
		if check.Logs != "unit:"+venvUnit {
			t.Errorf("%s shows the log of %s", check.Name, check.Logs)
		}
	}
	o.Apply(t, d)
	if got := suite.Words(suite.Decide(t, suite.StepOf(c, suite.OneHost()), o)); got != "" {
		t.Errorf("the second apply plans %s", got)
	}
}

// What was put there goes again, by the same checker and the same unit.
func TestVenvRemoval(t *testing.T) {
	o, c, site := venvHost(), newService(Venv, "h", venvUnit), suite.OneHost()
	w := suite.NewWorld(o.Files, nil)
	made := suite.Only(t, suite.Decide(t, suite.StepOf(c, site), o).Changes)
	w.Do(t, made)
	before := o.Files[venvPath]
	ledger := w.Ledger()
	for _, running := range []bool{true, false} {
		o.Fake, o.stopped = w.Fake, !running
		plans, err := steps.Removal{Site: site, Ledger: ledger, Entries: ledger.Unwanted(suite.Slug, nil, nil), Whole: true}.Plan(t.Context(), o)
		if err != nil || len(plans) != 1 || len(plans[0].Findings) > 0 {
			t.Fatalf("%+v, %v", plans, err)
		}
		change := suite.Only(t, plans[0].Changes).(*steps.Files)
		if !strings.Contains(change.CheckText(), "/opt/synapse/venv/bin/python") || !slices.Equal(change.Overlay, []string{"/etc/synapse"}) {
			t.Errorf("it is checked by %s in %s", change.CheckText(), change.Overlay)
		}
		if running != (change.Unit == venvUnit && change.Action == "restart" && change.Interrupt == interruptSynapse) || running != (len(plans[0].Checks) > 0) {
			t.Errorf("running %v: %s %q, %d checks", running, change.Action, change.Unit, len(plans[0].Checks))
		}
		if running {
			continue
		}
		w.Do(t, change)
		if w.Files[venvPath] != before {
			t.Errorf("is left:\n%s", w.Files[venvPath])
		}
	}
}

func TestVenvRefuses(t *testing.T) {
	for _, c := range []struct {
		name       string
		spoil      func(*unitHost)
		want, hint string
	}{
		{"no unit", func(o *unitHost) { clear(o.units) }, "error: there is no unit synapse.service on h", `name the unit with unit = "..." in synapse "venv" {}`},
		{"a wrapper", func(o *unitHost) { o.units[venvUnit] = unitStarting("/opt/synapse/start.sh -c " + venvPath) },
			"error: synapse.service on h starts /opt/synapse/start.sh, which is not a program of Synapse's", "-m synapse.app.homeserver --config-path=FILE"},
		{"a home that only systemd knows", func(o *unitHost) {
			o.units[venvUnit] = strings.Replace(venvUnitText(), "WorkingDirectory=/etc/synapse", "WorkingDirectory=~", 1)
		}, "error: Synapse's configuration cannot be read: homeserver.yaml is not a full path", "systemctl cat synapse.service"},
		{"a variable of nobody", func(o *unitHost) {
			o.units[venvUnit] = strings.Replace(venvUnitText(), "=homeserver", "=${CONFIG}", 1)
		}, "error: Synapse's configuration cannot be read: ${CONFIG}.yaml is not a full path", "systemctl cat synapse.service"},
		{"too old", func(o *unitHost) { o.version = "1.139.2" }, "error: Synapse 1.139.2 on h is too old", "pip install --upgrade matrix-synapse"},
		{"no version", func(o *unitHost) { o.version = "" }, "warning: Synapse's version on h is unknown", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := venvHost()
			c.spoil(&o)
			d := suite.Decide(t, suite.StepOf(newService(Venv, "h", venvUnit), suite.OneHost()), o)
			if len(d.Findings) != 1 || !strings.HasPrefix(suite.Summaries(d.Findings), c.want) || !strings.Contains(d.Findings[0].Hint, c.hint) {
				t.Errorf("it says %v, want %s", d.Findings, c.want)
			}
			if isError := strings.HasPrefix(c.want, "error"); isError != (len(d.Changes) == 0) {
				t.Errorf("%d changes", len(d.Changes))
			}
		})
	}
}

// A unit is the package's or a virtualenv's, never both.
func TestDetect(t *testing.T) {
	const python = "/opt/venvs/matrix-synapse/bin/python" // of matrix.org's package
	packaged := unitStarting(python+" -m synapse.app.homeserver --config-path=/etc/matrix-synapse/homeserver.yaml", "Python="+python)
	stopped := strings.Replace(venvUnitText(), "ActiveState=active", "ActiveState=failed", 1)
	worker := strings.Replace(venvUnitText(), "synapse.app.homeserver", "something --else synapse.app.homeserver", 1)
	for _, c := range []struct {
		name          string
		units         map[string]string
		dpkg, version string
		want          []string
	}{
		{name: "nothing"},
		{name: "the package", units: map[string]string{debianUnit: packaged}, dpkg: "1.160.0-1", version: "1.160.0",
			want: []string{"debian matrix-synapse.service true: the package matrix-synapse 1.160.0 is installed on h"}},
		{name: "a virtualenv", units: map[string]string{venvUnit: venvUnitText(), "other.service": worker}, version: "1.163.2",
			want: []string{"venv synapse.service true: synapse.service on h runs Synapse 1.163.2 from the virtualenv /opt/synapse/venv"}},
		{name: "by another name, stopped", units: map[string]string{"hs.service": stopped}, version: "1.163.2",
			want: []string{"venv hs.service false: hs.service on h runs Synapse 1.163.2 from the virtualenv /opt/synapse/venv"}},
		{name: "the package's unit starts a virtualenv", units: map[string]string{debianUnit: venvUnitText()}, dpkg: "1.160.0-1", version: "1.163.2",
			want: []string{"venv matrix-synapse.service true: matrix-synapse.service on h runs Synapse 1.163.2 from the virtualenv /opt/synapse/venv"}},
		{name: "a virtualenv without Synapse", units: map[string]string{venvUnit: venvUnitText()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := unitHost{units: c.units, version: c.version, dpkg: c.dpkg}
			var got []string
			for _, v := range []steps.Variant{PackageVariant(), VenvVariant()} {
				found, err := v.Detect(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range found {
					s := f.Config.(*Service)
					sure := map[bool]string{true: "true", false: "false"}[f.Sure]
					got = append(got, string(s.From)+" "+s.Unit+" "+sure+": "+f.Why)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whatever a host says, detection ends, and finds nothing that is not a service.
func TestDetectHostile(t *testing.T) {
	for _, seed := range append(suite.HostileSeeds(), "a.service b.service -- -x ../x\n", venvUnitText(), "1.163.2\n====\n"+venvUnitText()) {
		for n := range 4 {
			o := suite.NewHostile([]byte(seed))
			o.N = n
			for _, v := range []steps.Variant{PackageVariant(), VenvVariant()} {
				found, err := v.Detect(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range found {
					if unit := f.Config.(*Service).Unit; !strings.HasSuffix(unit, ".service") {
						t.Errorf("finds the unit %q", unit)
					}
				}
			}
		}
	}
}
