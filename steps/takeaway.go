package steps

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// Removal is what is to be taken away on a host.
type Removal struct {
	Site    *Site
	Ledger  Ledger
	Entries []Entry // of the site, which nobody wants
	Secrets Secrets // the site's
	// Whole says that nothing of the site is to be left, on any host.
	Whole bool
}

// Plan looks at the things and decides how they go, a step for each stage and step
// that made them. What is unknown or differs from what was made stays, and a finding
// says so.
func (r Removal) Plan(ctx context.Context, o host.Observer) ([]StepPlan, error) {
	for i, e := range r.Entries {
		r.Entries[i].Reader = cmp.Or(e.Reader, r.reader(e, o.Name()))
	}
	look, err := r.look(ctx, o)
	if err != nil {
		return nil, err
	}
	type maker struct {
		stage Stage
		step  string
	}
	groups := map[maker][]Entry{}
	of := func(e Entry) maker { return maker{e.Stage, e.Step} }
	last := map[string]maker{} // who wrote last into a file of somebody else's: it is one edit
	for _, e := range r.Entries {
		if e.Kind == EntryLines {
			last[e.Name] = of(e)
		}
	}
	for _, e := range r.Entries {
		k := of(e)
		if e.Kind == EntryLines {
			k = last[e.Name]
		}
		if e.Kind != EntryEffect {
			groups[k] = append(groups[k], e)
		}
	}
	makers := slices.SortedFunc(maps.Keys(groups), func(a, b maker) int {
		all := Stages()
		return cmp.Or(slices.Index(all, b.stage)-slices.Index(all, a.stage), cmp.Compare(b.step, a.step))
	})
	var out []StepPlan
	for _, k := range makers {
		p, err := look.group(groups[k])
		if err != nil {
			return nil, err
		}
		p.Stage, p.Step = k.stage, k.step
		for i := range p.Findings {
			if !r.Whole && p.Findings[i].Severity == Error { // what stays does not stop what comes
				p.Findings[i].Severity = Warning
			}
		}
		out = append(out, p)
	}
	return out, nil
}

// reader is what reads the lines of a version that did not write it down: the service
// of the site's part that is called as the change was.
func (r Removal) reader(e Entry, on string) *Reader {
	if e.Kind != EntryLines || !e.Lost {
		return nil
	}
	for _, p := range r.Site.On(on) {
		if p.Unit != nil && p.Unit.Title == e.Title {
			out := &Reader{Unit: p.Unit.Name, Action: "restart"}
			if p.Proxy != nil {
				out.Action = "reload"
			}
			return out
		}
	}
	return nil
}

// looked is what was found of the things.
type looked struct {
	Removal
	on         string
	files      map[string]host.File
	engine     bool // the Docker engine answers
	containers map[string]ContainerFacts
	active     map[string]bool // units that run
	programs   map[string]bool // programs of validators that are there
}

func (r Removal) look(ctx context.Context, o host.Observer) (looked, error) {
	l := looked{Removal: r, on: o.Name(), containers: map[string]ContainerFacts{}, active: map[string]bool{}, programs: map[string]bool{}}
	var paths, containers, units, programs []string
	for _, e := range r.Entries {
		switch e.Kind {
		case EntryFile:
			paths = append(paths, e.Name, e.Dir()+"/sum")
		case EntryLines:
			before, after := e.imagePaths()
			paths = append(paths, e.Name, before, after)
		case EntryContainer:
			containers = append(containers, e.Name)
		case EntryAside:
			containers = append(containers, e.Name, e.Aside)
			paths = append(paths, e.Dir()+"/container.id", e.Dir()+"/container.restart", e.Dir()+"/container.running", e.Dir()+"/container.paused")
		}
		if e.Reader != nil && e.Reader.Unit != "" {
			units = append(units, e.Reader.Unit)
		}
		if e.Reader != nil && e.Reader.Validator != nil && len(e.Reader.Validator.Argv) > 0 {
			programs = append(programs, e.Reader.Validator.Argv[0])
		}
	}
	slices.Sort(paths)
	cmds := []host.Cmd{
		host.Sh("if command -v docker >/dev/null; then docker version --format '{{.Server.Version}}'; elif [ -S /run/docker.sock ]; then exit 1; else exit 127; fi"),
		host.Sh(`for u; do if [ -d /run/systemd/system ]; then systemctl -q is-active "$u"; else service "${u%.service}" status >/dev/null 2>&1; fi && echo "$u"; done; true`, units...),
		host.Sh(`for p; do command -v "$p" >/dev/null && echo "$p"; done; true`, programs...),
	}
	for _, name := range containers {
		cmds = append(cmds, QueryContainer(name))
	}
	files, _, res, err := Look(ctx, o, slices.Compact(paths), cmds...)
	if err != nil {
		return l, err
	}
	l.files, l.engine = files, res[0].OK() || res[0].Code == 127 // without Docker there is no container
	for unit := range strings.Lines(string(res[1].Stdout)) {
		l.active[strings.TrimSpace(unit)] = true
	}
	for program := range strings.Lines(string(res[2].Stdout)) {
		l.programs[strings.TrimSpace(program)] = true
	}
	for i, name := range containers {
		if r := res[3+i]; l.engine && !r.OK() && r.Code != 127 && !bytes.Contains(r.Stderr, []byte("No such")) {
			l.engine = false // it answered one question and not the other
		}
		if l.containers[name], err = ParseContainer(res[3+i]); err != nil {
			return l, err
		}
	}
	return l, nil
}

