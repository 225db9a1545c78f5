package sfu

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/internal/netaddr"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

// grace is how long LiveKit may drain calls before it is killed.
const grace = 20 * time.Second

type facts struct {
	name      string
	files     map[string]host.File
	image     steps.ImageFacts
	container steps.ContainerFacts
	addrs     []steps.HostAddr
	route     steps.HostAddr // of the default route
	arch      string
}

// Steps implements Config.
func (c *Config) Steps(d steps.Decl, s *steps.Site) []steps.Placed {
	return []steps.Placed{{Stage: steps.StageSFU, Host: d.Host, Step: c.container(d, s)}}
}

// container runs LiveKit with its configuration.
func (c *Config) container(d steps.Decl, site *steps.Site) steps.Step {
	dir := site.Dir() + "/sfu"
	config, keys := sfuFiles(site)
	probe := func(ctx context.Context, o host.Observer) (facts, error) {
		files, _, res, err := steps.Look(ctx, o, []string{"/etc/ecdeploy", site.Dir(), dir, config, keys},
			steps.QueryImage(c.Image), steps.QueryContainer(c.Container), steps.QueryAddrs, steps.QueryRoute, steps.QueryArch)
		if err != nil {
			return facts{}, err
		}
		f := facts{name: o.Name(), files: files, addrs: steps.ParseAddrs(res[2]), route: steps.ParseRoute(res[3]), arch: steps.ParseArch(res[4])}
		if f.image, err = steps.ParseImage(res[0]); err != nil {
			return f, err
		}
		f.container, err = steps.ParseContainer(res[1])
		return f, err
	}
	share := func(f facts, s *steps.Shared) { f.share(keys, s) }
	diff := func(f facts, s steps.Shared) (steps.Decision, error) {
		return c.decide(d.Parts[0].Run.File, site, f, s)
	}
	return steps.Define("livekit", probe, share, diff)
}

// share offers the credentials in the key file at a path.
func (f facts) share(keys string, s *steps.Shared) {
	s.Offers = append(s.Offers, credentials.OffersInUse(f.name, f.files[keys])...)
	if livekit.Unread(f.files[keys].Data) {
		steps.Put(s, credentials.Unread, f.name, keys)
	}
}

// sfuFiles are the paths of LiveKit's configuration and key file on the host.
func sfuFiles(site *steps.Site) (config, keys string) {
	return site.Dir() + "/sfu/livekit-config.yaml", site.Dir() + "/sfu/keys.yaml"
}

func (c *Config) decide(archive *steps.Archive, site *steps.Site, f facts, s steps.Shared) (steps.Decision, error) {
	dir := site.Dir() + "/sfu"
	config, keys := sfuFiles(site)
	var d steps.Decision
	held, wanted := livekit.ParseKeyFile(f.files[keys].Data), livekit.KeysByRef(s.Secrets.Values)
	nodeIP, dev, findings := c.media(f)
	d.Findings = slices.Concat(findings, f.container.Foreign(site, c.Container), credentials.Findings(held, wanted))
	if livekit.Unread(f.files[keys].Data) {
		d.Findings = append(d.Findings, steps.Warning.Finding("what "+keys+" holds is not understood: LiveKit may accept other pairs, which this run takes away",
			"look into it first; ecdeploy reads lines `KEY: SECRET`, two at most, without quotes"))
	}
	changes, more := steps.PlanImage(c.Image, archive, f.arch, f.image)
	d.Changes, d.Findings = changes, append(d.Findings, more...)

	texts := []steps.Text{c.liveKitConfig(site, nodeIP, dev), credentials.File(wanted)}
	spec := host.ContainerSpec{
		Name: c.Container, Image: c.Image, Args: []string{"--config", "/config/livekit-config.yaml"},
		User: fmt.Sprintf("%d:%d", c.UID, c.UID), Restart: "always", StopTimeout: grace,
		Mounts: []host.Mount{{Source: dir, Target: "/config"}},
	}
	change := steps.Container{Site: site.Name, Spec: spec, Config: texts, Replaces: f.container.ID, Stops: "LiveKit ends: calls on it are interrupted",
		Dirs: steps.MissingDirs(steps.SiteDirs(site, "sfu", c.UID), f.files)}
	lint := []steps.LintFile{{Target: "/config/livekit-config.yaml", Path: config, K: -1}, {Target: "/config/keys.yaml", Path: keys, K: -1}}
	for i, p := range []string{config, keys} {
		if e, needed := steps.OwnFile(p, f.files[p], texts[i], 0o640, c.UID, s.Secrets); needed {
			lint[i].K = len(change.Edits)
			change.Edits = append(change.Edits, e)
		}
	}
	change.Check = steps.DockerLint(spec,
		c.UID, lint,
		strings.ReplaceAll(c.Ports.UDP, " ", "")+" - ICE/UDP range",
		"--config", "/config/livekit-config.yaml", "ports")
	change.PlanReplace(f.container, f.image, changes, credentials.Why(held, wanted), s.Secrets)
	if f.container.Running {
		change.Interrupt = fmt.Sprintf("LiveKit restarts, within %s: calls on it are interrupted", grace)
	}
	if len(change.Why) > 0 {
		d.Changes = append(d.Changes, &change)
	}
	d.Checks = c.checks()
	d.Stands = append(steps.Refs(steps.EntryFile, config, keys), steps.Ref{Kind: steps.EntryContainer, Name: c.Container})
	return d, nil
}

