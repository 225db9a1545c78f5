package synapse

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// title is that of the change to files of others. The hosts remember it: by it a site's
// edits are found again when it is taken away.
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
	version string // "1.160.0"; "" where it is unknown
	workers []string
	others  steps.Neighbours
	unseen  bool // nobody read the configuration, so that even defaults need to be named
}

// configure makes the effective configuration right.
func (c *Service) configure(site *steps.Site) steps.Step {
	return steps.Define("synapse", c.probe, nil, func(f facts, _ steps.Shared) (steps.Decision, error) { return f.decide(site, c), nil })
}

func (c *Service) probe(ctx context.Context, o host.Observer) (facts, error) {
	usual := c.From.traits().configs
	_, all, res, err := steps.Look(ctx, o, configPaths(usual),
		queryUnit(c.Unit), queryVersion(c.From, c.Unit), queryWorkers, steps.QueryNeighbours)
	if err != nil {
		return facts{}, err
	}
	f := facts{name: o.Name(), unit: parseUnit(res[0]), version: upstreamVersion(string(res[1].Stdout)), others: steps.ParseNeighbours(res[3])}
	for line := range strings.Lines(string(res[2].Stdout)) {
		if w := strings.Fields(line); len(w) > 0 && w[0] != c.Unit {
			f.workers = append(f.workers, w[0])
		}
	}
	if !f.unit.Found {
		return f, nil
	}
	if err := f.unit.readEnvironment(ctx, o); err != nil {
		return f, err
	}
	if f.problem = f.unit.incomplete(); f.problem != "" {
		return f, nil
	}
	if !slices.Equal(f.unit.Configs, usual) {
		if all, err = o.Read(ctx, configPaths(f.unit.Configs)...); err != nil {
			return f, err
		}
	}
	f.load(all)
	return f, nil
}

// queryWorkers lists units and processes of workers, the first word of each line. Its
// patterns do not match themselves, since the sh that runs them is a process, too.
var queryWorkers = host.Sh(`systemctl list-units --plain --no-legend 'matrix-synapse-worker*' 'matrix-synapse@*' 'synapse-worker*' 'synapse@*' 2>/dev/null
ps -eo args= 2>/dev/null | grep -o -e 'synapse\.app\.[a-z_]*' -e 'bin/synapse[_]worker' | grep -v -e homeserver -e complement | sort -u`)

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

func (f facts) older(than string) bool {
	return f.version != "" && semver.Compare("v"+f.version, "v"+than) < 0
}

// wayOut is what to do where ecdeploy does not edit a Synapse.
const wayOut = `use synapse "external" {}: ecdeploy then says which settings are needed and checks them`

// refusal is why this Synapse is not configured; false where it is.
func (f facts) refusal(site *steps.Site, c *Service) (steps.Finding, bool) {
	fail := func(summary, hint string) (steps.Finding, bool) { return steps.Error.Finding(summary, hint), true }
	inContainer, isContainer := synapseContainer(f.others)
	switch {
	case len(f.others.Managers) > 0 && len(f.unit.Configs) == 0:
		return fail("Synapse on "+f.name+" belongs to "+strings.Join(f.others.Managers, ", ")+
			", which would overwrite edits of its files and is not supported yet", wayOut)
	case isContainer && len(f.unit.Configs) == 0:
		return fail("Synapse on "+f.name+" runs in "+inContainer+", and ecdeploy does not edit files of containers yet", wayOut)
	case !f.unit.Found:
		return fail("there is no unit "+c.Unit+" on "+f.name, c.From.traits().install+"; for a Synapse in a container "+wayOut)
	case !f.unit.Active:
		return fail("Synapse ("+c.Unit+") does not run on "+f.name, "systemctl status "+c.Unit)
	case f.problem != "":
		return fail("Synapse's configuration cannot be read: "+f.problem, "systemctl cat "+c.Unit)
	case f.unit.Program != "":
		return fail(c.Unit+" on "+f.name+" starts "+f.unit.Program+
			", which is not a program of Synapse's, so it is unknown which files Synapse reads",
			"let its ExecStart= be `PYTHON -m synapse.app.homeserver --config-path=FILE`, or "+wayOut)
	case len(f.files) == 0:
		return fail("Synapse's configuration files cannot be determined from "+c.Unit, wayOut)
	case f.older(leastVersion):
		return fail("Synapse "+f.version+" on "+f.name+" is too old: MatrixRTC transports came with 1.140", c.From.traits().upgrade)
	case f.otherName(site) != "":
		return fail("Synapse on "+f.name+" is the homeserver of "+f.otherName(site)+", not of "+site.Name,
			`the label of a site is the part of Matrix IDs behind the colon: site "`+f.otherName(site)+`" { ... }`)
	case len(f.workerNames()) > 0:
		return fail("Synapse has workers on "+f.name+" ("+strings.Join(f.workerNames(), ", ")+
			"), which are not supported yet: each would need a restart", wayOut)
	}
	return steps.Finding{}, false
}

