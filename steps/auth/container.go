package auth

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/internal/netaddr"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

// DefaultImage is of the same release train as sfu.DefaultImage. 0.8.0 is the first
// without GHSA-rq24-fh66-rq7x.
const DefaultImage = "ghcr.io/element-hq/lk-jwt-service:0.8.0"

// fixedIn is the first version of the JWT service without GHSA-rq24-fh66-rq7x.
const fixedIn = "v0.8.0"

// Config is the MatrixRTC authorization service (the JWT service) of a site.
type Config struct {
	Host       string          `hcl:"host"`
	URL        string          `hcl:"url"`            // https://name[/prefix], no trailing slash
	Image      string          `hcl:"image,optional"` // default DefaultImage
	Archive    steps.LocalPath `hcl:"archive,optional"`
	Container  string          `hcl:"container,optional"`   // default element-call-jwt
	Port       int             `hcl:"port,optional"`        // on loopback; default 8080
	Bind       string          `hcl:"bind,optional"`        // default 127.0.0.1
	CAFile     string          `hcl:"ca_file,optional"`     // CA bundle on the host for a private CA
	FullAccess []string        `hcl:"full_access,optional"` // homeservers whose users may create rooms; default: the site's server name
	UID        int             `hcl:"uid,optional"`         // default 10033
}

// Variant is the JWT service in a container of its own.
func Variant() steps.Variant {
	return steps.Variant{
		Block: "auth", Required: true,
		Doc:     "the JWT service in a container with the host's network",
		Example: "auth {\n  host = host.NAME\n  " + steps.SampleURL + "\n}",
		Config:  func() steps.Config { return newConfig() },
		Detect: steps.DetectContainer("lk-jwt-service", func(on, name, image string) steps.Config {
			c := newConfig()
			c.Host, c.Container, c.Image = on, name, image
			return c
		}),
	}
}

func newConfig() *Config {
	return &Config{Image: DefaultImage, Container: "element-call-jwt", Bind: "127.0.0.1", Port: 8080, UID: 10033}
}

// HostName implements Config.
func (c *Config) HostName() string { return c.Host }

// Parts implements Config.
func (c *Config) Parts(d steps.Decl) []steps.Part {
	if c.FullAccess == nil {
		c.FullAccess = []string{d.Site}
	}
	route := steps.Route{Purpose: steps.Tokens, URL: c.URL, Upstream: c.addr(), CORS: true}
	route.Checks = tokenChecks(route)
	dir := (&steps.Site{Name: d.Site}).Dir() + "/auth"
	return []steps.Part{{
		Name: "auth", Title: "the JWT service", Host: d.Host, Own: []string{dir + "/key", dir + "/secret"},
		Run: &steps.Run{Container: c.Container, Image: c.Image, Archive: string(c.Archive), UID: c.UID, Other: "jwt-" + steps.FirstLabel(d.Site),
			Env: map[string]string{"LIVEKIT_FULL_ACCESS_HOMESERVERS": strings.Join(c.FullAccess, ",")}},
		Listens: []steps.Listen{{Proto: "tcp", Bind: c.Bind, First: c.Port, Last: c.Port, For: steps.ForHost,
			Claim: steps.Claim{Attr: "port", Fix: "give this one another port with port = ..."}}},
		Routes: []steps.Route{route},
		Needs:  steps.CallNeeds(c.URL),
		Resolves: []steps.Resolve{
			{Of: steps.Signalling, Why: "the JWT service calls LiveKit by that name"},
			{Name: steps.Domain(d.Site), Why: "the JWT service finds the homeserver by that name"},
		},
		Trust: c.CAFile,
	}}
}

func tokenChecks(r steps.Route) []steps.Check {
	return []steps.Check{
		{Name: "the JWT service is up at " + r.URL, Timeout: steps.RouteTimeout, HTTP: &steps.HTTPCheck{URL: r.URL + "/healthz", Status: 200},
			Hint: "404: the proxy does not strip the prefix; 502: it does not reach " + r.Upstream},
		{Name: "clients reach /sfu/get at " + r.URL,
			Timeout: steps.RouteTimeout,
			HTTP:    &steps.HTTPCheck{URL: r.URL + "/sfu/get", Status: 405, OneHeader: "Access-Control-Allow-Origin"},
			Hint:    "the proxy must pass the path on and add no CORS header of its own"},
	}
}

