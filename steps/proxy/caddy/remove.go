package caddy

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
)

type removeFacts struct {
	steps.ForeignFacts
	caddy facts
}

// remove takes a site's routes out of the Caddy on a host.
func (c *Config) remove(site *steps.Site) steps.Step {
	probe := func(ctx context.Context, o host.Observer) (removeFacts, error) {
		now, err := c.probe(ctx, o, site)
		if err != nil {
			return removeFacts{}, err
		}
		res, err := o.Query(ctx, steps.QueryOrigins(site))
		if err != nil {
			return removeFacts{}, err
		}
		f, err := steps.ReadForeign(ctx, o, res[0], Title)
		return removeFacts{f, now}, err
	}
	return steps.Define("remove-caddy", probe, nil, func(f removeFacts, _ steps.Shared) (steps.Decision, error) { return f.decide(site, c) })
}

func (f removeFacts) decide(site *steps.Site, c *Config) (steps.Decision, error) {
	edits, texts, findings, err := f.Undo()
	d := steps.Decision{Findings: findings}
	if err != nil {
		return d, err
	}
	w := newWriter(f.caddy, site, c)
	switch {
	case f.caddy.config != nil:
		edits = w.without(edits, texts)
	case f.caddy.unit.active && len(edits)+len(f.caddy.ownFiles()) > 0: // it would not take the rest, and go on as it is
		why, fix := f.caddy.unsupported()
		d.Findings = append(d.Findings, steps.Error.Finding(why+", so the site's routes cannot be removed from it", fix))
		return d, nil
	}
	for _, p := range f.caddy.ownFiles() {
		w.remove(p)
	}
	d.Findings = append(d.Findings, w.findings...)
	if edits = append(edits, w.edits...); len(edits) == 0 {
		return d, nil
	}
	change := &steps.Files{Title: Title, Edits: edits, Rmdirs: []string{ownDir}}
	if f.caddy.unit.active && f.caddy.config != nil {
		change = f.caddy.change(edits, nil)
		change.Rmdirs = []string{ownDir}
	}
	d.Changes = []steps.Change{change}
	return d, nil
}

// without are the edits of files of others that leave no line behind which imports
// a file of ours: Caddy would not start any more. texts are the files as they will
// be by edits, by their paths.
func (w *writer) without(edits []steps.FileEdit, texts map[string][]byte) []steps.FileEdit {
	for p, file := range w.facts.files {
		if text, ok := texts[file.Real]; ok && w.src.Files[p] != nil {
			w.src.Files[p] = text
		}
	}
	before := maps.Clone(w.src.Files)
	for _, p := range w.facts.ownFiles() {
		w.dropImports(p)
	}
	for _, p := range slices.Sorted(maps.Keys(w.src.Files)) {
		file, text := w.facts.files[p], w.src.Files[p]
		if bytes.Equal(text, before[p]) {
			continue
		}
		edits = slices.DeleteFunc(edits, func(e steps.FileEdit) bool { return e.Path == file.Real })
		e, err := steps.ForeignFile(file.Real, file.Data, splice.Between(file.Data, text))
		if err != nil {
			w.findings = append(w.findings, steps.Refusal(file.Real, err))
			continue
		}
		edits = append(edits, e)
	}
	return edits
}