func (f facts) decide(site *steps.Site, c *Service) steps.Decision {
	var d steps.Decision
	if why, refused := f.refusal(site, c); refused {
		d.Findings = []steps.Finding{why}
		return d
	}
	for _, file := range f.files {
		d.Stands = append(d.Stands, steps.Ref{Kind: steps.EntryLines, Name: file.Path})
	}
	want := f.wants(site.Needs(), c.MaxDelay)
	d.Findings = append(f.others.Warn(f.name, "Synapse's files", wayOut), f.notes(c.From)...)
	if v, ok := f.effective("max_event_delay_duration"); ok && synapseDuration(v) > synapseDuration(c.MaxDelay) {
		d.Findings = append(d.Findings, steps.Note.Finding(fmt.Sprintf("Synapse on %s lets delayed events wait for %s, longer than the %s that the plan file asks for; it stays so",
			f.name, yamlWords(v), c.MaxDelay), "set max_event_delay_duration in its configuration by hand to shorten it"))
	}
	if inContainer, isContainer := synapseContainer(f.others); isContainer {
		d.Findings = append(d.Findings, steps.Warning.Finding("besides "+c.Unit+", a Synapse runs in "+inContainer+" on "+f.name+"; the unit's is edited",
			"if the site's is the other one, "+wayOut))
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
		Overlay: overlay(edits), Check: f.checker(),
		Interrupt: interruptSynapse, Answers: f.answers(c),
	}}
	return d
}

// answers are the checks that this Synapse is up, whatever becomes of the site.
func (f facts) answers(c *Service) []steps.Check {
	base := f.localURL()
	if base == "" {
		return nil
	}
	return []steps.Check{{
		Name:    "Synapse answers",
		HTTP:    &steps.HTTPCheck{URL: base + "/_matrix/client/versions", Status: 200},
		Timeout: c.StartTimeout,
		Logs:    "unit:" + c.Unit,
		Hint:    "journalctl -u " + c.Unit,
	}}
}

// overlay are the folders that Synapse's checker must see as they will be: those of
// the edited files, wherever the unit reads them from.
func overlay(edits []steps.FileEdit) []string {
	return steps.OverlayTops(path.Dir(edits[0].Path), edits)
}

// checker is Synapse's own configuration check. It runs as the unit's user, so that
// what it may create belongs to that user, and in the unit's folder, to which paths in
// the configuration may be relative.
func (f facts) checker() *steps.Validator {
	argv := []string{f.unit.Interpreter, "-m", "synapse.config"}
	for _, c := range f.unit.Configs {
		argv = append(argv, "-c", c)
	}
	return &steps.Validator{Argv: argv, Dir: f.unit.folder(), User: f.unit.User}
}

// synapseImage finds images of Synapse by the last part of their name.
var synapseImage = regexp.MustCompile(`(^|/)(matrix-)?synapse(:|@|$)`)

// synapseContainer is a container in which Synapse runs.
func synapseContainer(n steps.Neighbours) (string, bool) {
	return n.Find(func(c steps.RunningContainer) bool { return synapseImage.MatchString(c.Image) })
}
