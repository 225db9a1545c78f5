package machine

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/netaddr"
	"github.com/emdecloud/ecdeploy/steps"
)

const (
	// minImagesMiB is what both images want free, besides what is there.
	minImagesMiB = 1024
	// minRoomMiB is what the journal wants free: its ballast, before-images
	// and room to spare.
	minRoomMiB = 64
	// maxSkew is how far a host's clock may differ: LiveKit refuses tokens
	// that are not valid yet.
	maxSkew = 30 * time.Second
)

// carries reports whether one of the site's containers runs on the host.
func (f preflightFacts) carries(site *steps.Site) bool { return len(site.ContainersOn(f.name)) > 0 }

// pulls reports whether an image of the host comes from a registry.
func (f preflightFacts) pulls(site *steps.Site) bool {
	return slices.ContainsFunc(site.ContainersOn(f.name), func(p steps.Part) bool { return p.Run.File == nil })
}

// system says what is wrong with the machine itself.
func (f preflightFacts) system(site *steps.Site) []steps.Finding {
	var out []steps.Finding
	add := func(s steps.Severity, summary, hint string) { out = append(out, s.Finding(summary, hint)) }
	if len(f.tools) > 0 {
		add(steps.Error, f.name+" lacks "+strings.Join(f.tools, ", "), "apt install coreutils diffutils grep iproute2 libc-bin mawk sed util-linux")
	}
	if !f.os.debian() {
		add(steps.Warning,
			fmt.Sprintf("%s runs %s; ecdeploy was seen working on Debian, and its steps for packages expect Debian's paths",
				f.name,
				cmp.Or(f.os.Name, "an unknown system")),
			"")
	}
	if f.arch != "amd64" && f.arch != "arm64" && f.pulls(site) {
		add(steps.Error,
			fmt.Sprintf("%s is %s, and there are images for amd64 and arm64 only", f.name, cmp.Or(f.arch, "of an unknown architecture")),
			"give images of your own with archive = \"...\"")
	}
	switch {
	case f.noSystemd && f.bootHook == "":
		add(steps.Warning,
			f.name+" has no systemd, no cron and no OpenRC: should the laptop vanish in the middle of a run, "+
				"a process there rolls it back; should the host restart in the middle of one, nothing does",
			"after such a start: sh /var/lib/ecdeploy/runs/RUN/rollback.sh")
	case f.noSystemd:
		add(steps.Note,
			fmt.Sprintf("%s has no systemd: a process there rolls a run back when the laptop vanishes, and %s does after a start of the machine", f.name, f.bootHook),
			"")
	}
	if f.room < minRoomMiB {
		add(steps.Error,
			fmt.Sprintf("%s has %d MiB free on /var/lib; %d are needed for the journal", f.name, f.room, minRoomMiB),
			"apt clean, journalctl --vacuum-size=200M, or a larger disk")
	}
	if need := f.toFetch * minImagesMiB / 2; f.carries(site) && f.images < need {
		add(steps.Error,
			fmt.Sprintf("%s has %d MiB free on %s for images; %d are needed", f.name, f.images, f.imagesDir, need),
			"docker image prune, or a larger disk")
	}
	if d := f.clock.Sub(f.asked); d.Abs() > maxSkew {
		add(steps.Warning,
			fmt.Sprintf("the clocks of %s and of this machine differ by %s: tokens made on one host may not be valid on another, and certificates seem expired",
				f.name, d.Abs().Round(time.Second)),
			"timedatectl set-ntp true")
	}
	return out
}

func (o osRelease) debian() bool {
	return o.ID == "debian" || slices.Contains(strings.Fields(o.Like), "debian")
}

// install is the line that brings Docker. The docker command is a package of
// its own since Debian 13.
func (o osRelease) install() string {
	const docs = "https://docs.docker.com/engine/install/"
	switch {
	case o.ID == "debian" && numberOrZero(o.Version) > 0 && numberOrZero(o.Version) < 13, o.ID == "ubuntu":
		return "apt install docker.io, or see " + docs
	case o.ID == "debian":
		return "apt install docker.io docker-cli, or see " + docs
	}
	return "see " + docs
}

