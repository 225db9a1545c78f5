package steps

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
)

// This file has the steps that take a site away from its hosts again. Our own
// files, containers and rules go; files of others are as they were, but for what
// somebody else changed in them since.

// removal is a component's container and files.
type removal struct {
	component string // its folder in the site's
	container string
	files     []string // in that folder
	interrupt string
	offers    func(name string, files []host.File) []Secret // the candidates in files, on the host name
}

type removalFacts struct {
	removal
	name      string
	files     map[string]host.File
	container containerFacts
	engine    host.Result
	others    []containerFacts // of the site, under other names
}

// RemoveSFU takes away a site's LiveKit.
func RemoveSFU(site Site) Step {
	return removeComponent(site, removal{"sfu", site.SFU.Container, []string{"livekit-config.yaml", "keys.yaml"}, "LiveKit ends: calls on it are cut",
		func(name string, files []host.File) []Secret { return sfuOffers(name, files[1]) }})
}

// RemoveAuth takes away a site's JWT service.
func RemoveAuth(site Site) Step {
	return removeComponent(site, removal{"auth", site.Auth.Container, []string{"key", "secret"}, "the JWT service ends: nobody can join a call any more",
		func(name string, files []host.File) []Secret { return authOffers(name, files[0], files[1]) }})
}

func removeComponent(site Site, r removal) Step {
	dir := site.Dir() + "/" + r.component
	probe := func(ctx context.Context, o host.Observer) (removalFacts, error) {
		paths := []string{"/etc/ecdeploy", dir}
		for _, f := range r.files {
			paths = append(paths, dir+"/"+f)
		}
		files, _, res, err := look(ctx, o, paths, queryContainer(r.container), host.Cmd{Argv: []string{"docker", "version", "--format", "{{.Server.Version}}"}},
			host.Cmd{Argv: []string{"docker", "ps", "-a", "--no-trunc", "--filter", "label=" + LabelSite + "=" + site.Name, "--format", "{{.ID}}\t{{.Names}}"}})
		if err != nil {
			return removalFacts{}, err
		}
		f := removalFacts{removal: r, name: o.Name(), files: files, engine: res[1], others: otherNames(site, string(res[2].Stdout))}
		f.container, err = parseContainer(res[0])
		return f, err
	}
	share := func(f removalFacts, s *Shared) {
		var files []host.File
		for _, name := range r.files {
			files = append(files, f.files[dir+"/"+name])
		}
		s.Offers = append(s.Offers, r.offers(f.name, files)...)
	}
	return Define("remove-"+r.component, probe, share, func(f removalFacts, s Shared) (Decision, error) { return f.decide(site, s), nil })
}

// otherNames are the containers of a site, in lines ID, tab, NAME, that the plan file
// does not name any more. Those that a run has set aside are no such.
func otherNames(site Site, lines string) []containerFacts {
	var out []containerFacts
	for line := range strings.Lines(lines) {
		id, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if id != "" && name != site.SFU.Container && name != site.Auth.Container && !strings.Contains(name, ".ecdeploy-") {
			out = append(out, containerFacts{ID: id, Name: name})
		}
	}
	return out
}

