package caddy

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/proxy"
)

const (
	// lingerSince is the version that can keep WebSockets open over a reload.
	lingerSince = "2.7.0"
	oldest      = "2.6.0"
	// issueTime bounds the checks of a name for which Caddy has to get a certificate first.
	issueTime = 2 * time.Minute
)

func (f facts) decide(site *steps.Site, c *Config) steps.Decision {
	var d steps.Decision
	if !f.unit.found && len(site.Parts) == 0 {
		return d
	}
	if summary, hint := f.unsupported(); summary != "" {
		d.Findings = append(d.Findings, steps.Error.Finding(summary, hint))
		return d
	}
	routes := site.Served(c.Host)
	w := newWriter(f, site, c)
	w.findings = f.others.Warn(f.name, "Caddy", wayOut)
	if inContainer, ok := proxy.InContainer(f.others); ok {
		w.warn(inContainer+" takes web requests on "+f.name+", and ecdeploy does not edit files of containers yet", "if it fronts the public names, "+wayOut)
	}
	w.routes(routes)
	for _, r := range site.Static(f.name) {
		w.static(r)
	}
	w.finish()
	failed := slices.ContainsFunc(w.findings, func(x steps.Finding) bool { return x.Severity == steps.Error })
	if len(w.edits) > 0 && !failed {
		d.Changes = []steps.Change{f.change(w.edits, w.dirs)}
		w.effects(routes)
	}
	d.Findings, d.Stands = w.findings, w.stands
	address := f.address(routes)
	for _, r := range routes {
		for _, check := range r.ChecksAt(address) {
			if slices.Contains(w.issued, r.Name()) {
				check.Timeout = max(check.Timeout, issueTime)
			}
			d.Checks = append(d.Checks, check)
		}
	}
	return d
}

// unsupported says why nothing can be done with the host's Caddy, and a way out.
func (f facts) unsupported() (summary, hint string) {
	inContainer, isContainer := proxy.InContainer(f.others)
	const install = `apt install caddy, or proxy "external" {} for a proxy in a container or another one`
	switch {
	case f.unit.api && !f.unit.active:
		return "Caddy on " + f.name + " is configured through its API (caddy-api.service), and what is told there is in no Caddyfile", wayOut
	case !f.unit.found && isContainer:
		return "the proxy on " + f.name + " is " + inContainer + ", and ecdeploy does not edit files of containers yet", wayOut
	case !f.unit.found && f.running:
		return "Caddy on " + f.name + " was not started by " + unit, "start it as " + unit + ", as its package does, or " + wayOut
	case !f.unit.found:
		return "Caddy is not installed on " + f.name + ": there is no " + unit, install
	case f.unit.problem != "":
		return f.unit.problem, wayOut
	case !f.unit.active:
		return "Caddy does not run on " + f.name, "systemctl status " + unit
	case f.wrong != "" || f.config == nil:
		return "Caddy's configuration cannot be understood: " + f.wrong, "see what `caddy validate --config " + f.unit.config + "` says, or " + wayOut
	case strings.HasPrefix(f.loaded, "refused"):
		return "Caddy on " + f.name + " does not take its configuration as it is: " + strings.TrimPrefix(f.loaded, "refused "),
			"correct it, and systemctl reload " + unit
	case olderThan(f.version, oldest):
		return "Caddy " + f.version + " on " + f.name + " is too old: ecdeploy knows how Caddy from 2.6 on reads its files", "upgrade it, or " + wayOut
	case f.https != "" && f.option("https_port", "443") == "443":
		return "port 443 on " + f.name + " is taken by " + f.https + ", so Caddy does not serve the public names", "stop it, or " + wayOut
	}
	return "", ""
}

// change is what is done to files, and how Caddy learns of it.
func (f facts) change(edits []steps.FileEdit, dirs []steps.Dir) *steps.Files {
	out := &steps.Files{
		Title: Title, Dirs: dirs, Edits: edits, Unit: unit, Action: "reload",
		Overlay: steps.OverlayTops(configDir, edits), Check: f.unit.checker(),
	}
	switch {
	case f.option("admin", "") == "off":
		out.Action, out.Interrupt = "restart", "Caddy restarts, since it has no API to be reloaded by (admin off): all its connections end"
	case !f.lingers():
		out.Interrupt = "Caddy reloads, which ends its WebSockets before version 2.7"
	}
	return out
}

// lingers reports whether WebSockets can survive a reload.
func (f facts) lingers() bool { return !olderThan(f.version, lingerSince) }

// effects says what a reload does besides reading our files.
func (w *writer) effects(routes []steps.Route) {
	if w.facts.loaded == "other" && w.facts.option("persist_config", "") != "off" {
		w.warn("Caddy on "+w.facts.name+" runs another configuration than "+w.facts.unit.config+
			" says: the file was edited and not loaded yet, or Caddy's API was used; loading the file ends that",
			"systemctl reload "+unit+" to see what the file does; if Caddy is configured through its API, "+wayOut)
	}
	if !w.facts.lingers() && slices.ContainsFunc(routes, func(r steps.Route) bool { return r.WebSocket }) {
		w.warn("Caddy "+w.facts.version+" on "+w.facts.name+
			" ends WebSockets each time it reloads, also for other sites: people on a call then connect again (stream_close_delay came with 2.7)",
			"upgrade Caddy to 2.7 or newer, or "+wayOut)
	}
}

// address is where Caddy serves the routes on its own host.
func (f facts) address(routes []steps.Route) string {
	if f.config == nil {
		return "127.0.0.1:443"
	}
	addr := f.option("default_bind", "")
	for _, r := range routes {
		if i, _ := f.config.SiteFor(r.Name(), r.Prefix()); i >= 0 {
			if own := bound(f.config.Blocks[i]); own != "" {
				addr = own
			}
			break
		}
	}
	if ip, err := netip.ParseAddr(addr); err != nil || ip.IsUnspecified() {
		addr = "127.0.0.1"
	}
	return net.JoinHostPort(addr, f.option("https_port", "443"))
}

// bound is the first address of a site's bind; "" for none.
func bound(site splice.CaddyBlock) string {
	for _, d := range site.Directives {
		if args := d.Args(); d.Name() == "bind" && len(args) > 0 {
			return args[0]
		}
	}
	return ""
}

// option is the first argument of a global option.
func (f facts) option(name, fallback string) string {
	for _, b := range f.config.Blocks {
		if !b.Global() {
			continue
		}
		for _, d := range b.Directives {
			if args := d.Args(); d.Name() == name && len(args) > 0 {
				fallback = args[0]
			}
		}
	}
	return fallback
}

// answersTo reports whether one of a site's addresses stands for the name: literally,
// or by a *. A site may also take all names that no other site has.
func answersTo(site splice.CaddyBlock, name string) bool {
	return slices.ContainsFunc(site.Keys, func(k splice.CaddyToken) bool {
		a, err := splice.ParseCaddyAddress(k.Text)
		if err != nil {
			return false
		}
		pattern, labels := strings.Split(a.Host, "."), strings.Split(name, ".")
		return slices.EqualFunc(pattern, labels, func(p, l string) bool { return p == "*" || strings.EqualFold(p, l) })
	})
}