// docker says what is wrong with the engine. 20.10 is the first with API 1.41.
func (f preflightFacts) docker(site *steps.Site) []steps.Finding {
	if !f.carries(site) {
		return nil
	}
	e := f.engine
	var major, minor int
	_, _ = fmt.Sscanf(e.version, "%d.%d", &major, &minor)
	fail := func(summary, hint string) []steps.Finding { return []steps.Finding{steps.Error.Finding(summary, hint)} }
	switch {
	case e.how == "podman":
		return fail("the docker command on "+f.name+" is Podman's, which ecdeploy does not support", "apt remove podman-docker, then "+f.os.install())
	case e.how == "snap":
		return fail("Docker on "+f.name+" is a snap, whose containers cannot read /etc/ecdeploy", "snap remove docker, then "+f.os.install())
	case e.version == "" && e.problem == "":
		return fail("Docker is not installed on "+f.name, f.os.install())
	case e.version == "":
		return fail("the Docker engine on "+f.name+" does not answer: "+e.problem, "systemctl start docker")
	case major < 20 || major == 20 && minor < 10:
		return fail("Docker "+e.version+" on "+f.name+" is too old; 20.10 is needed", f.os.install())
	case strings.Contains(e.security, "name=rootless"):
		return fail("Docker on "+f.name+" is rootless: its containers have no part in the host's network", f.os.install())
	case strings.Contains(e.security, "name=userns"):
		return fail("Docker on "+f.name+" maps users (userns-remap), which forbids the host's network to containers",
			"remove userns-remap from /etc/docker/daemon.json")
	}
	return nil
}

// ports finds others on the ports that our components want.
func (f preflightFacts) ports(site *steps.Site) []steps.Finding {
	var out []steps.Finding
	if f.noSS {
		out = append(out, steps.Warning.Finding("there is no ss on "+f.name+": who else uses ports is unknown", "apt install iproute2"))
	}
	for _, p := range site.On(f.name) {
		for _, l := range p.Listens {
			switch {
			case l.Proto == "udp":
				out = append(out, f.media(site, l)...)
			case l.First > 0:
				out = append(out, f.taken(site, l)...)
			}
		}
	}
	return out
}

// taken names who has a TCP port.
func (f preflightFacts) taken(site *steps.Site, want steps.Listen) []steps.Finding {
	for _, l := range f.listeners {
		if l.Proto == "tcp" && l.Port == want.First && overlap(want.Bind, l.Addr) && !f.replaced(site, l) {
			// Once: it often holds IPv4 and IPv6 apart.
			return []steps.Finding{steps.Error.Finding(fmt.Sprintf("port %d/tcp on %s is taken by %s", want.First, f.name, f.who(l)),
				"stop it, or choose another port in the plan file")}
		}
	}
	return nil
}

// media finds who else uses a UDP range. LiveKit passes over a port that is
// taken, so that one is no error; another LiveKit takes its ports when calls
// begin and cannot be seen before.
func (f preflightFacts) media(site *steps.Site, want steps.Listen) []steps.Finding {
	var out []steps.Finding
	count, another := map[string]int{}, false
	for _, l := range f.listeners {
		switch {
		case f.replaced(site, l):
		case l.Proto == "udp" && l.Port >= want.First && l.Port <= want.Last:
			count[f.who(l)]++
		case l.Proto == "tcp" && l.Proc == "livekit-server" && !slices.ContainsFunc(l.PIDs, func(p int) bool { return slices.Contains(f.siblings, p) }):
			another = true
		}
	}
	ports := fmt.Sprintf("%d-%d", want.First, want.Last)
	if another {
		out = append(out, steps.Warning.Finding("another LiveKit runs on "+f.name+", whose UDP ports cannot be seen while no call is on",
			"compare its port_range_start and port_range_end with "+ports))
	}
	for _, who := range slices.Sorted(maps.Keys(count)) {
		severity := steps.Warning
		if count[who] > (want.Last-want.First+1)/2 {
			severity = steps.Error
		}
		out = append(out, severity.Finding(fmt.Sprintf("%s uses %d of the UDP ports %s on %s", who, count[who], ports, f.name),
			"choose another range in sfu { ports {} }"))
	}
	if c := f.coturn; c.Last > 0 && c.Last >= want.First && c.First <= want.Last {
		out = append(out, steps.Warning.Finding(fmt.Sprintf("coturn on %s relays on %d-%d/udp, which overlaps with %s", f.name, c.First, c.Last, ports),
			"set min-port and max-port in "+f.coturnFile+", or another range in sfu { ports {} }"))
	}
	return out
}

