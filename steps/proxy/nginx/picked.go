package nginx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps/proxy"
)

// pickedServer is a TLS server block that nginx picks for a public name.
type pickedServer struct {
	server nginxServer
	how    string // the name that matched, "" for a default server
	exact  bool
	doubt  bool // the name is a regex that only nginx can read
}

// pickServers returns the server blocks that nginx picks for name on the addresses of
// listens, each once. Where some have exactly that name, others do not count.
func (t *nginxTree) pickServers(name string) []pickedServer {
	var out []pickedServer
	servers := t.servers()
	for _, l := range t.listens(false) {
		key := addrKey(l)
		var here []nginxServer
		var names [][]string
		for _, s := range servers {
			if l := s.on(key); l != nil && s.isTLS(l) {
				here, names = append(here, s), append(names, s.names)
			}
		}
		var w pickedServer
		switch i, known := splice.ServerFor(names, name); {
		case i >= 0:
			w = pickedServer{server: here[i], doubt: !known, exact: slices.ContainsFunc(names[i], func(n string) bool { return strings.EqualFold(n, name) })}
			w.how, _, _ = strings.Cut(strings.Join(slices.DeleteFunc(slices.Clone(names[i]), func(n string) bool {
				alone, _ := splice.ServerFor([][]string{{n}}, name)
				return alone < 0
			}), " "), " ")
		case len(here) > 0:
			w.server, _, _ = defaultOn(here, key)
		default:
			continue
		}
		if !slices.ContainsFunc(out, func(o pickedServer) bool { return o.server.block == w.server.block }) {
			out = append(out, w)
		}
	}
	if slices.ContainsFunc(out, func(w pickedServer) bool { return w.exact }) {
		out = slices.DeleteFunc(out, func(w pickedServer) bool { return !w.exact })
	}
	return out
}

// serving are the picked servers that a request for name gets something from today. A
// pattern or default server that turns all away, or whose certificate is not
// for name, is not one: no client would talk to it.
func (f facts) serving(name string) []pickedServer {
	return slices.DeleteFunc(f.tree.pickServers(name), func(w pickedServer) bool {
		return !w.exact && (w.server.refuses() || !f.mayCover(w.server, name))
	})
}

// refuses reports whether the block answers all requests by itself.
func (s nginxServer) refuses() bool {
	return slices.ContainsFunc(s.body(), func(d *splice.Directive) bool {
		return d.Name == "return" || d.Name == "ssl_reject_handshake" && slices.Equal(d.Args, []string{"on"})
	})
}

// mayCover reports whether the block's certificate is for name, as far as it
// was read.
func (f facts) mayCover(s nginxServer, name string) bool {
	paths := s.certificates()
	return len(paths) == 0 || slices.ContainsFunc(paths, func(p string) bool {
		file, ok := f.own[p]
		if !ok || !file.Exists {
			return true
		}
		c := proxy.ReadCertificate(file)
		return c.Problem != "" || c.Covers(name)
	})
}

// certificates are the paths of the block's certificates, which may stand in
// http { } instead. Paths that nginx fills in per request are left out.
func (s nginxServer) certificates() []string {
	var out, http []string
	add := func(to *[]string, d *splice.Directive) {
		if d.Name == "ssl_certificate" && len(d.Args) == 1 && !strings.ContainsAny(d.Args[0], "$*?[]") && !strings.HasPrefix(d.Args[0], "data:") {
			*to = append(*to, nginxPath(d.Args[0]))
		}
	}
	own := false
	for _, d := range s.body() {
		own = own || d.Name == "ssl_certificate"
		add(&out, d)
	}
	if own {
		return out
	}
	s.tree.each(func(_ nginxFile, d *splice.Directive) { add(&http, d) })
	return http
}

// at says where a server block stands.
func (s nginxServer) at() string { return fmt.Sprintf("%s:%d", s.file.real, s.block.Line) }

func (w pickedServer) String() string {
	if w.how == "" {
		return "the default server (" + w.server.at() + ")"
	}
	return "server_name " + w.how + " (" + w.server.at() + ")"
}
