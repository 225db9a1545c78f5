package nginx

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/proxy"
)

// Title is the title of the change to files of others. The hosts remember it: by it a
// site's edits are found again when it is taken away.
const Title = "nginx"

const (
	configDir = "/etc/nginx"
	unit      = "nginx.service"
	// checkText is nginx's own, quiet where all is well.
	checkText = `out=$(nginx -t 2>&1) || { printf '%s\n' "$out" >&2; exit 1; }`
)

type facts struct {
	name      string
	installed bool
	running   bool
	ipv6      bool
	tree      nginxTree
	certs     []proxy.Certificate
	keys      map[string]bool // private keys that are there
	own       map[string]host.File
	others    steps.Neighbours
	https     string    // another program that listens on port 443
	now       time.Time // when the certificates were looked at
}

// nginxRead are the files of a usual configuration. Folders are not read whole:
// people keep private keys, passwords and backups in them.
var nginxRead = []string{configDir + "/*.conf", configDir + "/mime.types", configDir + "/*_params", configDir + "/modules-enabled/*.conf", configDir + "/conf.d/*.conf",
	configDir + "/default.d/*.conf", configDir + "/sites-enabled/*", configDir + "/snippets/*.conf", configDir + "/ecdeploy/*.conf"}

// nginxRuns asks systemd alone where it runs: a process named nginx may be that
// of a container.
var nginxRuns = host.Sh("if [ -d /run/systemd/system ]; then systemctl -q is-active nginx; else pgrep -x nginx; fi")

// Config is an nginx on the host itself.
type Config struct {
	Host        string `hcl:"host"`
	Certificate string `hcl:"certificate,optional"` // on the host; default: certbot's for the name, if there
	Key         string `hcl:"key,optional"`
}

// Variant is the nginx of a host.
func Variant() steps.Variant {
	return steps.Variant{
		Block: "proxy", Label: "nginx", Required: true, Several: true,
		Doc:     "nginx on the host",
		Example: `proxy "nginx" { host = host.NAME }`,
		Config:  func() steps.Config { return new(Config) },
		Detect:  detectNginx,
	}
}

func detectNginx(ctx context.Context, o host.Observer) ([]steps.Found, error) {
	res, err := o.Query(ctx, nginxRuns)
	if err != nil || !res[0].OK() {
		return nil, err
	}
	return []steps.Found{{Config: &Config{Host: o.Name()}, Why: "nginx runs on " + o.Name(), Sure: true}}, nil
}

// HostName implements Config.
func (c *Config) HostName() string { return c.Host }

// Parts implements Config.
func (c *Config) Parts(d steps.Decl) []steps.Part {
	return []steps.Part{{Name: "nginx", Title: "the proxy", Host: d.Host, Proxy: new(steps.Proxy), Unit: &steps.Unit{
		Name: unit, Title: "nginx", Version: "nginx -v 2>&1 | sed -n 's,.*nginx/,,p'",
	}}}
}

// Check implements Config.
func (c *Config) Check(b steps.Block, d steps.Decl, s *steps.Site) {
	steps.CheckCertificate(b, c.Certificate, c.Key)
	steps.CheckServes(b, d, s)
}

// Steps implements Config.
func (c *Config) Steps(d steps.Decl, s *steps.Site) []steps.Placed {
	return []steps.Placed{{Stage: steps.StageProxy, Host: d.Host, Step: c.serve(s)}}
}

// Removal implements Config.
func (c *Config) Removal(d steps.Decl, s *steps.Site) []steps.Placed {
	return []steps.Placed{{Stage: steps.StageProxy, Host: d.Host, Step: c.remove(s)}}
}

// serve brings a site's routes into the nginx on a host. Where a TLS server
// block for a public name is there, it gets one include line; else there is a
// server block of our own. Either way the locations are in files of our own.
func (c *Config) serve(site *steps.Site) steps.Step {
	probe := func(ctx context.Context, o host.Observer) (facts, error) { return c.probe(ctx, o, site) }
	share := func(f facts, s *steps.Shared) { s.HTTPS[f.name] = f.tree.tlsAddr() }
	return steps.Define("nginx", probe, share, func(f facts, _ steps.Shared) (steps.Decision, error) { return f.decide(site, c, site.Served(c.Host)) })
}

