package nginx

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
)

// finish turns what was collected into file edits.
func (w *nginxWriter) finish() {
	if len(w.inside) > 0 && !w.facts.own[configDir+"/ecdeploy"].Exists {
		w.dirs = []steps.Dir{{Path: configDir + "/ecdeploy", Mode: 0o755}}
	}
	var order []string
	todo := map[string][]func([]byte) ([]splice.Edit, error){}
	on := func(file nginxFile, step func([]byte) ([]splice.Edit, error)) {
		if todo[file.path] == nil {
			order = append(order, file.path)
		}
		todo[file.path] = append(todo[file.path], step)
	}
	kept := map[string]bool{}
	for _, in := range w.inside {
		path := w.innerPath(in)
		var by []string
		for _, s := range in.servers {
			if !slices.Contains(by, s.file.real) {
				by = append(by, s.file.real)
			}
			on(s.file, s.include(path))
			w.stands = append(w.stands, steps.Ref{Kind: steps.EntryLines, Name: s.file.real})
		}
		w.own(path, fmt.Sprintf("# For %s of %s, included by %s. Written by ecdeploy.\n", in.name, w.site.Name, strings.Join(by, ", "))+in.text.String())
		kept[path] = true
	}
	stale := w.stale(kept)
	for _, s := range w.facts.tree.servers() {
		for _, path := range slices.Concat(stale, slices.Sorted(maps.Keys(kept))) {
			if s.includes(path) && !(kept[path] && w.hosts(s, path)) {
				on(s.file, s.exclude(path))
			}
		}
	}
	for _, p := range order {
		w.foreign(w.facts.tree.files[p], todo[p])
	}
	for _, p := range stale {
		w.remove(p)
	}
	w.ownServers()
}

// hosts reports whether path is what goes into the server block s.
func (w *nginxWriter) hosts(s nginxServer, path string) bool {
	return slices.ContainsFunc(w.inside, func(in *inner) bool { return in.hasServer(s) && w.innerPath(in) == path })
}

func (w *nginxWriter) innerPath(in *inner) string {
	return configDir + "/ecdeploy/" + w.site.Slug() + "." + in.name + ".conf"
}

// stale are our own files of this site that nothing needs any more: those for
// a public name that it no longer has. The file's first line says whose it is;
// its name cannot, since names hold dots.
func (w *nginxWriter) stale(kept map[string]bool) []string {
	var out []string
	for _, p := range slices.Sorted(maps.Keys(w.facts.own)) {
		f := w.facts.own[p]
		first, _, _ := strings.Cut(string(f.Data), "\n")
		if f.Exists && !kept[p] && strings.HasPrefix(p, configDir+"/ecdeploy/") && strings.HasPrefix(first, "# For ") &&
			strings.Contains(first, " of "+w.site.Name+", included by ") && strings.HasSuffix(first, ". Written by ecdeploy.") {
			out = append(out, p)
		}
	}
	return out
}

func (w *nginxWriter) remove(path string) {
	f := w.facts.own[path]
	w.edits = append(w.edits, steps.FileEdit{
		Path:   path,
		Before: steps.Digest(f.Data, steps.Secrets{}),
		Remove: true,
		Diff:   steps.OwnDiff(path, string(f.Data), "", 0),
	})
}

// foreign adds the one line each to the server blocks of a file.
func (w *nginxWriter) foreign(file nginxFile, todo []func([]byte) ([]splice.Edit, error)) {
	edits, err := splice.Chain(file.data, todo...)
	if err == nil && len(edits) > 0 && file.loose != "" {
		err = steps.LooseLink(file.loose)
	}
	if err == nil && len(edits) > 0 {
		var e steps.FileEdit
		if e, err = steps.ForeignFile(file.real, file.data, edits); err == nil {
			w.edits = append(w.edits, e)
		}
	}
	if err != nil {
		w.findings = append(w.findings, steps.Refusal(file.real, err))
	}
}

// ownServers writes or removes the file of server blocks of our own. One of an
// earlier run stays where it is unless it is read too early there.
func (w *nginxWriter) ownServers() {
	var keep string
	if w.servers.Len() > 0 {
		keep = w.place()
	}
	for _, p := range w.ownFiles() {
		if p != keep {
			w.remove(p)
		}
	}
	if keep != "" {
		w.own(keep, w.ownHeader()+w.servers.String())
	}
}

func (w *nginxWriter) ownHeader() string {
	return fmt.Sprintf("# The MatrixRTC backend of %s. Written by ecdeploy: change the plan file, not this file.\n", w.site.Name)
}

// ownFiles are the files of server blocks of our own that are there.
func (w *nginxWriter) ownFiles() []string {
	var out []string
	for _, p := range slices.Sorted(maps.Keys(w.facts.own)) {
		if f := w.facts.own[p]; f.Exists && ownServerFile(p) && strings.HasPrefix(string(f.Data), w.ownHeader()) {
			out = append(out, p)
		}
	}
	return out
}

// place is where our own server blocks go: where they become no address's
// default server.
func (w *nginxWriter) place() string {
	tree := &w.facts.tree
	places := tree.places(w.site.Slug())
	if len(places) == 0 {
		w.fail("nginx.conf includes no folder of server blocks", "add `include /etc/nginx/conf.d/*.conf;` to its http block")
		return ""
	}
	there := slices.DeleteFunc(w.ownFiles(), func(p string) bool { return !slices.Contains(places, p) })
	listens := tree.listens(w.facts.ipv6)
	for _, p := range append(there, places...) {
		if _, _, yes := tree.wouldBecomeDefault(p, listens); !yes {
			return p
		}
	}
	addr, from, _ := tree.wouldBecomeDefault(places[len(places)-1], listens)
	w.fail("a server block of ecdeploy's own would become the default server of "+addr+", and the one at "+from.at()+" lose its requests for other names",
		"add default_server to `listen "+addr+"` there")
	return ""
}

func (w *nginxWriter) own(path, text string) {
	w.stands = append(w.stands, steps.Ref{Kind: steps.EntryFile, Name: path})
	if e, needed := steps.OwnFile(path, w.facts.own[path], steps.Lit(text), 0o644, 0, steps.Secrets{}); needed {
		w.edits = append(w.edits, e)
	}
}
