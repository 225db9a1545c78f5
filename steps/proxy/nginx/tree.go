package nginx

import (
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
)

// nginxTree is a host's nginx configuration, read without running nginx: even
// `nginx -T` opens log files and so can change a host.
type nginxTree struct {
	files   map[string]nginxFile // by path as included
	asked   []string             // what was read, as patterns
	problem string
	huge    bool // beyond what is looked at: as if it were empty
	matches map[string][]string
}

type nginxFile struct {
	path   string
	real   string
	loose  string // as in host.File
	data   []byte
	err    string // why it could not be read
	parsed []*splice.Directive
}

// nginxServer is a server block and where it stands.
type nginxServer struct {
	tree    *nginxTree
	file    nginxFile
	index   int // among the server blocks of the file
	block   *splice.Directive
	names   []string
	tls     bool
	listens [][]string
}

func (t *nginxTree) load(asked []string, files []host.File) {
	if t.files == nil {
		t.files = map[string]nginxFile{}
	}
	t.asked, t.matches = append(t.asked, asked...), nil
	for _, f := range files {
		if f.Exists && (f.Mode.IsRegular() || f.Err != "") {
			t.files[f.Path] = nginxFile{path: f.Path, real: f.Real, loose: f.Loose, data: f.Data, err: f.Err}
		}
	}
	t.walk()
}

// walk parses nginx.conf and all that it includes, and gives the include
// patterns that were not read.
func (t *nginxTree) walk() []string {
	t.problem, t.huge = "", false
	if _, ok := t.files[configDir+"/nginx.conf"]; !ok {
		t.problem = configDir + "/nginx.conf is not there"
		return nil
	}
	fail := func(p, why string) {
		if t.problem == "" {
			t.problem = p + ": " + why
		}
	}
	var missing []string
	seen, patterns := map[string]bool{}, map[string]bool{}
	var visit func(p string)
	visit = func(p string) {
		f, ok := t.files[p]
		if !ok || seen[p] {
			return
		}
		seen[p] = true
		if f.err != "" {
			fail(p, f.err)
			return
		}
		if f.parsed == nil {
			parsed, err := splice.ParseNginx(f.data)
			if err != nil {
				fail(p, err.Error())
				return
			}
			f.parsed = parsed
			t.files[p] = f
		}
		for _, pattern := range includes(f.parsed) {
			if patterns[pattern] || len(patterns) == maxPatterns {
				continue
			}
			patterns[pattern] = true
			if !t.covered(pattern) {
				missing = append(missing, pattern)
			}
			for _, m := range t.match(pattern) {
				visit(m)
			}
		}
	}
	visit(configDir + "/nginx.conf")
	for p := range t.files {
		if !seen[p] {
			f := t.files[p]
			f.parsed = nil // read, but no part of the configuration
			t.files[p] = f
		}
	}
	if t.huge = len(patterns) == maxPatterns || !t.fits(); t.huge {
		fail(configDir+"/nginx.conf",
			fmt.Sprintf("with its includes it has more than ecdeploy looks at (%d directives, %d servers, %d addresses for TLS, %d includes), or they go in a circle",
				maxDirectives, maxServers, maxAddresses, maxPatterns))
	}
	return missing
}

// missing are include patterns that point to files not read yet.
func (t *nginxTree) missing() []string { return t.walk() }

// complete makes it a problem that something which nginx includes was not
// read: decisions on a part of a configuration are guesses.
func (t *nginxTree) complete() {
	if missing := t.walk(); len(missing) > 0 && t.problem == "" {
		t.problem = "includes are nested too deeply to be read in two looks: " + strings.Join(missing, ", ")
	}
}

// covered reports whether all that pattern can match was read.
func (t *nginxTree) covered(pattern string) bool {
	return slices.ContainsFunc(t.asked, func(asked string) bool {
		if asked == pattern {
			return true
		}
		ok, err := path.Match(asked, pattern)
		return err == nil && ok && hidden(asked) == hidden(pattern)
	})
}

// hidden reports whether a pattern asks for dot files, which * leaves out.
func hidden(pattern string) bool { return strings.HasPrefix(path.Base(pattern), ".") }