func (f removalFacts) decide(site Site, s Shared) Decision {
	var d Decision
	dir := site.Dir() + "/" + f.removal.component
	var edits []FileEdit
	for _, name := range f.removal.files {
		p := dir + "/" + name
		if file := f.files[p]; file.Exists {
			edits = append(edits, FileEdit{Path: p, Before: secretDigest(p, file.Data, s.Secrets), Remove: true})
		}
	}
	var dirs []string
	if f.files["/etc/ecdeploy"].Exists {
		dirs = []string{dir, site.Dir(), "/etc/ecdeploy"}
	}
	// Once on a host that has both components.
	if f.removal.component == "sfu" || site.SFU.Host != site.Auth.Host {
		for _, c := range f.others {
			d.Changes = append(d.Changes, &Container{Site: site.Name, Spec: host.ContainerSpec{Name: c.Name, StopTimeout: sfuGrace}, Gone: true, Replaces: c.ID,
				Why: []string{"the site's, though the plan file does not name it any more", "it is set aside until `ecdeploy prune`"}, Interrupt: f.removal.interrupt})
		}
	}
	ours := f.container.Found && f.container.Labels[LabelSite] == site.Name
	switch {
	case !f.engine.OK() && f.engine.Code != 127:
		d.Findings = append(d.Findings, Finding{Error, "the Docker engine on " + f.name + " does not answer", "systemctl status docker"})
		return d
	case ours:
		spec := host.ContainerSpec{Name: f.removal.container, StopTimeout: sfuGrace}
		d.Changes = append(d.Changes, &Container{Site: site.Name, Spec: spec, Gone: true, Edits: edits, Rmdirs: dirs, Replaces: f.container.ID,
			Why: []string{"it is set aside until `ecdeploy prune`", "its image is kept"}, Interrupt: f.removal.interrupt})
		return d
	case f.container.Found:
		d.Findings = append(d.Findings, Finding{Note, "container " + f.removal.container + " on " + f.name + " is not the site's and stays", ""})
	}
	if len(edits) > 0 {
		d.Changes = append(d.Changes, &Files{Title: "files of " + f.removal.component, Edits: edits, Rmdirs: dirs})
	}
	return d
}

// RemoveWellKnown takes the announcement out of a static client well-known.
func RemoveWellKnown(site Site, c WellKnownFile) Step {
	probe := func(ctx context.Context, o host.Observer) (removeWellKnownFacts, error) {
		_, all, res, err := look(ctx, o, []string{c.Path}, queryOrigins(site))
		if err != nil {
			return removeWellKnownFacts{}, err
		}
		f, err := readForeign(ctx, o, res[0], titleWellKnown)
		return removeWellKnownFacts{f, all[0]}, err
	}
	return Define("remove-well-known", probe, nil, func(f removeWellKnownFacts, _ Shared) (Decision, error) { return f.decide(site) })
}

type removeWellKnownFacts struct {
	foreignFacts
	now host.File
}

func (f removeWellKnownFacts) decide(site Site) (Decision, error) {
	edits, texts, findings, err := f.takeBack()
	d := Decision{Findings: findings}
	if err != nil {
		return d, err
	}
	text, known := texts[f.now.Real]
	if !known {
		text = f.now.Data
	}
	if announces(text, site) {
		d.Findings = append(d.Findings, Finding{Error, f.now.Path + " would still announce " + site.Auth.URL + " to clients", "take that element of " + rtcFociName + " out by hand, then run ecdeploy again"})
	}
	if len(edits) > 0 {
		d.Changes = []Change{&Files{Title: titleWellKnown, Edits: edits}}
	}
	return d, nil
}

// announces reports whether a client well-known names the site's JWT service.
func announces(text []byte, site Site) bool {
	v, _, err := splice.JSONGet(text, splice.Path{rtcFociName})
	if err != nil {
		return bytes.Contains(text, []byte(site.Auth.URL))
	}
	return namesService(v, site)
}

// namesService reports whether a list of transports has the site's JWT service.
func namesService(v any, site Site) bool {
	list, _ := v.([]any)
	return slices.ContainsFunc(list, func(t any) bool {
		m, _ := t.(splice.Map)
		url, _ := m.Get("livekit_service_url").(string)
		return strings.TrimRight(url, "/") == site.Auth.URL
	})
}

type removeSynapseFacts struct {
	foreignFacts
	synapse synapseFacts
}

