package steps

import (
	"maps"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
)

// nginxTree is a host's nginx configuration, read without running nginx: even
// `nginx -T` opens log files and so can change a host.
type nginxTree struct {
	files   map[string]nginxFile // by path as included
	problem string
}

type nginxFile struct {
	path   string
	real   string
	data   []byte
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

func (t *nginxTree) load(files []host.File) {
	if t.files == nil {
		t.files = map[string]nginxFile{}
	}
	for _, f := range files {
		if f.Exists && f.Mode.IsRegular() && f.Err == "" && !strings.HasSuffix(f.Path, ".pem") {
			t.files[f.Path] = nginxFile{path: f.Path, real: f.Real, data: f.Data}
		}
	}
	t.walk()
}

// walk parses nginx.conf and all that it includes.
func (t *nginxTree) walk() []string {
	t.problem = ""
	if _, ok := t.files[nginxDir+"/nginx.conf"]; !ok {
		t.problem = nginxDir + "/nginx.conf is not there"
		return nil
	}
	var missing []string
	seen := map[string]bool{}
	var visit func(p string)
	visit = func(p string) {
		f, ok := t.files[p]
		if !ok || seen[p] {
			return
		}
		seen[p] = true
		if f.parsed == nil {
			parsed, err := splice.ParseNginx(f.data)
			if err != nil {
				t.problem = p + ": " + err.Error()
				return
			}
			f.parsed = parsed
			t.files[p] = f
		}
		for _, pattern := range includes(f.parsed) {
			matches := t.match(pattern)
			if len(matches) == 0 && !under(pattern) {
				missing = append(missing, pattern)
			}
			for _, m := range matches {
				visit(m)
			}
		}
	}
	visit(nginxDir + "/nginx.conf")
	for p := range t.files {
		if !seen[p] {
			f := t.files[p]
			f.parsed = nil // read, but no part of the configuration
			t.files[p] = f
		}
	}
	return missing
}

// missing are include patterns that point to files not read yet.
func (t *nginxTree) missing() []string { return t.walk() }

// under reports whether the first flight has read everything that pattern can
// match.
func under(pattern string) bool {
	return slices.ContainsFunc(nginxRead, func(read string) bool {
		if read == pattern {
			return true
		}
		ok, err := path.Match(read, pattern)
		return err == nil && ok
	})
}

func includes(dirs []*splice.Directive) []string {
	var out []string
	for _, d := range dirs {
		if d.Name == "include" && len(d.Args) == 1 {
			p := d.Args[0]
			if !path.IsAbs(p) {
				p = nginxDir + "/" + p
			}
			out = append(out, path.Clean(p))
		}
		out = append(out, includes(d.Body)...)
	}
	return out
}

// match are the paths that were read and match an include pattern, sorted as
// nginx sorts them.
func (t *nginxTree) match(pattern string) []string {
	var out []string
	for p := range t.files {
		if ok, err := path.Match(pattern, p); err == nil && ok && !strings.HasPrefix(path.Base(p), ".") {
			out = append(out, p)
		}
	}
	sort.Strings(out)
	return out
}

// servers are all server blocks in the order in which nginx reads them, those
// in our own files left out. What a block includes counts as its own.
func (t *nginxTree) servers() []nginxServer {
	var out []nginxServer
	for _, p := range slices.Sorted(maps.Keys(t.files)) {
		f := t.files[p]
		if strings.HasPrefix(path.Base(p), "ecdeploy-") {
			continue
		}
		for i, s := range splice.ServerBlocks(f.parsed) {
			server := nginxServer{tree: t, file: f, index: i, block: s.Directive}
			whole := *s.Directive
			whole.Body = server.body()
			if all := splice.ServerBlocks([]*splice.Directive{&whole}); len(all) == 1 {
				s = all[0]
			}
			server.names, server.tls, server.listens = s.Names, s.TLS, s.Listens
			out = append(out, server)
		}
	}
	return out
}

// server is the TLS server block for exactly name, on port 443 if any server
// listens there: one on 8448 is for federation alone. A pattern such as
// *.example.com also answers for names without a block of their own; then ours
// gets one, and the pattern's stays as it is.
func (t *nginxTree) server(name string) (nginxServer, bool) {
	all := t.servers()
	https := slices.ContainsFunc(all, nginxServer.https)
	for _, s := range all {
		if s.tls && (!https || s.https()) && slices.ContainsFunc(s.names, func(n string) bool { return strings.EqualFold(n, name) }) {
			return s, true
		}
	}
	return nginxServer{}, false
}

// https reports whether the block listens for TLS on port 443.
func (s nginxServer) https() bool {
	return s.tls && slices.ContainsFunc(s.listens, func(l []string) bool {
		return l[0] == "443" || strings.HasSuffix(l[0], ":443")
	})
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

// body is a block with the directives of the files that it includes, but for
// our own.
func (s nginxServer) body() []*splice.Directive { return s.tree.expand(s.block.Body, 0) }

// maxIncludes bounds includes within includes, which may go in a circle.
const maxIncludes = 8

func (t *nginxTree) expand(dirs []*splice.Directive, depth int) []*splice.Directive {
	var out []*splice.Directive
	for _, d := range dirs {
		if d.Name != "include" {
			out = append(out, d)
			continue
		}
		for _, pattern := range includes([]*splice.Directive{d}) {
			for _, p := range t.match(pattern) {
				if !strings.HasPrefix(p, nginxDir+"/ecdeploy/") && depth < maxIncludes {
					out = append(out, t.expand(t.files[p].parsed, depth+1)...)
				}
			}
		}
	}
	return out
}

// clash names a location of the block that a route's own would clash with.
func (s nginxServer) clash(r Route) string {
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

// listens are the addresses that the host's TLS servers listen on, with ssl
// alone as their option: of those on port 443 if there are any (8448 is for
// federation alone), and the usual two where no server has TLS.
func (t *nginxTree) listens(ipv6 bool) []string {
	var out []string
	for _, s := range t.servers() {
		for _, l := range s.listens {
			if s.tls && slices.Contains(l, "ssl") && !slices.Contains(out, l[0]+" ssl") {
				out = append(out, l[0]+" ssl")
			}
		}
	}
	https := slices.DeleteFunc(slices.Clone(out), func(l string) bool { return l != "443 ssl" && !strings.HasSuffix(l, ":443 ssl") })
	switch {
	case len(https) > 0:
		return https
	case len(out) > 0:
		return out
	case ipv6:
		return []string{"443 ssl", "[::]:443 ssl"}
	}
	return []string{"443 ssl"}
}

// tlsAddr is where the host's own TLS servers can be asked.
func (t *nginxTree) tlsAddr() string {
	for _, l := range t.listens(false) {
		addr, _, _ := strings.Cut(l, " ")
		if addr == "443" || strings.HasPrefix(addr, "*:") || strings.HasPrefix(addr, "0.0.0.0:") {
			_, port, ok := strings.Cut(addr, ":")
			if !ok {
				port = addr
			}
			return "127.0.0.1:" + port
		}
	}
	addr, _, _ := strings.Cut(t.listens(false)[0], " ")
	if !strings.Contains(addr, ":") {
		addr = "127.0.0.1:" + addr
	}
	return strings.Replace(addr, "[::]:", "[::1]:", 1)
}

// confDir is a folder whose *.conf files nginx.conf includes in its http
// block; "" where there is none.
func (t *nginxTree) confDir() string {
	for _, d := range t.files[nginxDir+"/nginx.conf"].parsed {
		if d.Name != "http" {
			continue
		}
		for _, pattern := range includes(d.Body) {
			dir := path.Dir(pattern)
			if ok, _ := path.Match(pattern, dir+"/ecdeploy-x.conf"); ok && !strings.ContainsAny(dir, "*?[") {
				return dir
			}
		}
	}
	return ""
}
