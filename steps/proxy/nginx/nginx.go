package nginx

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/proxy"
)

// Title is the title of the change to files of others. The hosts remember it: by it a
// site's edits are found again when it is taken away.
const Title = "nginx"

const (
	configDir = "/etc/nginx"
	unit      = "nginx.service"
)

// validator is nginx's own.
var validator = steps.Validator{Argv: []string{"nginx", "-t"}}

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
var nginxRead = []string{configDir + "/*.conf",
	configDir + "/mime.types",
	configDir + "/*_params",
	configDir + "/modules-enabled/*.conf",
	configDir + "/conf.d/*.conf",
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
		Effects: &steps.EffectKind{Word: "nginx", Stage: steps.StageProxy, Step: new(Config).serve},
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
	f := facts{name: o.Name(),
		installed: res[0].OK(),
		running:   res[1].OK(),
		ipv6:      res[2].OK(),
		keys:      map[string]bool{},
		own:       map[string]host.File{},
		now:       time.Now(),
		others:    steps.ParseNeighbours(res[4]), https: holder(res[5])}
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
	if !f.installed && len(routes)+len(site.Static(f.name)) == 0 {
		return d, nil
	}
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
		w.findings = append(w.findings, steps.Warning.Finding(inContainer+" takes web requests on "+f.name+", and ecdeploy does not edit files of containers yet",
			"if it fronts the public names, "+wayOut))
	}
	w.routes(routes)
	for _, r := range site.Static(f.name) {
		w.static(r)
	}
	w.finish()
	d.Findings, d.Stands = w.findings, w.stands
	if len(w.edits) > 0 && !slices.ContainsFunc(w.findings, func(x steps.Finding) bool { return x.Severity == steps.Error }) {
		d.Changes = []steps.Change{&steps.Files{
			Title: Title, Dirs: w.dirs, Edits: w.edits, Unit: unit, Action: "reload",
			Overlay: steps.OverlayTops(configDir, w.edits), Check: &validator,
		}}
	}
	for _, r := range routes {
		d.Checks = append(d.Checks, r.ChecksAt(f.tree.tlsAddr())...)
	}
	return d, nil
}