// RemoveSynapse takes a site's settings out of a packaged Synapse.
func RemoveSynapse(site Site, c SynapseDebian) Step {
	configure := SynapseOnDebian(site, c)
	probe := func(ctx context.Context, o host.Observer) (removeSynapseFacts, error) {
		now, err := configure.Probe(ctx, o)
		if err != nil {
			return removeSynapseFacts{}, err
		}
		synapse, ok := now.(facts[synapseFacts])
		if !ok {
			return removeSynapseFacts{}, errors.New("look at Synapse: its facts are others")
		}
		res, err := o.Query(ctx, queryOrigins(site))
		if err != nil {
			return removeSynapseFacts{}, err
		}
		f, err := readForeign(ctx, o, res[0], titleSynapse)
		return removeSynapseFacts{f, synapse.found}, err
	}
	return Define("remove-synapse", probe, nil, func(f removeSynapseFacts, _ Shared) (Decision, error) { return f.decide(site, c) })
}

func (f removeSynapseFacts) decide(site Site, c SynapseDebian) (Decision, error) {
	edits, texts, findings, err := f.takeBack()
	d := Decision{Findings: findings}
	if err != nil {
		return d, err
	}
	after := synapseFacts{files: slices.Clone(f.synapse.files)}
	for i, file := range after.files {
		if text, ok := texts[file.Path]; ok {
			after.files[i].Data = text
		}
	}
	if v, _ := after.effective("matrix_rtc", "transports"); namesService(v, site) {
		d.Findings = append(d.Findings, Finding{Error, "Synapse would still announce " + site.Auth.URL + " to clients", "take it out of matrix_rtc.transports by hand (and, where no transport is left, matrix_rtc and experimental_features.msc4143_enabled), restart Synapse, then run ecdeploy again"})
	}
	if len(edits) == 0 {
		return d, nil
	}
	change := Files{Title: titleSynapse, Edits: edits, Timeout: c.StartTimeout, Overlay: overlayTops(synapseDir, edits)}
	if f.synapse.unit.Found && len(f.synapse.unit.Configs) > 0 {
		change.Check = f.synapse.checker()
	}
	if f.synapse.unit.Active {
		change.Unit, change.Action, change.Interrupt = c.Unit, "restart", interruptSynapse
		if base := f.synapse.localURL(); base != "" {
			d.Checks = []Check{{Name: "Synapse answers", HTTP: &HTTPCheck{URL: base + "/_matrix/client/versions", Status: 200}, Timeout: c.StartTimeout, Logs: "unit:" + c.Unit, Hint: "journalctl -u " + c.Unit}}
		}
	}
	d.Changes = []Change{&change}
	return d, nil
}

type removeNginxFacts struct {
	foreignFacts
	nginx nginxFacts
}

// RemoveNginx takes a site's routes out of the nginx on a host.
func RemoveNginx(site Site, c ProxyNginx) Step {
	configure := Nginx(site, c)
	probe := func(ctx context.Context, o host.Observer) (removeNginxFacts, error) {
		now, err := configure.Probe(ctx, o)
		if err != nil {
			return removeNginxFacts{}, err
		}
		nginx, ok := now.(facts[nginxFacts])
		if !ok {
			return removeNginxFacts{}, errors.New("look at nginx: its facts are others")
		}
		res, err := o.Query(ctx, queryOrigins(site))
		if err != nil {
			return removeNginxFacts{}, err
		}
		f, err := readForeign(ctx, o, res[0], titleNginx)
		return removeNginxFacts{f, nginx.found}, err
	}
	return Define("remove-nginx", probe, nil, func(f removeNginxFacts, _ Shared) (Decision, error) { return f.decide(site) })
}

func (f removeNginxFacts) decide(site Site) (Decision, error) {
	edits, _, findings, err := f.takeBack()
	d := Decision{Findings: findings}
	if err != nil {
		return d, err
	}
	w := nginxWriter{facts: f.nginx, site: site}
	for _, p := range slices.Concat(w.stale(nil), w.ownFiles()) {
		w.remove(p)
	}
	edits = append(edits, w.edits...)
	if len(edits) == 0 {
		return d, nil
	}
	change := Files{Title: titleNginx, Edits: edits, Rmdirs: []string{nginxDir + "/ecdeploy"}}
	if f.nginx.installed {
		change.Overlay, change.Check = overlayTops(nginxDir, edits), nginxCheck
	}
	if f.nginx.running {
		change.Unit, change.Action = nginxUnit, "reload"
	}
	d.Changes = []Change{&change}
	return d, nil
}

