package steps

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// Removal is a component's container and files.
type Removal struct {
	Component string // its folder in the site's
	Container string
	Files     []string      // in that folder
	Grace     time.Duration // before the container is killed
	Interrupt string        // what stops
	// Offers are the candidates for secrets in Files, on the host name.
	Offers func(name string, files []host.File) []Secret
}

type removalFacts struct {
	Removal
	name      string
	files     map[string]host.File
	container ContainerFacts
	engine    host.Result
	others    []ContainerFacts // of the site, under other names
}

// RemoveContainer takes a component's container and files away.
func RemoveContainer(site *Site, r Removal) Step {
	dir := site.Dir() + "/" + r.Component
	probe := func(ctx context.Context, o host.Observer) (removalFacts, error) {
		paths := []string{"/etc/ecdeploy", dir}
		for _, f := range r.Files {
			paths = append(paths, dir+"/"+f)
		}
		files, _, res, err := Look(ctx, o, paths, QueryContainer(r.Container), host.Cmd{Argv: []string{"docker", "version", "--format", "{{.Server.Version}}"}},
			host.Cmd{Argv: []string{"docker", "ps", "-a", "--no-trunc", "--filter", "label=" + LabelSite + "=" + site.Name, "--format", "{{.ID}}\t{{.Names}}"}})
		if err != nil {
			return removalFacts{}, err
		}
		f := removalFacts{Removal: r, name: o.Name(), files: files, engine: res[1], others: otherNames(site, string(res[2].Stdout))}
		f.container, err = ParseContainer(res[0])
		return f, err
	}
	share := func(f removalFacts, s *Shared) {
		var files []host.File
		for _, name := range r.Files {
			files = append(files, f.files[dir+"/"+name])
		}
		s.Offers = append(s.Offers, r.Offers(f.name, files)...)
	}
	return Define("remove-"+r.Component, probe, share, func(f removalFacts, s Shared) (Decision, error) { return f.decide(site, s), nil })
}

// otherNames are the containers of a site, in lines ID, tab, NAME, that the plan file
// does not name any more. Those that a run has set aside are no such.
func otherNames(site *Site, lines string) []ContainerFacts {
	var out []ContainerFacts
	for line := range strings.Lines(lines) {
		id, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
		named := slices.ContainsFunc(site.Parts, func(p Part) bool { return p.Run != nil && p.Run.Container == name })
		if id != "" && !named && !strings.Contains(name, ".ecdeploy-") {
			out = append(out, ContainerFacts{ID: id, Name: name})
		}
	}
	return out
}

func (f removalFacts) decide(site *Site, s Shared) Decision {
	var d Decision
	dir := site.Dir() + "/" + f.Removal.Component
	var edits []FileEdit
	for _, name := range f.Removal.Files {
		p := dir + "/" + name
		if file := f.files[p]; file.Exists {
			edits = append(edits, FileEdit{Path: p, Before: secretDigest(p, file.Data, s.Secrets), Remove: true})
		}
	}
	var dirs []string
	if f.files["/etc/ecdeploy"].Exists {
		dirs = []string{dir, site.Dir(), "/etc/ecdeploy"}
	}
	// Once on a host that has several components.
	if here := site.ContainersOn(f.name); len(here) > 0 && here[0].Run.Container == f.Removal.Container {
		for _, c := range f.others {
			d.Changes = append(d.Changes, &Container{Site: site.Name, Spec: host.ContainerSpec{Name: c.Name, StopTimeout: f.Removal.Grace}, Gone: true, Replaces: c.ID,
				Why: []string{"the site's, though the plan file does not name it any more", "it is set aside until `ecdeploy prune`"}, Interrupt: f.Removal.Interrupt})
		}
	}
	ours := f.container.Found && f.container.Labels[LabelSite] == site.Name
	switch {
	case !f.engine.OK() && f.engine.Code != 127:
		d.Findings = append(d.Findings, Error.Finding("the Docker engine on "+f.name+" does not answer", "systemctl status docker"))
		return d
	case ours:
		spec := host.ContainerSpec{Name: f.Removal.Container, StopTimeout: f.Removal.Grace}
		d.Changes = append(d.Changes, &Container{Site: site.Name, Spec: spec, Gone: true, Edits: edits, Rmdirs: dirs, Replaces: f.container.ID,
			Why: []string{"it is set aside until `ecdeploy prune`", "its image is kept"}, Interrupt: f.Removal.Interrupt})
		return d
	case f.container.Found:
		d.Findings = append(d.Findings, Note.Finding("container "+f.Removal.Container+" on "+f.name+" is not the site's and stays", ""))
	}
	if len(edits) > 0 {
		d.Changes = append(d.Changes, &Files{Title: "files of " + f.Removal.Component, Edits: edits, Rmdirs: dirs})
	}
	return d
}
