package steps

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
)

const (
	nginxDir  = "/etc/nginx"
	nginxUnit = "nginx.service"
)

type nginxFacts struct {
	name      string
	installed bool
	running   bool
	ipv6      bool
	tree      nginxTree
	certs     []certificate
	keys      map[string]bool // private keys that are there
	own       map[string]host.File
}

// Nginx serves a site's routes through the nginx on a host. Where a TLS server
// block for a public name is there, it gets one include line; else there is a
// server block of our own. Either way the locations are in files of our own.
func Nginx(site Site, c ProxyNginx) Step {
	routes := site.Fronts[c.Host]
	probe := func(ctx context.Context, o host.Observer) (nginxFacts, error) {
		paths := []string{nginxDir, nginxDir + "/*", nginxDir + "/*/*", nginxDir + "/ecdeploy", orSelf(c.Certificate, nginxDir), "/etc/letsencrypt/live/*/fullchain.pem"}
		_, all, res, err := look(ctx, o, paths,
			host.Cmd{Argv: []string{"nginx", "-v"}}, host.Sh("systemctl -q is-active nginx || pgrep -x nginx"),
			host.Cmd{Argv: []string{"test", "-s", "/proc/net/if_inet6"}},
			host.Sh(`for k in "$@" /etc/letsencrypt/live/*/privkey.pem; do [ ! -f "$k" ] || printf '%s\n' "$k"; done`, orSelf(c.Key, "/nowhere")))
		if err != nil {
			return nginxFacts{}, err
		}
		f := nginxFacts{name: o.Name(), installed: res[0].OK(), running: res[1].OK(), ipv6: res[2].OK(), keys: map[string]bool{}, own: map[string]host.File{}}
		for k := range strings.Lines(string(res[3].Stdout)) {
			f.keys[strings.TrimSpace(k)] = true
		}
		for _, file := range all {
			f.own[file.Path] = file
			if strings.HasSuffix(file.Path, ".pem") && file.Exists {
				f.certs = append(f.certs, readCertificate(file))
			}
		}
		f.tree.load(all)
		if missing := f.tree.missing(); len(missing) > 0 {
			more, err := o.Read(ctx, missing...)
			if err != nil {
				return f, err
			}
			f.tree.load(more)
		}
		return f, nil
	}
	return Define("nginx", probe, nil, func(f nginxFacts, _ Shared) (Decision, error) { return f.decide(site, c, routes) })
}

func (f nginxFacts) decide(site Site, c ProxyNginx, routes []Route) (Decision, error) {
	var d Decision
	fail := func(summary, hint string) { d.Findings = append(d.Findings, Finding{Error, summary, hint}) }
	switch {
	case !f.installed:
		fail("nginx is not installed on "+f.name, `apt install nginx, or proxy "external" {} for a proxy in a container or another one`)
	case !f.running:
		fail("nginx does not run on "+f.name, "systemctl status nginx")
	case f.tree.problem != "":
		fail("nginx's configuration cannot be read: "+f.tree.problem, "nginx -t")
	}
	if len(d.Findings) > 0 {
		return d, nil
	}
	w := nginxWriter{facts: f, site: site, cfg: c}
	w.routes(routes)
	w.wellKnown()
	w.finish()
	d.Findings = w.findings
	if len(w.edits) > 0 && !slices.ContainsFunc(w.findings, func(x Finding) bool { return x.Severity == Error }) {
		d.Changes = []Change{&Files{
			Title: "nginx", Dirs: w.dirs, Edits: w.edits, Unit: nginxUnit, Action: "reload",
			Overlay: []string{nginxDir}, Check: `out=$(nginx -t 2>&1) || { printf '%s\n' "$out" >&2; exit 1; }`,
		}}
	}
	d.Checks = routeChecks(routes, f.tree.tlsAddr())
	return d, nil
}

// nginxWriter collects the edits of one decision.
type nginxWriter struct {
	facts    nginxFacts
	site     Site
	cfg      ProxyNginx
	servers  strings.Builder // server blocks of our own
	inside   []*inner        // what goes into foreign server blocks
	edits    []FileEdit
	dirs     []Dir
	findings []Finding
}

// inner is text for a foreign server block.
type inner struct {
	server nginxServer
	name   string
	text   strings.Builder
}

func (w *nginxWriter) fail(summary, hint string) {
	w.findings = append(w.findings, Finding{Error, summary, hint})
}

// into returns where to write for a foreign server block.
func (w *nginxWriter) into(s nginxServer, name string) *inner {
	for _, in := range w.inside {
		if in.server.block == s.block {
			return in
		}
	}
	in := &inner{server: s, name: name}
	w.inside = append(w.inside, in)
	return in
}