// group takes away what one step made.
func (l looked) group(entries []Entry) (StepPlan, error) {
	var p StepPlan
	var edits []FileEdit
	var gone []string // entries whose things are not there any more
	var lines foreignFiles
	layers := map[string][]string{}
	container := -1
	var aside []Entry
	for i, e := range entries {
		switch e.Kind {
		case EntryContainer:
			if container >= 0 { // one more that the step made: on its own
				more, err := l.group(entries[i : i+1])
				if err != nil {
					return p, err
				}
				p.Changes, p.Findings = append(p.Changes, more.Changes...), append(p.Findings, more.Findings...)
				continue
			}
			container = i
		case EntryAside:
			aside = append(aside, e)
		case EntryFile:
			edit, found := l.file(e)
			switch {
			case edit != nil:
				edits = append(edits, *edit)
			case found != nil:
				p.Findings = append(p.Findings, *found)
			default:
				gone = append(gone, e.ID)
			}
		case EntryLines:
			layer, err := l.layer(e)
			if err != nil {
				p.Findings = append(p.Findings, stays(l.on, e, err.Error()))
				continue
			}
			lines.layers = append(lines.layers, layer)
			layers[e.Name] = append(layers[e.Name], e.ID)
		default:
			p.Findings = append(p.Findings, stays(l.on, e, fmt.Sprintf("this version of ecdeploy does not know what a %q is", e.Kind)))
		}
	}
	lines.files = l.files
	for _, e := range edits {
		lines.gone = append(lines.gone, e.Path)
	}
	back, texts, findings, err := lines.undo()
	if err != nil {
		return p, err
	}
	p.Findings = append(p.Findings, findings...)
	p.Findings = append(p.Findings, l.announced(texts)...)
	done := map[string]bool{}
	for i := range back {
		for name, ids := range layers {
			if l.files[name].Real == back[i].Path {
				back[i].Undoes, done[name] = ids, true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(layers)) {
		if _, known := texts[l.files[name].Real]; !done[name] && (known || !l.files[name].Exists) {
			gone = append(gone, layers[name]...)
		}
	}
	edits = append(back, edits...)
	if container >= 0 {
		change, found := l.container(entries[container], edits)
		switch {
		case found != nil:
			p.Findings = append(p.Findings, *found)
			return p, nil
		case change == nil:
			gone = append(gone, entries[container].ID)
		default:
			p.Changes, edits = append(p.Changes, change), nil
			change.Leave, gone = gone, nil
		}
	}
	for _, e := range aside {
		change, finding := l.back(e, p.Changes)
		if finding != nil {
			p.Findings = append(p.Findings, *finding)
		}
		if change != nil {
			p.Changes = append(p.Changes, change)
		}
	}
	if len(edits)+len(gone) > 0 {
		p.Changes = append(p.Changes, l.rewrite(entries, edits, gone))
		if reader := readerOf(entries); reader != nil && l.active[reader.Unit] && len(edits) > 0 {
			p.Checks = reader.Checks
		}
	}
	return p, nil
}

// stays is the finding for a thing that is not taken away.
func stays(on string, e Entry, why string) Finding {
	return Warning.Finding(fmt.Sprintf("%s on %s stays: %s", e.Name, on, why), "look at it, and take it away by hand if nothing needs it")
}

// file is the edit that removes a file of our own; neither an edit nor a finding says
// that it is not there any more.
func (l looked) file(e Entry) (*FileEdit, *Finding) {
	f, sum := l.files[e.Name], strings.TrimSpace(string(l.files[e.Dir()+"/sum"].Data))
	switch {
	case !f.Exists && f.Err == "":
		return nil, nil
	case f.Err != "" || !f.Mode.IsRegular() || f.Real != e.Name:
		found := stays(l.on, e, cmp.Or(f.Err, "it is no regular file any more"))
		return nil, &found
	case Digest(f.Data, Secrets{}) != sum && !e.Lost:
		found := stays(l.on, e, "somebody else changed it since ecdeploy wrote it")
		return nil, &found
	}
	edit := FileEdit{Path: e.Name, Before: secretDigest(e.Name, f.Data, l.Secrets), Remove: true}
	if e.Reader != nil { // what a container reads may hold secrets
		edit.Before, edit.Diff = Digest(f.Data, Secrets{}), OwnDiff(e.Name, string(f.Data), "", 0)
	}
	return &edit, nil
}

func (l looked) layer(e Entry) (layer, error) {
	beforePath, afterPath := e.imagePaths()
	before, after := l.files[beforePath], l.files[afterPath]
	if !before.Exists || !after.Exists || before.Err != "" || after.Err != "" {
		return layer{}, fmt.Errorf("what ecdeploy did to it cannot be read: %s", beforePath)
	}
	return layer{Path: e.Name, Before: before.Data, After: after.Data}, nil
}

// announced are the files that would still tell clients of the backend.
func (l looked) announced(texts map[string][]byte) []Finding {
	var out []Finding
	url := l.Site.ServiceURL()
	for _, p := range slices.Sorted(maps.Keys(texts)) {
		text := bytes.ReplaceAll(texts[p], []byte(`\/`), []byte("/")) // as some write JSON
		if l.Whole && url != "" && bytes.Contains(text, []byte(url)) {
			out = append(out, Error.Finding(p+" would still announce "+url+" to clients", "take it out there by hand, then run ecdeploy again"))
		}
	}
	return out
}

// container is the change that ends a container, with its files; neither a change nor
// a finding says that it is not there any more.
func (l looked) container(e Entry, edits []FileEdit) (*Container, *Finding) {
	f := l.containers[e.Name]
	switch {
	case !l.engine:
		found := stays(l.on, e, "the Docker engine does not answer")
		return nil, &found
	case !f.Found:
		return nil, nil
	case f.Labels[LabelSite] != l.Site.Name:
		found := stays(l.on, e, "it is another container now, which is not the site's")
		return nil, &found
	}
	c := &Container{Site: l.Site.Name, Gone: true, Edits: edits, Replaces: f.ID, Why: []string{"it is set aside until `ecdeploy prune`", "its image is kept"}}
	c.Spec.Name = e.Name
	if e.Stop != nil {
		c.Spec.StopTimeout = time.Duration(e.Stop.Grace) * time.Second
		if f.Running {
			c.Interrupt = e.Stop.Interrupt
		}
	}
	return c, nil
}

// back brings a container of somebody else's back: with the change that ends ours,
// where that is among changes, else by one of its own.
func (l looked) back(e Entry, changes []Change) (Change, *Finding) {
	text := func(name string) string { return strings.TrimSpace(string(l.files[e.Dir()+"/"+name].Data)) }
	record := &Files{Title: "record of container " + e.Name + " from before", Leave: []string{e.ID}}
	now, taken := l.containers[e.Aside], l.containers[e.Name]
	var ours *Container
	for _, c := range changes {
		if c, ok := c.(*Container); ok && c.Spec.Name == e.Name {
			ours, taken = c, ContainerFacts{}
		}
	}
	switch {
	case !l.engine:
		found := stays(l.on, e, "the Docker engine does not answer")
		return nil, &found
	case taken.Found && taken.ID == text("container.id"): // somebody has brought it back
		return record, nil
	case !now.Found:
		found := Warning.Finding("container "+e.Name+" from before ecdeploy is not there any more on "+l.on+", so it does not come back (it was called "+e.Aside+")", "")
		return record, &found
	case taken.Found:
		found := stays(l.on, Entry{Name: e.Aside}, "its old name "+e.Name+" belongs to another container")
		return nil, &found
	}
	back := &Back{ID: now.ID, Aside: e.Aside, Restart: text("container.restart"), Running: text("container.running") == "true", Paused: text("container.paused") == "true"}
	if ours != nil {
		ours.Back, ours.Leave = back, append(ours.Leave, e.ID)
		return nil, nil
	}
	alone := &Container{Site: l.Site.Name, Gone: true, Back: back, Leave: []string{e.ID}}
	alone.Spec.Name = e.Name
	return alone, nil
}

func readerOf(entries []Entry) *Reader {
	for _, e := range entries {
		if e.Reader != nil {
			return e.Reader
		}
	}
	return nil
}

// rewrite is the change of files that were made alike, and what tells their reader.
func (l looked) rewrite(entries []Entry, edits []FileEdit, gone []string) *Files {
	c := &Files{Title: entries[0].Title, Edits: edits, Leave: gone}
	r := readerOf(entries)
	if r == nil || len(edits) == 0 {
		return c
	}
	if v := r.Validator; v != nil && len(v.Argv) > 0 && l.programs[v.Argv[0]] && (v.Unit == "" || l.active[v.Unit]) {
		c.Check = v
		if r.Overlay != "" {
			c.Overlay = OverlayTops(r.Overlay, edits)
		}
	}
	switch {
	case r.Action == DaemonReload:
		c.Action = r.Action
	case r.Unit != "" && l.active[r.Unit]:
		c.Unit, c.Action, c.Interrupt, c.Timeout = r.Unit, r.Action, r.Interrupt, time.Duration(r.Timeout)*time.Second
	}
	return c
}

// Silent is the check that clients are no longer told of a backend, at the public URL
// of the client well-known.
func Silent(url, dial, service string) Check {
	return Check{
		Name: "the client well-known announces the backend no longer", HTTP: &HTTPCheck{URL: url, Dial: dial, Unsaid: service},
		Timeout: RouteTimeout, Hint: "take " + service + " out of what is served at " + url,
	}
}