func (c *Config) probe(ctx context.Context, o host.Observer, site *steps.Site) (facts, error) {
	paths := append(slices.Clone(nginxRead), configDir+"/ecdeploy", cmp.Or(c.Certificate, configDir), "/etc/letsencrypt/live/*/fullchain.pem")
	_, all, res, err := steps.Look(ctx, o, paths,
		host.Cmd{Argv: []string{"nginx", "-v"}}, nginxRuns,
		host.Cmd{Argv: []string{"test", "-s", "/proc/net/if_inet6"}},
		host.Sh(`for k in "$@" /etc/letsencrypt/live/*/privkey.pem; do [ ! -f "$k" ] || printf '%s\n' "$k"; done`, cmp.Or(c.Key, "/nowhere")),
		steps.QueryNeighbours, host.Cmd{Argv: []string{"ss", "-H", "-lntp", "sport = :443"}})
	if err != nil {
		return facts{}, fmt.Errorf("look at %s: %w", strings.Join(paths, ", "), err)
	}
	f := facts{name: o.Name(), installed: res[0].OK(), running: res[1].OK(), ipv6: res[2].OK(), keys: map[string]bool{}, own: map[string]host.File{}, now: time.Now(),
		others: steps.ParseNeighbours(res[4]), https: holder(res[5])}
	for k := range strings.Lines(string(res[3].Stdout)) {
		f.keys[strings.TrimSpace(k)] = true
	}
	f.load(paths, all)
	// The second flight: includes that lie elsewhere, and the certificates
	// of the server blocks that our names have already.
	if missing := append(f.tree.missing(), f.blockCertificates(frontNames(site, o.Name(), site.Served(c.Host)))...); len(missing) > 0 {
		more, err := o.Read(ctx, missing...)
		if err != nil {
			return f, fmt.Errorf("read %s: %w", strings.Join(missing, ", "), err)
		}
		f.load(missing, more)
	}
	f.tree.complete()
	return f, nil
}

// frontNames are the names that the nginx of a host has to answer for.
func frontNames(site *steps.Site, hostName string, routes []steps.Route) []string {
	var out []string
	for _, r := range site.Static(hostName) {
		out = append(out, r.Name())
	}
	for _, r := range routes {
		out = append(out, r.Name())
	}
	return out
}

// load takes in files that were read: certificates, configuration and what is
// our own. asked are the patterns that the files were read by.
func (f *facts) load(asked []string, files []host.File) {
	var text []host.File
	for _, file := range files {
		_, seen := f.own[file.Path]
		f.own[file.Path] = file
		if !file.Exists || seen {
			continue
		}
		if bytes.Contains(file.Data, []byte("-----BEGIN CERTIFICATE-----")) {
			f.certs = append(f.certs, proxy.ReadCertificate(file))
		}
		text = append(text, file)
	}
	f.tree.load(asked, text)
}

// holder is the program that ss found on a port where nginx is not.
func holder(r host.Result) string {
	m := steps.ProcName.FindStringSubmatch(string(r.Stdout))
	if m == nil || strings.Contains(string(r.Stdout), `("nginx",`) {
		return ""
	}
	return m[1]
}

func (f facts) decide(site *steps.Site, c *Config, routes []steps.Route) (steps.Decision, error) {
	var d steps.Decision
	fail := func(summary, hint string) { d.Findings = append(d.Findings, steps.Error.Finding(summary, hint)) }
	inContainer, isContainer := proxy.InContainer(f.others)
	const wayOut = `use proxy "external" {}: ecdeploy then says what the proxy needs and checks it`
	switch {
	case !f.installed && isContainer:
		fail("the proxy on "+f.name+" is "+inContainer+", and ecdeploy does not edit files of containers yet", wayOut)
	case !f.installed:
		fail("nginx is not installed on "+f.name, `apt install nginx, or proxy "external" {} for a proxy in a container or another one`)
	case !f.running:
		fail("nginx does not run on "+f.name, "systemctl status nginx")
	case f.tree.problem != "":
		fail("nginx's configuration cannot be read: "+f.tree.problem, "see what nginx -t says, or "+wayOut)
	}
	if len(d.Findings) > 0 {
		return d, nil
	}
	w := nginxWriter{facts: f, site: site, cfg: c, findings: f.others.Warn(f.name, "nginx", wayOut)}
	if isContainer {
		w.findings = append(w.findings, steps.Warning.Finding(inContainer+" takes web requests on "+f.name+", and ecdeploy does not edit files of containers yet", "if it fronts the public names, "+wayOut))
	}
	w.routes(routes)
	for _, r := range site.Static(f.name) {
		w.static(r)
	}
	w.finish()
	d.Findings = w.findings
	if len(w.edits) > 0 && !slices.ContainsFunc(w.findings, func(x steps.Finding) bool { return x.Severity == steps.Error }) {
		d.Changes = []steps.Change{&steps.Files{
			Title: Title, Dirs: w.dirs, Edits: w.edits, Unit: unit, Action: "reload",
			Overlay: steps.OverlayTops(configDir, w.edits), Check: checkText,
		}}
	}
	for _, r := range routes {
		d.Checks = append(d.Checks, r.ChecksAt(f.tree.tlsAddr())...)
	}
	return d, nil
}

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
}