func includes(dirs []*splice.Directive) []string {
	var out []string
	for _, d := range dirs {
		if d.Name == "include" && len(d.Args) == 1 {
			out = append(out, nginxPath(d.Args[0]))
		}
		out = append(out, includes(d.Body)...)
	}
	return out
}

// nginxPath is a path of nginx's configuration, which may be relative.
func nginxPath(p string) string {
	if !path.IsAbs(p) {
		p = configDir + "/" + p
	}
	return path.Clean(p)
}

// match are the paths that were read and match an include pattern, sorted as
// nginx sorts them.
func (t *nginxTree) match(pattern string) []string {
	if out, known := t.matches[pattern]; known {
		return out
	}
	var out []string
	for p := range t.files {
		if ok, err := path.Match(pattern, p); p == pattern || err == nil && ok && hidden(p) == hidden(pattern) {
			out = append(out, p)
		}
	}
	sort.Strings(out)
	if t.matches == nil {
		t.matches = map[string][]string{}
	}
	t.matches[pattern] = out
	return out
}

// servers are all server blocks in the order in which nginx reads them, those
// in our own files left out. What a block includes counts as its own.
func (t *nginxTree) servers() []nginxServer {
	return slices.DeleteFunc(t.all(), func(s nginxServer) bool { return ownServerFile(s.file.path) })
}

func (t *nginxTree) all() []nginxServer {
	var out []nginxServer
	numbers := map[string]map[*splice.Directive]int{} // of the server blocks of each file
	t.each(func(f nginxFile, d *splice.Directive) {
		if d.Name != "server" {
			return
		}
		if numbers[f.path] == nil {
			numbers[f.path] = map[*splice.Directive]int{}
			for i, s := range splice.ServerBlocks(f.parsed) {
				numbers[f.path][s.Directive] = i
			}
		}
		i, ok := numbers[f.path][d]
		if !ok {
			return
		}
		server := nginxServer{tree: t, file: f, index: i, block: d}
		whole := *d
		whole.Body = server.body()
		if all := splice.ServerBlocks([]*splice.Directive{&whole}); len(all) == 1 {
			server.names, server.tls, server.listens = all[0].Names, all[0].TLS, all[0].Listens
		}
		out = append(out, server)
	})
	return out
}

// include is the step that adds one include line to the block.
func (s nginxServer) include(path string) func([]byte) ([]splice.Edit, error) {
	return func(text []byte) ([]splice.Edit, error) {
		parsed, err := splice.ParseNginx(text)
		if err != nil {
			return nil, err
		}
		return splice.NginxInclude(text, splice.ServerBlocks(parsed)[s.index].Directive, path)
	}
}

// exclude is the step that takes our include line out of the block again.
func (s nginxServer) exclude(path string) func([]byte) ([]splice.Edit, error) {
	return func(text []byte) ([]splice.Edit, error) {
		parsed, err := splice.ParseNginx(text)
		if err != nil {
			return nil, err
		}
		return splice.NginxRemoveInclude(text, splice.ServerBlocks(parsed)[s.index].Directive, path)
	}
}

// includes reports whether the block itself includes exactly path.
func (s nginxServer) includes(path string) bool {
	return slices.ContainsFunc(s.block.Body, func(d *splice.Directive) bool {
		return d.Name == "include" && len(d.Args) == 1 && d.Args[0] == path
	})
}

// clash names a location of the block that a route's own would clash with.
func (s nginxServer) clash(r steps.Route) string {
	want := r.Prefix() + "/"
	for _, d := range s.body() {
		if d.Name == "location" && len(d.Args) > 0 {
			if at := d.Args[len(d.Args)-1]; at == want && !strings.HasPrefix(d.Args[0], "~") && d.Args[0] != "=" {
				return at
			}
		}
	}
	return ""
}

// handles reports whether the block has a location made for uri.
func (s nginxServer) handles(uri string) bool {
	for _, d := range s.body() {
		if d.Name == "location" && len(d.Args) > 0 && strings.Contains(d.Args[len(d.Args)-1], "well-known") {
			server := *s.block
			server.Body = s.body()
			l, ok := splice.LocationFor(&server, uri)
			return ok && strings.Contains(strings.Join(l.Args, " "), "well-known")
		}
	}
	return false
}
