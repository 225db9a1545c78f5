package nginx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/proxy"
)

// nginxWriter collects the edits of one decision.
type nginxWriter struct {
	facts    facts
	site     *steps.Site
	cfg      *Config
	servers  strings.Builder // server blocks of our own
	inside   []*inner        // what goes into foreign server blocks
	edits    []steps.FileEdit
	dirs     []steps.Dir
	findings []steps.Finding
	stands   []steps.Ref // files that shall hold something of the site
}

// inner is text for foreign server blocks.
type inner struct {
	servers []nginxServer
	name    string
	text    strings.Builder
}

func (in *inner) hasServer(s nginxServer) bool {
	return slices.ContainsFunc(in.servers, func(o nginxServer) bool { return o.block == s.block })
}

func (w *nginxWriter) fail(summary, hint string) {
	w.findings = append(w.findings, steps.Error.Finding(summary, hint))
}

// into returns where to write for the foreign server blocks of a name.
func (w *nginxWriter) into(found []pickedServer, name string) *inner {
	in := &inner{name: name}
	for _, picked := range found {
		in.servers = append(in.servers, picked.server)
	}
	for _, old := range w.inside {
		if len(old.servers) == len(in.servers) && !slices.ContainsFunc(in.servers, func(s nginxServer) bool { return !old.hasServer(s) }) {
			return old
		}
	}
	w.inside = append(w.inside, in)
	return in
}

// routes puts every public name where it belongs: where something of it is
// served already, into that block, so that the rest of the name stays; a name
// that is the backend's alone gets a block of its own, which comes before
// patterns and default servers.
func (w *nginxWriter) routes(routes []steps.Route) {
	for _, group := range proxy.ByName(routes) {
		name := group[0].Name()
		var body strings.Builder
		for _, r := range group {
			body.WriteString(proxy.NginxLocations(r))
		}
		found := w.facts.serving(name)
		whole := slices.ContainsFunc(group, func(r steps.Route) bool { return r.Prefix() == "" })
		if len(found) == 0 || whole && !found[0].exact {
			w.takeOver(name, found)
			w.ownServer(name, body.String())
			continue
		}
		for _, picked := range found {
			if picked.doubt {
				w.fail("whether "+picked.String()+" answers for "+name+" is for nginx's kind of regular expression to say", "add "+name+" to that server_name")
			}
			for _, r := range group {
				w.inspect(picked.server, r)
			}
		}
		w.into(found, name).text.WriteString(body.String())
	}
}

// takeOver notes whose requests a new server block of our own gets.
func (w *nginxWriter) takeOver(name string, from []pickedServer) {
	if !w.ownBlock(name).there {
		for _, picked := range from {
			w.findings = append(w.findings, steps.Note.Finding("requests for "+name+" go to "+picked.String()+" now; ecdeploy's own server block takes them all",
				"give it a name of its own, or a path, if that still needs some"))
		}
	}
}

// inspect says what of a foreign server block would keep a route from working.
func (w *nginxWriter) inspect(s nginxServer, r steps.Route) {
	at := fmt.Sprintf("the server block for %s (%s)", r.Name(), s.at())
	if l := s.clash(r); l != "" {
		w.fail(at+" has a location of its own at "+l, "remove that location: ecdeploy's would clash with it")
	}
	for _, d := range s.body() {
		switch {
		case d.Name == "return":
			w.fail(at+" answers everything by itself (return)", "put that return into a location")
		case d.Name == "add_header" && len(d.Args) > 0 && strings.EqualFold(d.Args[0], "Access-Control-Allow-Origin") && r.CORS:
			w.fail(at+" adds a CORS header to everything; the JWT service sends its own, and browsers refuse two",
				"move add_header Access-Control-Allow-Origin into the locations that need it")
		}
	}
	for _, p := range s.certificates() {
		if f, ok := w.facts.own[p]; ok && f.Exists {
			w.judge(proxy.ReadCertificate(f), r.Name(), "certbot certonly --nginx -d "+r.Name())
		}
	}
}

// ownServer adds a server block for a public name that nobody serves yet. It
// listens as the host's other TLS servers do: nginx prefers the more specific
// address, so a wildcard next to them would never be asked.
func (w *nginxWriter) ownServer(name, body string) {
	cert, key, ok := w.certificate(name)
	if !ok {
		return
	}
	listens := w.facts.tree.listens(w.facts.ipv6)
	if p := w.facts.https; p != "" && strings.HasSuffix(":"+listens[0], ":443 ssl") {
		w.fail("port 443 on "+w.facts.name+" is taken by "+p+", so nginx cannot serve "+name, `stop it, or use proxy "external" {}`)
		return
	}
	fmt.Fprintf(&w.servers, "\nserver {\n")
	for _, l := range listens {
		fmt.Fprintf(&w.servers, "    listen %s;\n", l)
	}
	fmt.Fprintf(&w.servers,
		"    server_name %s;\n    ssl_certificate %s;\n    ssl_certificate_key %s;\n\n%s\n}\n",
		name, proxy.NginxQuote(cert), proxy.NginxQuote(key), host.Indent(body, "    "))
}

// static makes sure that a static file is served as JSON with its one CORS header.
// A location that is there already is left to its owner.
func (w *nginxWriter) static(r steps.Route) {
	name, uri := r.Name(), r.Prefix()
	found := w.facts.serving(name)
	if len(found) == 0 {
		w.findings = append(w.findings, steps.Warning.Finding("nginx on "+w.facts.name+" has no TLS server block for "+name+", so "+r.File+" may be served by nobody",
			`serve `+r.URL+`, or use well_known "external" {}`))
		return
	}
	found = slices.DeleteFunc(found, func(picked pickedServer) bool { return picked.doubt || picked.server.handles(uri) })
	if len(found) == 0 {
		return
	}
	fmt.Fprintf(&w.into(found, name).text,
		"location = %s {\n    alias %s;\n    default_type application/json;\n    add_header Access-Control-Allow-Origin \"*\" always;\n}\n",
		uri, proxy.NginxQuote(r.File))
}
