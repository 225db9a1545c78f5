package synapse

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"
	"golang.org/x/mod/semver"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// titleSynapse is the title of the change to files of others. The hosts remember it: by it a
// site's edits are found again when it is taken away.
const title = "Synapse"

// synapseDir is where Debian's and matrix.org's packages keep the configuration.
const synapseDir = "/etc/matrix-synapse"

const interruptSynapse = "Synapse restarts: clients wait until it is up again"

// configFile is one of the files that Synapse merges, in the order in which it
// reads them.
type configFile struct {
	Path  string // symlinks resolved
	Data  []byte
	Loose string // as in host.File
}

type facts struct {
	name    string
	unit    unitFacts
	files   []configFile
	problem string // why the configuration could not be read
	version string // "1.160.0"; "" where it cannot be told
	workers []string
	others  steps.Neighbours
	unseen  bool // nobody read the configuration, so that even defaults need to be named
}

// unitFacts are what systemd says of Synapse's unit.
type unitFacts struct {
	Found       bool
	Active      bool
	User        string
	Interpreter string   // the Python that runs it
	Configs     []string // the arguments of --config-path, in order
}

// SynapseDebian is a Synapse from Debian's or matrix.org's package.
type Package struct {
	Host         string        `hcl:"host"`
	Unit         string        `hcl:"unit,optional"`            // default matrix-synapse.service
	StartTimeout time.Duration `hcl:"start_timeout,optional"`   // default 120s
	MaxDelay     string        `hcl:"max_event_delay,optional"` // default 24h
}

// leastVersion is the first Synapse with MatrixRTC transports.
const leastVersion = "1.140.0"

// defaultDelay is how long a client may have a delayed event wait.
const defaultDelay = "24h"

const debianUnit = "matrix-synapse.service"

// SynapseDebianVariant is the packaged Synapse.
func PackageVariant() steps.Variant {
	return steps.Variant{
		Block: "synapse", Label: "debian", Required: true,
		Doc:     "1.140 or newer from Debian's or matrix.org's package, one process",
		Example: `synapse "debian" { host = host.NAME }`,
		Config: func() steps.Config {
			return &Package{Unit: debianUnit, StartTimeout: 120 * time.Second, MaxDelay: defaultDelay}
		},
		Detect: detectSynapse,
	}
}

func detectSynapse(ctx context.Context, o host.Observer) ([]steps.Found, error) {
	res, err := o.Query(ctx, queryVersion, queryUnit(debianUnit))
	if err != nil {
		return nil, err
	}
	version, unit := upstreamVersion(string(res[0].Stdout)), parseUnit(res[1])
	if version == "" || !unit.Found {
		return nil, nil
	}
	c := Package{Host: o.Name(), Unit: debianUnit, StartTimeout: 120 * time.Second, MaxDelay: defaultDelay}
	return []steps.Found{{Config: &c, Why: "the package matrix-synapse " + version + " is installed on " + o.Name(), Sure: unit.Active}}, nil
}

// HostName implements Config.
func (c *Package) HostName() string { return c.Host }

// Parts implements Config.
func (c *Package) Parts(d steps.Decl) []steps.Part {
	return []steps.Part{{Name: "synapse", Title: "Synapse", Host: d.Host, Homeserver: c, Unit: &steps.Unit{
		Name: c.Unit, Title: "Synapse",
		Version: "dpkg-query -W -f '${db:Status-Status} ${Version}\\n' matrix-synapse-py3 matrix-synapse 2>/dev/null | sed -n 's/^installed //p' | head -n 1",
	}}}
}

// synapseTime is a duration of Synapse's with its unit.
var synapseTime = regexp.MustCompile(`^[1-9][0-9]{0,8}[smhdwy]$`)

// Check implements Config.
func (c *Package) Check(b steps.Block, _ steps.Decl, _ *steps.Site) {
	steps.CheckUnit(b, c.Unit, debianUnit)
	if b.Known("max_event_delay") && !synapseTime.MatchString(c.MaxDelay) {
		b.Wrong("max_event_delay", "max_event_delay is no duration of Synapse's", `write a number and one of s, m, h, d, w, y, like "24h"`)
	}
}

