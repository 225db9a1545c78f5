package steps

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
)

// sfuGrace is how long LiveKit may drain calls before it is killed.
const sfuGrace = 20 * time.Second

type sfuFacts struct {
	name      string
	files     map[string]host.File
	image     imageFacts
	container containerFacts
	addrs     []HostAddr
	route     HostAddr // of the default route
	arch      string
}

// Steps implements Config.
func (c *SFU) Steps(d Decl, s *Site) []Placed {
	return []Placed{{Stage: StageSFU, Host: d.Host, Step: c.container(d, s)}}
}

// Removal implements Config.
func (c *SFU) Removal(d Decl, s *Site) []Placed {
	return []Placed{{Stage: StageSFU, Host: d.Host, Step: removeComponent(s, Removal{
		Component: "sfu", Container: c.Container, Files: []string{"livekit-config.yaml", "keys.yaml"},
		Grace: sfuGrace, Interrupt: "LiveKit ends: calls on it are cut",
		Offers: func(name string, files []host.File) []Secret { return sfuOffers(name, files[1]) },
	})}}
}

// container runs LiveKit with its configuration.
func (c *SFU) container(d Decl, site *Site) Step {
	dir := site.Dir() + "/sfu"
	config, keys := sfuFiles(site)
	probe := func(ctx context.Context, o host.Observer) (sfuFacts, error) {
		files, _, res, err := look(ctx, o, []string{"/etc/ecdeploy", site.Dir(), dir, config, keys},
			queryImage(c.Image), queryContainer(c.Container), queryAddrs, queryRoute, queryArch)
		if err != nil {
			return sfuFacts{}, err
		}
		f := sfuFacts{name: o.Name(), files: files, addrs: parseAddrs(res[2]), route: parseRoute(res[3]), arch: parseArch(res[4])}
		if f.image, err = parseImage(res[0]); err != nil {
			return f, err
		}
		f.container, err = parseContainer(res[1])
		return f, err
	}
	share := func(f sfuFacts, s *Shared) { f.share(keys, s) }
	diff := func(f sfuFacts, s Shared) (Decision, error) { return c.decide(d.Parts[0].Run.File, site, f, s) }
	return Define("livekit", probe, share, diff)
}

// share offers the credentials in the key file at a path.
func (f sfuFacts) share(keys string, s *Shared) {
	s.Offers = append(s.Offers, sfuOffers(f.name, f.files[keys])...)
	if livekit.Unread(f.files[keys].Data) {
		Put(s, keysUnread, f.name, keys)
	}
}

// sfuFiles are the paths of LiveKit's configuration and key file on the host.
func sfuFiles(site *Site) (config, keys string) {
	return site.Dir() + "/sfu/livekit-config.yaml", site.Dir() + "/sfu/keys.yaml"
}

