package caddy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/proxy"
)

// linger is how long WebSockets survive a reload: longer than calls last.
const linger = 24 * time.Hour

// corsHeader is what the services send themselves; browsers refuse two.
const corsHeader = "Access-Control-Allow-Origin"

// writer collects the edits of one decision.
type writer struct {
	facts    facts
	site     *steps.Site
	cfg      *Config
	src      splice.CaddySource // as the files will be; our own of the site are empty
	inside   []*inner           // what goes into sites that are there
	sites    strings.Builder    // sites of our own
	issued   []string           // names whose certificate Caddy has to get first
	dirs     []steps.Dir
	edits    []steps.FileEdit
	findings []steps.Finding
	stands   []steps.Ref // files that shall hold something of the site
}

// inner are routes of a name that go into a site that is there.
type inner struct {
	block  int // among the facts' Blocks
	name   string
	prefix string // one that the site serves
	routes []splice.CaddyRoute
}

func newWriter(f facts, site *steps.Site, c *Config) *writer {
	w := &writer{facts: f, site: site, cfg: c, src: f.src}
	w.src.Files = maps.Clone(f.src.Files)
	return w
}

func (w *writer) fail(summary, hint string) {
	w.findings = append(w.findings, steps.Error.Finding(summary, hint))
}

func (w *writer) warn(summary, hint string) {
	w.findings = append(w.findings, steps.Warning.Finding(summary, hint))
}

// routes puts every public name where it belongs: into the site that serves it
// already, so that the rest of the name stays, or into a site of our own.
func (w *writer) routes(routes []steps.Route) {
	for _, group := range proxy.ByName(routes) {
		name := group[0].Name()
		whole := slices.ContainsFunc(group, func(r steps.Route) bool { return r.Prefix() == "" })
		var alone []splice.CaddyRoute
		for _, r := range group {
			switch i, doubt := w.facts.config.SiteFor(name, r.Prefix()); {
			case doubt != "":
				w.fail("it is unknown which site of Caddy serves "+r.URL+": "+doubt, "write a site for "+name+" alone, or "+wayOut)
			case i < 0:
				alone = append(alone, w.route(r, nil))
			case whole && !answersTo(w.facts.config.Blocks[i], name):
				w.takeOver(name, w.facts.config.Blocks[i])
				alone = append(alone, w.route(r, nil))
			default:
				w.into(i, name, r, w.inspect(i, name, r))
			}
		}
		if len(alone) > 0 {
			w.ownSite(name, alone)
		}
	}
}

// route is a route in the form in which it is written.
func (w *writer) route(r steps.Route, set [][2]string) splice.CaddyRoute {
	out := splice.CaddyRoute{Name: w.matcher(r.Purpose), Prefix: r.Prefix(), Upstream: r.Upstream, File: r.File, Quiet: r.Quiet, Set: set}
	if r.WebSocket && w.facts.lingers() {
		out.Linger = linger
	}
	return out
}

// matcher is the name of a route's matcher: another one for each site, of which
// several may go into one site of Caddy's.
func (w *writer) matcher(p steps.Purpose) string {
	slug := strings.NewReplacer(".", "_", "-", "__", "_", "_p_").Replace(w.site.Slug())
	return unnamed.ReplaceAllString(string(p)+"_"+slug, "")
}

var (
	unnamed   = regexp.MustCompile(`[^A-Za-z0-9_]`)
	unwritten = regexp.MustCompile(`[^A-Za-z0-9_.-]`)
)

// into notes what goes into a site that is there.
func (w *writer) into(block int, name string, r steps.Route, set [][2]string) {
	if file := w.facts.config.Blocks[block].Keys[0].File; strings.HasPrefix(file, ownDir+"/") {
		w.fail(name+" is served by a site that ecdeploy wrote for another homeserver ("+file+")", "give each homeserver public names of its own")
		return
	}
	i := slices.IndexFunc(w.inside, func(in *inner) bool { return in.block == block && in.name == name })
	if i < 0 {
		i = len(w.inside)
		w.inside = append(w.inside, &inner{block: block, name: name, prefix: r.Prefix()})
	}
	w.inside[i].routes = append(w.inside[i].routes, w.route(r, set))
}

// inspect says what of a site would keep a route from working, and returns the
// headers that the route has to set itself because the site sets them for all.
func (w *writer) inspect(block int, name string, r steps.Route) (set [][2]string) {
	site := w.facts.config.Blocks[block]
	for _, o := range w.facts.config.Obstacles(block, name, r.Prefix()) {
		what := o.Token.Text + " at " + o.Token.Place()
		hint := "put it into a handle { } block of that site, or give it a matcher that leaves out " + r.Prefix() + "/*"
		switch {
		case o.Effect == splice.CaddyHeader:
			set = [][2]string{{corsHeader, "*"}}
		case o.Token.Text == "header" && !r.CORS:
		case o.Effect == splice.CaddyInFront && o.Sure:
			w.fail(what+" comes before the routes for "+r.URL+", which would not be reached", hint)
		case o.Effect == splice.CaddyInFront:
			w.warn(what+" may come before the routes for "+r.URL, hint)
		case o.Effect == splice.CaddyReplace && !w.facts.imports(site):
			w.warn(what+" serves "+r.URL+", or a part of it, until now; ecdeploy's routes come first", "remove it once nothing needs it")
		}
	}
	return set
}