// RemoveFirewall takes away the site's own rules of ufw.
func RemoveFirewall(site Site, label string) Step {
	probe := func(ctx context.Context, o host.Observer) (ufwFacts, error) { return probeUFW(ctx, o) }
	diff := func(f ufwFacts, _ Shared) (Decision, error) {
		var d Decision
		if label == "none" {
			return d, nil
		}
		if f.problem != "" {
			return Decision{Findings: []Finding{f.silent()}}, nil
		}
		if f.installed && !f.active && len(openings(site, f.name, Shared{})) > 0 {
			d.Findings = []Finding{{Note, "ufw is not active on " + f.name + ", so its rules cannot be told; those for the site have the comment " + ufwComment(site), "ufw show added"}}
		}
		for _, o := range f.stale(site, nil) {
			d.Changes = append(d.Changes, ufwDelete(site, o))
		}
		return d, nil
	}
	return Define("remove-firewall", probe, nil, diff)
}

// RemoveReservedPorts gives ports back to outgoing connections: the site's, or,
// where it was the last one of the host, all that ecdeploy reserved.
func RemoveReservedPorts(site Site) Step {
	probe := func(ctx context.Context, o host.Observer) (portsFacts, error) { return probePorts(ctx, o) }
	return Define("remove-reserved-ports", probe, nil, func(f portsFacts, _ Shared) (Decision, error) { return f.giveBack(site), nil })
}

func (f portsFacts) giveBack(site Site) Decision {
	if !f.file.Exists {
		return Decision{}
	}
	ours := parseRanges(afterEquals(string(f.file.Data)))
	drop := ours
	if slices.ContainsFunc(f.sites, func(s string) bool { return s != site.slug() }) {
		drop = sitePorts(site)
	}
	var others []portRange // reserved by somebody else's files
	for _, s := range f.others {
		others = append(others, s.reserved...)
	}
	others = append(others, reservedBefore(string(f.file.Data))...)
	live := mergeRanges(slices.Concat(subtractRanges(f.reserved, drop), others))
	edit := FileEdit{Path: sysctlFile, Before: digest(f.file.Data, Secrets{}), Remove: true}
	if left := mergeRanges(subtractRanges(ours, drop)); len(subtractRanges(left, others)) > 0 {
		var needed bool
		if edit, needed = ownFile(sysctlFile, f.file, reservedText(left, reservedBefore(string(f.file.Data))), 0o644, 0, Secrets{}); !needed {
			return Decision{}
		}
	}
	c := Files{Title: "reserved ports " + formatRanges(mergeRanges(drop)), Edits: []FileEdit{edit}}
	if f.writable {
		c.Activate, c.Reactivate = setReserved(live), unsetReserved(live, f.reserved)
	}
	return Decision{Changes: []Change{&c}}
}

// subtractRanges are the ports of a that are not in b, sorted and joined.
func subtractRanges(a, b []portRange) []portRange {
	out := mergeRanges(a)
	for _, cut := range b {
		var next []portRange
		for _, r := range out {
			if r.first < cut.first {
				next = append(next, portRange{r.first, min(r.last, cut.first-1)})
			}
			if r.last > cut.last {
				next = append(next, portRange{max(r.first, cut.last+1), r.last})
			}
		}
		out = next
	}
	return out
}

// LeftToOthers says what somebody else has to take away by hand.
func LeftToOthers(what, how string) Step {
	return Define("remove-external", nothing, nil, func(struct{}, Shared) (Decision, error) {
		return Decision{Findings: []Finding{{Note, what + " is somebody else's: " + how, ""}}}, nil
	})
}