func (c *SFU) decide(archive *Archive, site *Site, f sfuFacts, s Shared) (Decision, error) {
	dir := site.Dir() + "/sfu"
	config, keys := sfuFiles(site)
	var d Decision
	held, wanted := livekit.ParseKeyFile(f.files[keys].Data), livekit.KeysByRef(s.Secrets.Values)
	nodeIP, dev, findings := c.media(f)
	d.Findings = slices.Concat(findings, f.container.foreign(site, c.Container), keyFindings(held, wanted))
	if livekit.Unread(f.files[keys].Data) {
		d.Findings = append(d.Findings, Warning.Finding("what "+keys+" holds is not understood: LiveKit may accept other pairs, which this run takes away", "look into it first; ecdeploy reads lines `KEY: SECRET`, two at most, without quotes"))
	}
	changes, more := planImage(c.Image, archive, f.arch, f.image)
	d.Changes, d.Findings = changes, append(d.Findings, more...)

	texts := []Text{c.liveKitConfig(site, nodeIP, dev), keyFile(wanted)}
	spec := host.ContainerSpec{
		Name: c.Container, Image: c.Image, Args: []string{"--config", "/config/livekit-config.yaml"},
		User: fmt.Sprintf("%d:%d", c.UID, c.UID), Restart: "always", StopTimeout: sfuGrace,
		Mounts: []host.Mount{{Source: dir, Target: "/config"}},
	}
	change := Container{Site: site.Name, Spec: spec, Config: texts, Replaces: f.container.ID,
		Dirs: missingDirs(siteDirs(site, "sfu", c.UID), f.files)}
	lint := []lintFile{{"/config/livekit-config.yaml", config, -1}, {"/config/keys.yaml", keys, -1}}
	for i, p := range []string{config, keys} {
		if e, needed := ownFile(p, f.files[p], texts[i], 0o640, c.UID, s.Secrets); needed {
			lint[i].K = len(change.Edits)
			change.Edits = append(change.Edits, e)
		}
	}
	change.Check = dockerLint(spec, c.UID, lint, strings.ReplaceAll(c.Ports.UDP, " ", "")+" - ICE/UDP range", "--config", "/config/livekit-config.yaml", "ports")
	change.planReplace(f.container, f.image, changes, whyKeys(held, wanted), s.Secrets)
	if f.container.Running {
		change.Interrupt = fmt.Sprintf("LiveKit restarts, within %s: calls on it are cut", sfuGrace)
	}
	if len(change.Why) > 0 {
		d.Changes = append(d.Changes, &change)
	}
	d.Checks = c.checks()
	return d, nil
}

// media decides which address LiveKit tells clients and on which interface it
// gathers candidates. Without the filter it takes every interface: beside
// docker0, TCP 7881 then fails even with node_ip set.
func (c *SFU) media(f sfuFacts) (nodeIP string, devices []string, findings []Finding) {
	devices = c.Interfaces
	nodeIP = c.NodeIP
	if nodeIP == "" && !c.ExternalIP {
		nodeIP = f.route.IP
		own, _ := netip.ParseAddr(nodeIP) // zero, and so not private, for none
		switch {
		case nodeIP == "":
			return "", devices, []Finding{Error.Finding("the host's own address cannot be told: it has no default route", `set node_ip in sfu {}`)}
		case netaddr.Private(own):
			return nodeIP, devices, []Finding{Error.Finding("the host's own address "+nodeIP+" is private: clients on the internet could not send media to it", `set node_ip to the public address, or external_ip = true, in sfu {}`)}
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
		findings = append(findings, Error.Finding("the network interface for media cannot be told", `set interfaces = ["eth0"] in sfu {}`))
	}
	return nodeIP, devices, findings
}

// holders are the interfaces that hold ip; behind 1:1 NAT none does, and it
// comes in on the default route's.
func (f sfuFacts) holders(ip string) []string {
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
func (c *SFU) liveKitConfig(site *Site, nodeIP string, devices []string) Text {
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
	return Text{{Lit: b.String()}, {Ref: livekit.RefKey}, {Lit: "\"\n"}}
}

// webhookURL is where LiveKit tells the JWT service of participants that left:
// directly on the same host, else through the public URL.
func (c *SFU) webhookURL(site *Site) string {
	r, auth := site.Route(Tokens)
	if auth.Host == c.HostName() {
		return "http://" + r.Upstream + "/sfu_webhook"
	}
	return r.URL + "/sfu_webhook"
}

// LocalURL is where LiveKit answers on its own host, without a slash at its end.
func (c *SFU) LocalURL() string {
	return "http://" + net.JoinHostPort(netaddr.Dialable(c.Bind), strconv.Itoa(c.Ports.Signalling))
}

func (c *SFU) checks() []Check {
	url := c.LocalURL() + "/"
	logs := "docker:" + c.Container
	return []Check{
		{Name: "LiveKit answers", HTTP: &HTTPCheck{URL: url, Status: 200, Body: "OK"}, Timeout: 40 * time.Second, Logs: logs,
			Hint: "docker logs " + c.Container},
		{Name: "LiveKit keeps running", Container: &ContainerCheck{Name: c.Container, Steady: 2 * time.Second}, Timeout: 20 * time.Second, Logs: logs,
			Hint: "docker logs " + c.Container},
	}
}