// overlap reports whether a program bound to b keeps another one from a.
// Java writes 127.0.0.1 as ::ffff:127.0.0.1.
func overlap(a, b string) bool {
	if netaddr.Wildcard(a) || b == "*" || netaddr.Wildcard(b) {
		return true
	}
	x, err1 := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	return err1 == nil && err2 == nil && x.Unmap() == y.Unmap()
}

// replaced reports whether l belongs to a container that this site's takes the
// place of, be it by the container's process or by Docker's proxy for it.
func (f preflightFacts) replaced(site *steps.Site, l listener) bool {
	if slices.ContainsFunc(l.PIDs, func(p int) bool { return slices.Contains(f.ours, p) }) {
		return true
	}
	p, ok := f.publisher(l)
	return ok && slices.ContainsFunc(site.ContainersOn(f.name), func(c steps.Part) bool { return c.Run.Container == p.Container })
}

// publisher is the published port that l stands for.
func (f preflightFacts) publisher(l listener) (steps.PublishedPort, bool) {
	i := slices.IndexFunc(f.published, func(p steps.PublishedPort) bool {
		return l.Proc == "docker-proxy" && p.Proto == l.Proto && p.First <= l.Port && p.Last >= l.Port
	})
	if i < 0 {
		return steps.PublishedPort{}, false
	}
	return f.published[i], true
}

func (f preflightFacts) who(l listener) string {
	if p, ok := f.publisher(l); ok {
		return "container " + p.Container
	}
	return cmp.Or(l.Proc, "another program")
}

// others names groups that could read the credentials, and what DNS says that
// a person may not expect.
func (f preflightFacts) others(site *steps.Site) []steps.Finding {
	var out []steps.Finding
	for _, p := range site.ContainersOn(f.name) {
		if g := f.groups[p.Run.UID]; g != "" {
			out = append(out, steps.Warning.Finding(fmt.Sprintf("group %s on %s has the number %d: its members could read the credentials", g, f.name, p.Run.UID),
				"choose another uid in sfu {} or auth {}"))
		}
	}
	return append(out, f.dns(site)...)
}

// dns looks at the public names. That they lead elsewhere is normal behind NAT
// or Cloudflare and for a homeserver's name, so it is only said.
func (f preflightFacts) dns(site *steps.Site) []steps.Finding {
	var out []steps.Finding
	looked := lookedUp(site, f.name)
	for _, n := range publicNames(site, f.name) {
		at := f.resolved[n]
		served := slices.ContainsFunc(site.Served(f.name), func(r steps.Route) bool { return r.Name() == n })
		if len(at) == 0 {
			why := ""
			if i := slices.IndexFunc(looked, func(r steps.Resolve) bool { return r.Name == n && (r.Of != "" || !served) }); i >= 0 {
				why = ": " + looked[i].Why
			}
			out = append(out, steps.Warning.Finding(n+" does not resolve on "+f.name+why, "add a DNS record for "+n))
			continue
		}
		if served && len(f.addrs) > 0 && !slices.ContainsFunc(at, f.hasAddress) {
			out = append(out, steps.Note.Finding(fmt.Sprintf("%s resolves to %s, which is no address of %s: "+
				"right behind NAT, a load balancer or Cloudflare, else a wrong DNS record",
				n, strings.Join(at, ", "), f.name),
				""))
		}
	}
	return out
}

// hasAddress reports whether ip is the host's own; 127.0.1.1 of /etc/hosts is.
func (f preflightFacts) hasAddress(ip string) bool {
	return netaddr.Loopback(ip) || slices.ContainsFunc(f.addrs, func(h steps.HostAddr) bool { return h.IP == ip })
}