// imports reports whether a site imports a file of our own for the site.
func (f facts) imports(site splice.CaddyBlock) bool {
	for _, p := range f.ownFiles() {
		if i := slices.IndexFunc(f.importers(p), func(b splice.CaddyBlock) bool { return b.Open == site.Open }); i >= 0 {
			return true
		}
	}
	return false
}

// takeOver notes whose requests a new site of our own gets.
func (w *writer) takeOver(name string, from splice.CaddyBlock) {
	if slices.Contains(w.facts.ownFiles(), w.sitesPath()) {
		return
	}
	w.findings = append(w.findings, steps.Note.Finding("requests for "+name+" go to the site at "+from.Keys[0].Place()+" now; ecdeploy's own site takes them all",
		"give ecdeploy a name of its own, or a path, if that still needs some"))
}

// ownSite adds a site for a public name that nobody serves yet. The longest paths
// come first.
func (w *writer) ownSite(name string, routes []splice.CaddyRoute) {
	tls, ok := w.certificate(name)
	if !ok {
		return
	}
	for _, b := range w.facts.config.Blocks {
		if at := bound(b); b.Site() && at != "" {
			w.fail(fmt.Sprintf("no site of Caddy serves %s, and on which address one has to listen is unknown: the site at %s is only for %s (bind)",
				name, b.Keys[0].Place(), at),
				"write a site `"+name+" { }` with its bind yourself: ecdeploy then puts its routes there")
			return
		}
	}
	text, err := splice.CaddySite(name, tls, byLength(routes))
	if err != nil {
		w.fail("a site for "+name+" cannot be written: "+err.Error(), wayOut)
		return
	}
	w.sites.WriteString("\n" + text)
	if old := string(w.facts.files[w.sitesPath()].Data); strings.Contains(old, "\n"+name+" {\n") {
		return
	}
	if len(tls) == 0 {
		w.issued = append(w.issued, name)
	}
	for _, b := range w.facts.config.Blocks {
		if b.Site() && answersTo(b, name) {
			w.warn("the site at "+b.Keys[0].Place()+" serves "+name+", but not over HTTPS: ecdeploy adds a site that does", "if something in front of Caddy ends TLS, "+wayOut)
		}
	}
}

// byLength are routes with the longest paths first.
func byLength(routes []splice.CaddyRoute) []splice.CaddyRoute {
	out := slices.Clone(routes)
	slices.SortStableFunc(out, func(a, b splice.CaddyRoute) int { return len(b.Prefix) - len(a.Prefix) })
	return out
}

// certificate are the arguments of tls for a name: the plan file's certificate, or
// none, where Caddy gets one itself.
func (w *writer) certificate(name string) (tls []string, ok bool) {
	if w.cfg.Certificate == "" {
		switch off := w.facts.option("auto_https", ""); off {
		case "off", "disable_certs":
			w.fail("Caddy on "+w.facts.name+" gets no certificates (auto_https "+off+"), and no site of it serves "+name,
				`name one with certificate and key in proxy "caddy" {}`)
			return nil, false
		}
		return nil, true
	}
	renew := "put a certificate for " + name + ` there, or remove certificate and key from proxy "caddy" {}: Caddy then gets one`
	for _, p := range []string{w.cfg.Certificate, w.cfg.Key} {
		switch w.facts.closed[p] {
		case "missing":
			w.fail(p+" is not on "+w.facts.name, renew)
			return nil, false
		case "closed":
			w.fail("Caddy on "+w.facts.name+" may not read "+p, "let the user that "+unit+" runs as read it, and enter the folders that lead to it")
			return nil, false
		}
	}
	findings, ok := proxy.ReadCertificate(w.facts.files[w.cfg.Certificate]).Judge(name, renew, w.facts.now)
	w.findings = append(w.findings, findings...)
	return []string{w.cfg.Certificate, w.cfg.Key}, ok
}

// static makes sure that a static file is served as JSON with its one CORS header.
// What a site has for that path already is left to its owner.
func (w *writer) static(r steps.Route) {
	name := r.Name()
	i, doubt := w.facts.config.SiteFor(name, r.Prefix())
	switch {
	case doubt != "":
		w.warn("it is unknown which site of Caddy serves "+r.URL+": "+doubt, "see that "+r.File+` is served there, or use well_known "external" {}`)
		return
	case i < 0:
		w.warn("Caddy on "+w.facts.name+" has no site for "+name+", so "+r.File+" may be served by nobody", "serve "+r.URL+`, or use well_known "external" {}`)
		return
	}
	for _, o := range w.facts.config.FileObstacles(i, name, r.Prefix()) {
		what := o.Token.Text + " at " + o.Token.Place()
		switch {
		case o.Effect == splice.CaddyReplace, o.Effect == splice.CaddyHeader && o.Sure:
			return
		case o.Effect == splice.CaddyInFront && o.Token.Text != "header":
			w.warn(what+" may keep "+r.File+" from being served", "see what "+r.URL+` answers, or use well_known "external" {}`)
		}
	}
	w.into(i, name, r, [][2]string{{"Content-Type", "application/json"}, {corsHeader, "*"}})
}