// media decides which address LiveKit tells clients and on which interface it
// gathers candidates. Without the filter it takes every interface: next to
// docker0, TCP 7881 then fails even with node_ip set.
func (c *Config) media(f facts) (nodeIP string, devices []string, findings []steps.Finding) {
	devices = c.Interfaces
	nodeIP = c.NodeIP
	if nodeIP == "" && !c.ExternalIP {
		nodeIP = f.route.IP
		own, _ := netip.ParseAddr(nodeIP) // zero, and so not private, for none
		switch {
		case nodeIP == "":
			return "", devices, []steps.Finding{steps.Error.Finding("the host's own address is unknown: it has no default route", `set node_ip in sfu {}`)}
		case netaddr.Private(own):
			return nodeIP, devices, []steps.Finding{steps.Error.Finding("the host's own address "+nodeIP+
				" is private: clients on the internet could not send media to it",
				`set node_ip to the public address, or external_ip = true, in sfu {}`)}
		}
	}
	if len(devices) == 0 {
		for ip := range strings.SplitSeq(nodeIP, ",") { // one of IPv4, one of IPv6, or none
			for _, dev := range f.holders(ip) {
				if !slices.Contains(devices, dev) {
					devices = append(devices, dev)
				}
			}
		}
	}
	if len(devices) == 0 {
		findings = append(findings, steps.Error.Finding("the network interface for media is unknown", `set interfaces = ["eth0"] in sfu {}`))
	}
	return nodeIP, devices, findings
}

// holders are the interfaces that hold ip; behind 1:1 NAT none does, and it
// comes in on the default route's.
func (f facts) holders(ip string) []string {
	var devices []string
	for _, a := range f.addrs {
		if a.IP == ip {
			devices = append(devices, a.Dev)
		}
	}
	if len(devices) == 0 && f.route.Dev != "" {
		devices = []string{f.route.Dev}
	}
	return devices
}

// liveKitConfig is livekit-config.yaml (keys as in livekit/livekit
// config-sample.yaml, v1.13).
func (c *Config) liveKitConfig(site *steps.Site, nodeIP string, devices []string) steps.Text {
	first, last := c.Ports.UDPRange()
	var b strings.Builder
	fmt.Fprintf(&b, "# LiveKit for %s. Written by ecdeploy: change the plan file, not this file.\n", site.Name)
	fmt.Fprintf(&b, "port: %d\n", c.Ports.Signalling)
	if !netaddr.Wildcard(c.Bind) {
		fmt.Fprintf(&b, "bind_addresses: [%s]\n", strconv.Quote(c.Bind))
	}
	fmt.Fprintf(&b, "rtc:\n  tcp_port: %d\n  port_range_start: %d\n  port_range_end: %d\n  use_external_ip: %t\n", c.Ports.TCP, first, last, c.ExternalIP)
	if nodeIP != "" {
		fmt.Fprintf(&b, "  node_ip: %s\n", strconv.Quote(nodeIP))
	}
	if len(devices) > 0 {
		b.WriteString("  interfaces:\n    includes:\n")
		for _, d := range devices {
			fmt.Fprintf(&b, "      - %s\n", strconv.Quote(d))
		}
	}
	b.WriteString("room:\n  auto_create: false\nkey_file: /config/keys.yaml\nlogging:\n  json: true\n  level: info\nwebhook:\n  urls:\n")
	fmt.Fprintf(&b, "    - %s\n  api_key: \"", strconv.Quote(c.webhookURL(site)))
	return steps.Text{{Lit: b.String()}, {Ref: livekit.RefKey}, {Lit: "\"\n"}}
}

// webhookURL is where LiveKit tells the JWT service of participants that left:
// directly on the same host, else through the public URL.
func (c *Config) webhookURL(site *steps.Site) string {
	r, auth := site.Route(steps.Tokens)
	if auth.Host == c.HostName() {
		return "http://" + r.Upstream + "/sfu_webhook"
	}
	return r.URL + "/sfu_webhook"
}

// LocalURL is where LiveKit answers on its own host, without a slash at its end.
func (c *Config) LocalURL() string {
	return "http://" + net.JoinHostPort(netaddr.Dialable(c.Bind), strconv.Itoa(c.Ports.Signalling))
}

func (c *Config) checks() []steps.Check {
	url := c.LocalURL() + "/"
	logs := "docker:" + c.Container
	return []steps.Check{
		{Name: "LiveKit answers", HTTP: &steps.HTTPCheck{URL: url, Status: 200, Body: "OK"}, Timeout: 40 * time.Second, Logs: logs,
			Hint: "docker logs " + c.Container},
		{Name: "LiveKit keeps running", Container: &steps.ContainerCheck{Name: c.Container, Steady: 2 * time.Second}, Timeout: 20 * time.Second, Logs: logs,
			Hint: "docker logs " + c.Container},
	}
}