// routes puts every public name where it belongs.
func (w *nginxWriter) routes(routes []Route) {
	var names []string
	for _, r := range routes {
		if !slices.Contains(names, r.Name()) {
			names = append(names, r.Name())
		}
	}
	for _, name := range names {
		s, found := w.facts.tree.server(name)
		var body strings.Builder
		for _, r := range routes {
			if r.Name() != name {
				continue
			}
			if found {
				if l := s.clash(r); l != "" {
					w.fail(fmt.Sprintf("the server block for %s (%s:%d) has a location of its own at %s", name, s.file.real, s.block.Line, l),
						"remove that location: ecdeploy's would clash with it")
				}
			}
			body.WriteString(locations(r))
		}
		if found {
			w.into(s, name).text.WriteString(body.String())
			continue
		}
		w.ownServer(name, body.String())
	}
}

// ownServer adds a server block for a public name that nobody serves yet. It
// listens as the host's other TLS servers do: nginx prefers the more specific
// address, so a wildcard beside them would never be asked.
func (w *nginxWriter) ownServer(name, body string) {
	cert, key, ok := w.certificate(name)
	if !ok {
		return
	}
	fmt.Fprintf(&w.servers, "\nserver {\n")
	for _, l := range w.facts.tree.listens(w.facts.ipv6) {
		fmt.Fprintf(&w.servers, "    listen %s;\n", l)
	}
	fmt.Fprintf(&w.servers, "    server_name %s;\n    ssl_certificate %s;\n    ssl_certificate_key %s;\n\n%s}\n", name, nginxQuote(cert), nginxQuote(key), indent(body, "    "))
}

// wellKnown makes sure that the static announcement is served as JSON with its
// one CORS header. A location that is there already is left to its owner.
func (w *nginxWriter) wellKnown() {
	file, here := w.site.WellKnown[w.facts.name]
	if !here {
		return
	}
	const uri = "/.well-known/matrix/client"
	s, found := w.facts.tree.server(w.site.Domain())
	if !found {
		w.findings = append(w.findings, Finding{Warning, "nginx on " + w.facts.name + " has no TLS server block for " + w.site.Domain() + ", so " + file + " may be served by nobody", `serve https://` + w.site.Domain() + uri + `, or use well_known "external" {}`})
		return
	}
	if s.handles(uri) {
		return
	}
	fmt.Fprintf(&w.into(s, w.site.Domain()).text, "location = %s {\n    alias %s;\n    default_type application/json;\n    add_header Access-Control-Allow-Origin \"*\" always;\n}\n", uri, nginxQuote(file))
}

// finish turns what was collected into file edits.
func (w *nginxWriter) finish() {
	if len(w.inside) > 0 && !w.facts.own[nginxDir+"/ecdeploy"].Exists {
		w.dirs = []Dir{{Path: nginxDir + "/ecdeploy", Mode: 0o755}}
	}
	var order []string
	includes := map[string][]func([]byte) ([]splice.Edit, error){}
	for _, in := range w.inside {
		path := nginxDir + "/ecdeploy/" + w.site.slug() + "." + in.name + ".conf"
		file := in.server.file
		w.own(path, fmt.Sprintf("# For %s of %s, included by %s. Written by ecdeploy.\n", in.name, w.site.Name, file.real)+in.text.String())
		if includes[file.path] == nil {
			order = append(order, file.path)
		}
		includes[file.path] = append(includes[file.path], in.server.include(path))
	}
	for _, p := range order {
		w.foreign(w.facts.tree.files[p], includes[p])
	}
	w.ownServers()
}

// foreign adds the one line each to the server blocks of a file.
func (w *nginxWriter) foreign(file nginxFile, steps []func([]byte) ([]splice.Edit, error)) {
	edits, err := splice.Chain(file.data, steps...)
	if err == nil && len(edits) > 0 {
		var e FileEdit
		if e, err = foreignFile(file.real, file.data, edits); err == nil {
			w.edits = append(w.edits, e)
		}
	}
	if err != nil {
		w.findings = append(w.findings, refusal(file.real, err))
	}
}

// ownServers writes or removes the file of server blocks of our own.
func (w *nginxWriter) ownServers() {
	dir := w.facts.tree.confDir()
	path := dir + "/ecdeploy-" + w.site.slug() + ".conf"
	f := w.facts.own[path]
	switch {
	case w.servers.Len() > 0 && dir == "":
		w.fail("nginx.conf includes no folder of server blocks", "add `include /etc/nginx/conf.d/*.conf;` to its http block")
	case w.servers.Len() > 0:
		w.own(path, fmt.Sprintf("# The MatrixRTC backend of %s. Written by ecdeploy: change the plan file, not this file.\n", w.site.Name)+w.servers.String())
	case f.Exists:
		w.edits = append(w.edits, FileEdit{Path: path, Before: digest(f.Data, host.Secret{}), Remove: true, Diff: unified(path, string(f.Data), "", 0)})
	}
}

func (w *nginxWriter) own(path, text string) {
	if e, needed := ownFile(path, w.facts.own[path], Lit(text), 0o644, 0, Keys{}); needed {
		w.edits = append(w.edits, e)
	}
}