// Steps implements Config.
func (c *Package) Steps(d steps.Decl, s *steps.Site) []steps.Placed {
	return []steps.Placed{{Stage: steps.StageHomeserver, Host: d.Host, Step: c.configure(s)}}
}

// Removal implements Config.
func (c *Package) Removal(d steps.Decl, s *steps.Site) []steps.Placed {
	return []steps.Placed{{Stage: steps.StageHomeserver, Host: d.Host, Step: c.remove(s)}}
}

// configure makes the effective configuration right.
func (c *Package) configure(site *steps.Site) steps.Step {
	return steps.Define("synapse", c.probe, nil, func(f facts, _ steps.Shared) (steps.Decision, error) { return f.decide(site, c), nil })
}

func (c *Package) probe(ctx context.Context, o host.Observer) (facts, error) {
	_, all, res, err := steps.Look(ctx, o, configPaths(debianConfigs),
		queryUnit(c.Unit), queryVersion, queryWorkers, steps.QueryNeighbours)
	if err != nil {
		return facts{}, err
	}
	f := facts{name: o.Name(), unit: parseUnit(res[0]), version: upstreamVersion(string(res[1].Stdout)), others: steps.ParseNeighbours(res[3])}
	for line := range strings.Lines(string(res[2].Stdout)) {
		if w := strings.Fields(line); len(w) > 0 {
			f.workers = append(f.workers, w[0])
		}
	}
	if !f.unit.Found {
		return f, nil
	}
	if !slices.Equal(f.unit.Configs, debianConfigs) {
		if all, err = o.Read(ctx, configPaths(f.unit.Configs)...); err != nil {
			return f, err
		}
	}
	f.load(all)
	return f, nil
}

// debianConfigs are the --config-path arguments of the package's unit.
var debianConfigs = []string{synapseDir + "/homeserver.yaml", synapseDir + "/conf.d"}

func queryUnit(unit string) host.Cmd {
	return host.Cmd{Argv: []string{"systemctl", "show", "--property=LoadState,ActiveState,User,ExecStart", "--", unit}}
}

// queryVersion leaves out packages that were removed and left their
// configuration behind.
var queryVersion = host.Sh(`dpkg-query -W -f '${db:Status-Status} ${Version}\n' matrix-synapse-py3 matrix-synapse 2>/dev/null | sed -n 's/^installed //p'`)

// queryWorkers lists units and processes of workers, the first word of each line.
var queryWorkers = host.Sh(`systemctl list-units --plain --no-legend 'matrix-synapse-worker*' 'matrix-synapse@*' 2>/dev/null
ps -eo args= 2>/dev/null | grep -o 'synapse\.app\.[a-z_]*' | grep -v -e homeserver -e complement | sort -u`)

// configPaths are the files that --config-path names, and of folders the *.yaml
// in them, sorted (element-hq/synapse synapse/config/_base.py
// find_config_files), those with a leading dot too.
func configPaths(configs []string) []string {
	var paths []string
	for _, p := range configs {
		if strings.HasSuffix(p, ".yaml") || strings.HasSuffix(p, ".yml") {
			paths = append(paths, p)
		} else {
			paths = append(paths, p+"/.*.yaml", p+"/*.yaml")
		}
	}
	return paths
}

// maxConfig is the most that all of Synapse's files may hold together, in bytes.
// They are read many times over, and Synapse's own sample has 120 KiB.
const maxConfig = 512 << 10

// load takes in the configuration in its order. Synapse passes over folders
// in folders.
func (f *facts) load(files []host.File) {
	size := 0
	for _, file := range files {
		if size += len(file.Data); size > maxConfig {
			f.problem = fmt.Sprintf("with %s it is larger than %d KiB", file.Path, maxConfig>>10)
			return
		}
		switch {
		case !file.Exists && strings.ContainsAny(file.Path, "*"), file.Exists && file.Mode.IsDir():
		case !file.Exists:
			f.problem = file.Path + " is not there"
		case file.Err != "":
			f.problem = file.Path + ": " + file.Err
		default:
			f.files = append(f.files, configFile{file.Real, file.Data, file.Loose})
		}
	}
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
			u.User = cmp.Or(v, "root")
		case "ExecStart":
			_, argv, _ := strings.Cut(v, "argv[]=")
			argv, _, _ = strings.Cut(argv, " ;")
			u.parseArgv(strings.Fields(argv))
		}
	}
	return u
}