// Check implements Config.
func (c *Config) Check(b steps.Block, d steps.Decl, s *steps.Site) {
	proxy, _ := s.ProxyOn(s.Front(d.Host))
	steps.CheckPublicURL(b, c.URL, "/livekit/jwt", proxy)
	c.checkImage(b)
	steps.CheckContainer(b, c.Container)
	steps.CheckUID(b, c.UID)
	steps.CheckIP(b, "bind", c.Bind)
	steps.CheckPort(b, "port", c.Port, 1024)
	steps.CheckHostPath(b, "ca_file", c.CAFile)
	if b.Known("full_access") {
		c.checkFullAccess(b)
	}
}

func (c *Config) checkImage(b steps.Block) {
	r, _ := steps.ParseImageRef(c.Image)
	version := "v" + strings.TrimPrefix(r.Tag, "v")
	if b.Given("image") && b.Known("image") && strings.HasSuffix(r.Name, "lk-jwt-service") && semver.IsValid(version) && semver.Compare(version, fixedIn) < 0 {
		b.Wrong("image",
			fmt.Sprintf("the JWT service %s has a vulnerability: it does not check whose token it is given (GHSA-rq24-fh66-rq7x)", r.Tag),
			"write "+DefaultImage+"; 0.8.0 is the first without it")
		return
	}
	steps.CheckImage(b, c.Image, string(c.Archive), DefaultImage)
}

func (c *Config) checkFullAccess(b steps.Block) {
	if len(c.FullAccess) == 0 {
		b.Wrong("full_access", "full_access is empty: nobody could start a call", "remove the line for the site's own users, or name server names")
	}
	for _, name := range c.FullAccess {
		switch {
		case name == "*" && len(c.FullAccess) == 1:
			b.Doubtful("full_access", "users of every homeserver may start calls here", "name the server names whose users may")
		case name == "*":
			b.Wrong("full_access", `"*" counts only where it stands alone`, "name the server names whose users may start calls")
		case !steps.IsServerName(name) && b.Given("full_access"):
			b.Wrong("full_access", fmt.Sprintf("%q is no Matrix server name", name), "write what stands behind the colon in @user:example.org")
		}
	}
}

// grace is how long the service may take to end.
const grace = 5 * time.Second

type facts struct {
	name      string
	files     map[string]host.File
	image     steps.ImageFacts
	container steps.ContainerFacts
	arch      string
}

// Steps implements Config.
func (c *Config) Steps(d steps.Decl, s *steps.Site) []steps.Placed {
	return []steps.Placed{
		{Stage: steps.StageAuth, Host: d.Host, Step: c.container(d, s)},
		{Stage: steps.StageHomeserver, Host: d.Host, Step: c.paths(s), Closing: true},
	}
}

// container runs the service.
func (c *Config) container(d steps.Decl, site *steps.Site) steps.Step {
	dir := site.Dir() + "/auth"
	key, secret := dir+"/key", dir+"/secret"
	probe := func(ctx context.Context, o host.Observer) (facts, error) {
		files, _, res, err := steps.Look(ctx, o, []string{"/etc/ecdeploy", site.Dir(), dir, key, secret, cmp.Or(c.CAFile, dir)},
			steps.QueryImage(c.Image), steps.QueryContainer(c.Container), steps.QueryArch)
		if err != nil {
			return facts{}, err
		}
		f := facts{name: o.Name(), files: files, arch: steps.ParseArch(res[2])}
		if f.image, err = steps.ParseImage(res[0]); err != nil {
			return f, err
		}
		f.container, err = steps.ParseContainer(res[1])
		return f, err
	}
	share := func(f facts, s *steps.Shared) { f.share(dir, s) }
	diff := func(f facts, s steps.Shared) (steps.Decision, error) { return c.decide(d, site, f, s) }
	return steps.Define("jwt-service", probe, share, diff)
}

// share offers the credentials in the service's folder.
func (f facts) share(dir string, s *steps.Shared) {
	key, secret := dir+"/key", dir+"/secret"
	s.Offers = append(s.Offers, credentials.OffersElsewhere(f.name, f.files[key], f.files[secret])...)
	if p := credentials.PairOf(f.files[key], f.files[secret]); !p.IsZero() {
		steps.Put(s, credentials.Issued, f.name, p)
	}
}

