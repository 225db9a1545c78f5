package caddy

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
)

// sitesPath is the file of our own sites, innerPath one of routes for a site that
// is there: the n-th of its name, from 0.
func (w *writer) sitesPath() string { return ownDir + "/" + w.slug() + ".caddy" }

func (w *writer) innerPath(name string, n int) string {
	if n > 0 {
		return fmt.Sprintf("%s/%s.%s.%d.caddy", ownDir, w.slug(), name, n+1)
	}
	return ownDir + "/" + w.slug() + "." + name + ".caddy"
}

// slug is the site's name as a part of a path that can be imported.
func (w *writer) slug() string { return unwritten.ReplaceAllString(w.site.Slug(), "_") }

// finish turns what was collected into file edits.
func (w *writer) finish() {
	own := map[string]string{}
	at := map[string]*inner{}
	count := map[string]int{}
	for _, in := range w.inside {
		text, err := splice.CaddySnippet(in.name, byLength(in.routes))
		if err != nil {
			w.fail("routes for "+in.name+" cannot be written: "+err.Error(), wayOut)
			continue
		}
		p := w.innerPath(in.name, count[in.name])
		count[in.name]++
		own[p], at[p] = w.facts.header+text, in
	}
	if w.sites.Len() > 0 {
		own[w.sitesPath()] = w.facts.header + w.sites.String()
	}
	for _, p := range w.facts.ownFiles() {
		if _, kept := own[p]; !kept {
			w.dropImports(p)
		}
	}
	for p := range own {
		w.src.Files[p] = nil
	}
	for _, p := range slices.Sorted(maps.Keys(own)) {
		w.place(p, at[p])
	}
	if w.foreign(own); len(own) > 0 && !w.facts.files[ownDir].Exists {
		w.dirs = []steps.Dir{{Path: ownDir, Mode: 0o755}}
	}
	for _, p := range w.facts.ownFiles() {
		if _, kept := own[p]; !kept {
			w.remove(p)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(own)) {
		w.stands = append(w.stands, steps.Ref{Kind: steps.EntryFile, Name: p})
		if e, needed := steps.OwnFile(p, w.facts.files[p], steps.Lit(own[p]), 0o644, 0, steps.Secrets{}); needed {
			w.edits = append(w.edits, e)
		}
	}
}

// place sees to it that the file p of our own is imported in the one site that it
// is for, or where in is nil at the top level.
func (w *writer) place(p string, in *inner) {
	if in == nil {
		edits, err := splice.CaddyTopImport(w.src, p)
		w.imported(w.src.Main)
		w.edit(w.src.Main, edits, err)
		return
	}
	// The site at that place is still the same one: imports are edited line by line.
	want := w.facts.config.Blocks[in.block].Keys[0]
	for _, b := range w.facts.importers(p) {
		if k := b.Keys[0]; k.File != want.File || k.Off != want.Off {
			w.dropImports(p)
			break
		}
	}
	file, edits, err := splice.CaddyImport(w.src, in.name, in.prefix, p)
	if file == "" {
		file = want.File
	}
	w.imported(file)
	w.edit(file, edits, err)
}

// imported notes that a file of somebody else's shall import one of ours.
func (w *writer) imported(file string) {
	w.stands = append(w.stands, steps.Ref{Kind: steps.EntryLines, Name: w.facts.files[file].Real})
}

// importers are the sites that import p themselves.
func (f facts) importers(p string) []splice.CaddyBlock {
	src := f.src
	src.Files, src.Matches = maps.Clone(src.Files), maps.Clone(src.Matches)
	src.Files[p] = []byte("ecdeploy.invalid\n")
	delete(src.Matches, p)
	config, err := splice.ReadCaddy(src)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(config.Blocks, func(b splice.CaddyBlock) bool {
		return !b.Site() || !slices.ContainsFunc(b.Directives, func(d splice.CaddyDirective) bool { return d.Tokens[0].File == p })
	})
}

// dropImports takes the lines out that import p.
func (w *writer) dropImports(p string) {
	for _, file := range slices.Sorted(maps.Keys(w.src.Files)) {
		if !bytes.Contains(w.src.Files[file], []byte(p)) {
			continue
		}
		edits, err := splice.CaddyRemoveImport(w.src, file, p)
		w.edit(file, edits, err)
	}
}

// edit makes edits in the text that a file will have.
func (w *writer) edit(file string, edits []splice.Edit, err error) {
	text := w.src.Files[file]
	if err == nil && len(edits) > 0 {
		text, err = splice.Apply(text, edits)
	}
	if err != nil {
		w.findings = append(w.findings, steps.Refusal(file, err))
		return
	}
	w.src.Files[file] = text
}

// foreign turns the new texts of files of others, which own does not have, into edits.
func (w *writer) foreign(own map[string]string) {
	for _, p := range slices.Sorted(maps.Keys(w.src.Files)) {
		file, text := w.facts.files[p], w.src.Files[p]
		if _, ours := own[p]; ours || w.facts.isOwn(p) || bytes.Equal(file.Data, text) {
			continue
		}
		e, err := steps.ForeignFile(file.Real, file.Data, splice.Between(file.Data, text))
		if err == nil && file.Loose != "" {
			err = steps.LooseLink(file.Loose)
		}
		if err != nil {
			w.findings = append(w.findings, steps.Refusal(file.Real, err))
			continue
		}
		w.edits = append(w.edits, e)
	}
}

// remove takes a file of our own away.
func (w *writer) remove(p string) {
	f := w.facts.files[p]
	w.edits = append(w.edits, steps.FileEdit{Path: p, Before: steps.Digest(f.Data, steps.Secrets{}), Remove: true, Diff: steps.OwnDiff(p, string(f.Data), "", 0)})
}