// parseArgv takes `python -m synapse.app.homeserver ...` alone: in the unit of a
// Synapse in a container, -c is the shell's.
func (u *unitFacts) parseArgv(argv []string) {
	if i := slices.Index(argv, "-m"); i < 0 || i+1 >= len(argv) || !strings.HasPrefix(argv[i+1], "synapse.") {
		return
	}
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

func (f facts) older(than string) bool {
	return f.version != "" && semver.Compare("v"+f.version, "v"+than) < 0
}

func (f facts) decide(site *steps.Site, c *Package) steps.Decision {
	fail := func(summary, hint string) steps.Decision {
		return steps.Decision{Findings: []steps.Finding{steps.Error.Finding(summary, hint)}}
	}
	const wayOut = `use synapse "external" {}: ecdeploy then says which settings are needed and checks them`
	inContainer, isContainer := synapseContainer(f.others)
	switch {
	case len(f.others.Managers) > 0 && len(f.unit.Configs) == 0:
		return fail("Synapse on "+f.name+" belongs to "+strings.Join(f.others.Managers, ", ")+", which would overwrite edits of its files and is not supported yet", wayOut)
	case isContainer && len(f.unit.Configs) == 0:
		return fail("Synapse on "+f.name+" runs in "+inContainer+", and ecdeploy does not edit files of containers yet", wayOut)
	case !f.unit.Found:
		return fail("there is no unit "+c.Unit+" on "+f.name, `apt install matrix-synapse, or name the unit with unit = "..." in synapse "debian" {}; for a Synapse in a container `+wayOut)
	case !f.unit.Active:
		return fail("Synapse ("+c.Unit+") does not run on "+f.name, "systemctl status "+c.Unit)
	case f.problem != "":
		return fail("Synapse's configuration cannot be read: "+f.problem, "systemctl cat "+c.Unit)
	case len(f.files) == 0:
		return fail("Synapse's configuration files cannot be told from "+c.Unit, wayOut)
	case f.older(leastVersion):
		return fail("Synapse "+f.version+" on "+f.name+" is too old: MatrixRTC transports came with 1.140", "upgrade it, from Debian's backports or https://packages.matrix.org/debian/")
	case f.otherName(site) != "":
		return fail("Synapse on "+f.name+" is the homeserver of "+f.otherName(site)+", not of "+site.Name, `the label of a site is the part of Matrix IDs behind the colon: site "`+f.otherName(site)+`" { ... }`)
	case len(f.workerNames()) > 0:
		return fail("Synapse has workers on "+f.name+" ("+strings.Join(f.workerNames(), ", ")+"), which are not supported yet: each would need a restart", wayOut)
	}
	want := f.wants(site.Needs(), c.MaxDelay)
	var d steps.Decision
	d.Findings = append(f.others.Warn(f.name, "Synapse's files", wayOut), f.notes()...)
	if isContainer {
		d.Findings = append(d.Findings, steps.Warning.Finding("beside "+c.Unit+", a Synapse runs in "+inContainer+" on "+f.name+"; the unit's is edited", "if the site's is the other one, "+wayOut))
	}
	edits, err := want.edit(f.files)
	if err != nil {
		d.Findings = append(d.Findings, steps.Refusal("Synapse's configuration", err))
		return d
	}
	d.Checks = synapseChecks(site, c, f)
	if len(edits) == 0 {
		return d
	}
	d.Changes = []steps.Change{&steps.Files{
		Title: title, Edits: edits, Unit: c.Unit, Action: "restart", Timeout: c.StartTimeout,
		Overlay: steps.OverlayTops(synapseDir, edits), Check: f.checker(),
		Interrupt: interruptSynapse,
	}}
	return d
}

// checker runs Synapse's own configuration check as the unit's user, so that
// what it may create belongs to that user.
func (f facts) checker() string {
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

// synapseImage finds images of Synapse by the last part of their name.
var synapseImage = regexp.MustCompile(`(^|/)(matrix-)?synapse(:|@|$)`)

// synapseContainer is a container in which Synapse runs.
func synapseContainer(n steps.Neighbours) (string, bool) {
	return n.Find(func(c steps.RunningContainer) bool { return synapseImage.MatchString(c.Image) })
}
