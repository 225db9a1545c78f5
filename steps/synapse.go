package steps

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"
	"golang.org/x/mod/semver"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// synapseDir is where Debian's and matrix.org's packages keep the configuration.
const synapseDir = "/etc/matrix-synapse"

// configFile is one of the files that Synapse merges, in the order in which it
// reads them.
type configFile struct {
	Path string // symlinks resolved
	Data []byte
}

type synapseFacts struct {
	name    string
	unit    unitFacts
	files   []configFile
	problem string // why the configuration could not be read
	version string // "1.160.0"; "" where it cannot be told
	workers []string
}

// unitFacts are what systemd says of Synapse's unit.
type unitFacts struct {
	Found       bool
	Active      bool
	User        string
	Interpreter string   // the Python that runs it
	Configs     []string // the arguments of --config-path, in order
}

// SynapseOnDebian makes the effective configuration of a packaged Synapse right.
func SynapseOnDebian(site Site, c SynapseDebian) Step {
	probe := func(ctx context.Context, o host.Observer) (synapseFacts, error) {
		_, all, res, err := look(ctx, o, []string{synapseDir + "/homeserver.yaml", synapseDir + "/conf.d/*.yaml"},
			host.Cmd{Argv: []string{"systemctl", "show", "--property=LoadState,ActiveState,User,ExecStart", "--", c.Unit}},
			host.Sh("dpkg-query -W -f '${Version}\\n' matrix-synapse-py3 matrix-synapse 2>/dev/null; true"),
			host.Sh("systemctl list-units --plain --no-legend 'matrix-synapse-worker*' 'matrix-synapse@*' 2>/dev/null; true"))
		if err != nil {
			return synapseFacts{}, err
		}
		f := synapseFacts{name: o.Name(), unit: parseUnit(res[0]), version: upstreamVersion(string(res[1].Stdout))}
		for line := range strings.Lines(string(res[2].Stdout)) {
			f.workers = append(f.workers, strings.Fields(line + " -")[0])
		}
		if !f.unit.Found {
			return f, nil
		}
		if !slices.Equal(f.unit.Configs, []string{synapseDir + "/homeserver.yaml", synapseDir + "/conf.d"}) {
			if all, err = readConfigs(ctx, o, f.unit.Configs); err != nil {
				return f, err
			}
		}
		for _, file := range all {
			switch {
			case !file.Exists && strings.ContainsAny(file.Path, "*"):
			case !file.Exists:
				f.problem = file.Path + " is not there"
			case file.Err != "":
				f.problem = file.Path + ": " + file.Err
			default:
				f.files = append(f.files, configFile{file.Real, file.Data})
			}
		}
		return f, nil
	}
	return Define("synapse", probe, nil, func(f synapseFacts, _ Shared) (Decision, error) { return f.decide(site, c), nil })
}

// readConfigs reads what --config-path names: files, and of folders the *.yaml
// in them, sorted (element-hq/synapse synapse/config/_base.py find_config_files).
func readConfigs(ctx context.Context, o host.Observer, configs []string) ([]host.File, error) {
	var paths []string
	for _, p := range configs {
		if strings.HasSuffix(p, ".yaml") || strings.HasSuffix(p, ".yml") {
			paths = append(paths, p)
		} else {
			paths = append(paths, p+"/*.yaml")
		}
	}
	return o.Read(ctx, paths...)
}

// parseUnit reads `systemctl show`. ExecStart is one line: "{ path=... ;
// argv[]=python -m synapse.app.homeserver --config-path=A ... ; ... }".
func parseUnit(r host.Result) unitFacts {
	u := unitFacts{User: "root"}
	for line := range strings.Lines(string(r.Stdout)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch k {
		case "LoadState":
			u.Found = v == "loaded"
		case "ActiveState":
			u.Active = v == "active"
		case "User":
			u.User = orSelf(v, "root")
		case "ExecStart":
			_, argv, _ := strings.Cut(v, "argv[]=")
			argv, _, _ = strings.Cut(argv, " ;")
			u.parseArgv(strings.Fields(argv))
		}
	}
	return u
}

func (u *unitFacts) parseArgv(argv []string) {
	for i, a := range argv {
		p := ""
		switch {
		case i == 0:
			u.Interpreter = a
		case strings.HasPrefix(a, "--config-path="):
			p = strings.TrimPrefix(a, "--config-path=")
		case (a == "--config-path" || a == "-c") && i+1 < len(argv):
			p = argv[i+1]
		}
		if p != "" {
			u.Configs = append(u.Configs, path.Clean(p))
		}
	}
}