// inner is text for foreign server blocks.
type inner struct {
	servers []nginxServer
	name    string
	text    strings.Builder
}

func (in *inner) has(s nginxServer) bool {
	return slices.ContainsFunc(in.servers, func(o nginxServer) bool { return o.block == s.block })
}

func (w *nginxWriter) fail(summary, hint string) {
	w.findings = append(w.findings, steps.Error.Finding(summary, hint))
}

// into returns where to write for the foreign server blocks of a name.
func (w *nginxWriter) into(winners []winner, name string) *inner {
	in := &inner{name: name}
	for _, win := range winners {
		in.servers = append(in.servers, win.server)
	}
	for _, old := range w.inside {
		if len(old.servers) == len(in.servers) && !slices.ContainsFunc(in.servers, func(s nginxServer) bool { return !old.has(s) }) {
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
		for _, win := range found {
			if win.doubt {
				w.fail("whether "+win.String()+" answers for "+name+" is for nginx's kind of regular expression to say", "add "+name+" to that server_name")
			}
			for _, r := range group {
				w.inspect(win.server, r)
			}
		}
		w.into(found, name).text.WriteString(body.String())
	}
}

// takeOver notes whose requests a new server block of our own gets.
func (w *nginxWriter) takeOver(name string, from []winner) {
	if !w.ownBlock(name).there {
		for _, win := range from {
			w.findings = append(w.findings, steps.Note.Finding("requests for "+name+" go to "+win.String()+" now; ecdeploy's own server block takes them all", "give it a name of its own, or a path, if that still needs some"))
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
			w.fail(at+" adds a CORS header to everything; the JWT service sends its own, and browsers refuse two", "move add_header Access-Control-Allow-Origin into the locations that need it")
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
// address, so a wildcard beside them would never be asked.
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
	fmt.Fprintf(&w.servers, "    server_name %s;\n    ssl_certificate %s;\n    ssl_certificate_key %s;\n\n%s\n}\n", name, proxy.NginxQuote(cert), proxy.NginxQuote(key), host.Indent(body, "    "))
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
	found = slices.DeleteFunc(found, func(win winner) bool { return win.doubt || win.server.handles(uri) })
	if len(found) == 0 {
		return
	}
	fmt.Fprintf(&w.into(found, name).text, "location = %s {\n    alias %s;\n    default_type application/json;\n    add_header Access-Control-Allow-Origin \"*\" always;\n}\n", uri, proxy.NginxQuote(r.File))
}

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
	return slices.ContainsFunc(w.inside, func(in *inner) bool { return in.has(s) && w.innerPath(in) == path })
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
	w.edits = append(w.edits, steps.FileEdit{Path: path, Before: steps.Digest(f.Data, steps.Secrets{}), Remove: true, Diff: steps.OwnDiff(path, string(f.Data), "", 0)})
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
		if _, _, yes := tree.usurps(p, listens); !yes {
			return p
		}
	}
	addr, from, _ := tree.usurps(places[len(places)-1], listens)
	w.fail("a server block of ecdeploy's own would become the default server of "+addr+", and the one at "+from.at()+" lose its requests for other names", "add default_server to `listen "+addr+"` there")
	return ""
}

func (w *nginxWriter) own(path, text string) {
	if e, needed := steps.OwnFile(path, w.facts.own[path], steps.Lit(text), 0o644, 0, steps.Secrets{}); needed {
		w.edits = append(w.edits, e)
	}
}