func (c *Config) decide(d steps.Decl, site *steps.Site, f facts, s steps.Shared) (steps.Decision, error) {
	dir := site.Dir() + "/auth"
	key, secret := dir+"/key", dir+"/secret"
	out := steps.Decision{Findings: f.container.Foreign(site, c.Container)}
	switch ca := f.files[c.CAFile]; {
	case c.CAFile == "":
	case !ca.Exists:
		out.Findings = append(out.Findings, steps.Error.Finding("ca_file "+c.CAFile+" is not on the host",
			"auth.ca_file is a path on the host, such as /etc/ssl/certs/ca-certificates.crt"))
	case ca.Mode.Perm()&0o004 == 0 && !(ca.GID == c.UID && ca.Mode.Perm()&0o040 != 0):
		out.Findings = append(out.Findings, steps.Error.Finding(fmt.Sprintf("ca_file %s cannot be read by the JWT service, which runs as user %d", c.CAFile, c.UID),
			"chmod 0644 "+c.CAFile))
	}
	images, more := steps.PlanImage(c.Image, d.Parts[0].Run.File, f.arch, f.image)
	out.Changes, out.Findings = images, append(out.Findings, more...)

	texts := []steps.Text{{{Ref: livekit.RefKey}, {Lit: "\n"}}, {{Ref: livekit.RefSecret}, {Lit: "\n"}}}
	change := steps.Container{Site: site.Name, Spec: c.spec(site, dir), Config: texts, Replaces: f.container.ID, Stops: "the JWT service ends: nobody can join a call any more",
		Dirs: steps.MissingDirs(steps.SiteDirs(site, "auth", c.UID), f.files)}
	for i, p := range []string{key, secret} {
		if e, needed := steps.OwnFile(p, f.files[p], texts[i], 0o640, c.UID, s.Secrets); needed {
			change.Edits = append(change.Edits, e)
		}
	}
	held := credentials.PairOf(f.files[key], f.files[secret])
	change.PlanReplace(f.container,
		f.image, images,
		credentials.Why(livekit.Keys{Key: held.Key, Secret: held.Secret}, livekit.KeysByRef(s.Secrets.Values)),
		s.Secrets)
	if f.container.Running {
		change.Interrupt = "the JWT service restarts: joins fail for about a second"
	}
	if len(change.Why) > 0 {
		out.Changes = append(out.Changes, &change)
	}
	out.Checks = c.checks()
	out.Stands = append(steps.Refs(steps.EntryFile, key, secret), steps.Ref{Kind: steps.EntryContainer, Name: c.Container})
	return out, nil
}

// spec is the container (environment as in element-hq/lk-jwt-service's
// README). It shares the host's network: then it resolves and reaches names as
// the host does, and listens on loopback alone.
func (c *Config) spec(site *steps.Site, dir string) host.ContainerSpec {
	spec := host.ContainerSpec{
		Name: c.Container, Image: c.Image,
		Env: map[string]string{
			"LIVEKIT_URL":                     webSocketURL(site),
			"LIVEKIT_KEY_FROM_FILE":           "/config/key",
			"LIVEKIT_SECRET_FROM_FILE":        "/config/secret",
			"LIVEKIT_JWT_BIND":                c.addr(),
			"LIVEKIT_FULL_ACCESS_HOMESERVERS": strings.Join(c.FullAccess, ","),
		},
		User: fmt.Sprintf("%d:%d", c.UID, c.UID), Restart: "always", StopTimeout: grace,
		Mounts: []host.Mount{{Source: dir, Target: "/config"}},
	}
	if c.CAFile != "" {
		spec.Env["SSL_CERT_FILE"] = "/ca.pem"
		spec.Mounts = append(spec.Mounts, host.Mount{Source: c.CAFile, Target: "/ca.pem"})
	}
	return spec
}

func (c *Config) addr() string { return net.JoinHostPort(c.Bind, strconv.Itoa(c.Port)) }

// webSocketURL is the SFU's public signalling URL, wss://name[/prefix]. The JWT service
// hands it to clients as it is and calls LiveKit's API through it
// (element-hq/lk-jwt-service README).
func webSocketURL(site *steps.Site) string {
	r, _ := site.Route(steps.Signalling)
	return r.WebSocketURL()
}

func (c *Config) checks() []steps.Check {
	base := "http://" + net.JoinHostPort(netaddr.Dialable(c.Bind), strconv.Itoa(c.Port))
	logs := "docker:" + c.Container
	return []steps.Check{
		{
			Name:    "the JWT service is up",
			HTTP:    &steps.HTTPCheck{URL: base + "/healthz", Status: 200},
			Timeout: 30 * time.Second,
			Logs:    logs,
			Hint:    "docker logs " + c.Container,
		},
		{
			Name:    "the JWT service serves /sfu/get",
			HTTP:    &steps.HTTPCheck{URL: base + "/sfu/get", Status: 405},
			Timeout: 10 * time.Second,
			Logs:    logs,
			Hint:    "docker logs " + c.Container,
		},
		{
			Name:      "the JWT service keeps running",
			Container: &steps.ContainerCheck{Name: c.Container, Steady: 2 * time.Second},
			Timeout:   20 * time.Second,
			Logs:      logs,
			Hint:      "docker logs " + c.Container,
		},
	}
}