// upstreamVersion is "1.160.0" of "1.160.0-1~bpo12+1".
func upstreamVersion(s string) string {
	for line := range strings.Lines(s) {
		v, _, _ := strings.Cut(strings.TrimSpace(line), "-")
		v, _, _ = strings.Cut(v, "+")
		v, _, _ = strings.Cut(v, "~")
		if _, after, ok := strings.Cut(v, ":"); ok {
			v = after
		}
		if semver.IsValid("v" + v) {
			return v
		}
	}
	return ""
}

func (f synapseFacts) older(than string) bool {
	return f.version != "" && semver.Compare("v"+f.version, "v"+than) < 0
}

func (f synapseFacts) decide(site Site, c SynapseDebian) Decision {
	fail := func(summary, hint string) Decision {
		return Decision{Findings: []Finding{{Error, summary, hint}}}
	}
	switch {
	case !f.unit.Found:
		return fail("there is no unit "+c.Unit+" on "+f.name, `name it with unit = "..." in synapse "debian" {}, or use synapse "external" {} for a Synapse in a container`)
	case !f.unit.Active:
		return fail("Synapse ("+c.Unit+") does not run on "+f.name, "systemctl status "+c.Unit)
	case f.problem != "":
		return fail("Synapse's configuration cannot be read: "+f.problem, "systemctl cat "+c.Unit)
	case len(f.files) == 0:
		return fail("Synapse's configuration files cannot be told from "+c.Unit, `use synapse "external" {}`)
	case f.older("1.140.0"):
		return fail("Synapse "+f.version+" is too old: MatrixRTC transports came with 1.140", "upgrade matrix-synapse")
	case len(f.workers) > 0:
		return fail("Synapse has workers on "+f.name+" ("+strings.Join(f.workers, ", ")+"), which are not supported yet: each would need a restart", `use synapse "external" {}: ecdeploy then says which settings are needed and checks them`)
	}
	want := synapseWants(site, c, f)
	var d Decision
	d.Findings = append(d.Findings, f.notes()...)
	edits, err := want.edit(f.files)
	if err != nil {
		d.Findings = append(d.Findings, refusal("Synapse's configuration", err))
		return d
	}
	d.Checks = synapseChecks(site, c, f)
	if len(edits) == 0 {
		return d
	}
	d.Changes = []Change{&Files{
		Title: "Synapse", Edits: edits, Unit: c.Unit, Action: "restart", Timeout: c.StartTimeout,
		Overlay: []string{synapseDir}, Check: f.checker(),
		Interrupt: "Synapse restarts: clients wait until it is up again",
	}}
	return d
}

// notes explain settings that do not do what guides say.
func (f synapseFacts) notes() []Finding {
	for _, file := range slices.Backward(f.files) {
		if v, ok := get(file.Data, "experimental_features", "msc4140_enabled"); ok {
			return []Finding{{Note, fmt.Sprintf("experimental_features.msc4140_enabled (%v) in %s has no effect: no Synapse has such a key; delayed events are switched on by max_event_delay_duration", v, file.Path), ""}}
		}
	}
	return nil
}

// checker runs Synapse's own configuration check as the unit's user, so that
// what it may create belongs to that user.
func (f synapseFacts) checker() string {
	argv := []string{f.unit.Interpreter, "-m", "synapse.config"}
	for _, c := range f.unit.Configs {
		argv = append(argv, "-c", c)
	}
	cmd := shellescape.QuoteCommand(argv)
	if f.unit.User != "root" {
		cmd = "setpriv --reuid=" + shellescape.Quote(f.unit.User) + ` --regid="$(id -g ` + shellescape.Quote(f.unit.User) + `)" --init-groups -- ` + cmd
	}
	return "cd / && out=$(" + cmd + ` 2>&1) || { printf '%s\n' "$out" >&2; exit 1; }`
}

func synapseChecks(site Site, c SynapseDebian, f synapseFacts) []Check {
	base := f.localURL()
	if base == "" {
		return nil
	}
	logs := "unit:" + c.Unit
	flags := []string{"org.matrix.msc4140"}
	if !f.older("1.156.0") {
		flags = append(flags, "org.matrix.msc4143")
	}
	return []Check{
		{Name: "Synapse has delayed events on", HTTP: &HTTPCheck{URL: base + "/_matrix/client/versions", Status: 200, JSONTrue: flags}, Timeout: c.StartTimeout, Logs: logs, Hint: "journalctl -u " + c.Unit},
		{Name: "Synapse serves the transports", HTTP: &HTTPCheck{URL: base + "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports", Status: 401, Body: "M_MISSING_TOKEN"}, Timeout: 20 * time.Second, Logs: logs, Hint: "journalctl -u " + c.Unit},
		{Name: "Synapse answers OpenID look-ups", HTTP: &HTTPCheck{URL: base + "/_matrix/federation/v1/openid/userinfo?access_token=x", Status: 401, Body: "M_UNKNOWN_TOKEN"}, Timeout: 20 * time.Second, Logs: logs, Hint: "journalctl -u " + c.Unit},
	}
}
