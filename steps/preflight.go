package steps

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// minDiskMiB is what /var/lib/docker wants free for both images, beside the
// archives that are sent.
const minDiskMiB = 1024

// maxSkew is how far a host's clock may differ: LiveKit refuses tokens that
// are not valid yet.
const maxSkew = 30 * time.Second

type preflightFacts struct {
	name      string
	os        string
	arch      string
	tools     []string // that are missing
	freeMiB   int
	clock     time.Time
	asked     time.Time
	docker    string // version of the engine; "" where none answers
	dockerErr string
	listeners []listener
	managers  []string // mdad, ess-helm and other owners of these files
	inDocker  []string // "nginx in container x"
	coturn    portRange
	resolved  map[string][]string // public names to addresses, as the host sees them
	groups    map[int]string      // names of groups that have a container's number
	ours      []int               // processes of the containers that we replace
}

// listener is a socket that waits on the host.
type listener struct {
	Proto string
	Addr  string
	Port  int
	Proc  string
	PID   int
}

// The programs that do and undo scripts need on a host.
var neededTools = []string{"awk", "base64", "chmod", "chown", "cmp", "cp", "flock", "mktemp", "mv", "readlink", "sed", "sort", "stat", "sync", "timeout", "touch"}

const preflightText = `. /etc/os-release 2>/dev/null; printf 'os %s\n' "$PRETTY_NAME"
printf 'arch %s\nclock %s\n' "$(uname -m)" "$(date +%s)"
for t in $TOOLS; do command -v "$t" >/dev/null || printf 'tool %s\n' "$t"; done
d=/var/lib/docker; [ -d "$d" ] || d=/var; df -Pm "$d" | awk 'NR==2 {print "free " $4}'
if v=$(docker version --format '{{.Server.Version}}' 2>&1); then printf 'docker %s\n' "$v"; else printf 'dockererr %s\n' "$(printf '%s' "$v" | tail -n 1)"; fi
[ ! -d /matrix/synapse ] || echo 'manager matrix-docker-ansible-deploy (/matrix/synapse)'
[ ! -d /var/lib/rancher/k3s ] || echo 'manager a Kubernetes cluster (/var/lib/rancher/k3s), as ess-helm uses'
docker ps --format '{{.Names}} {{.Image}}' 2>/dev/null | awk '$2 ~ /(^|\/)(nginx|synapse|traefik|caddy|haproxy|swag|nginx-proxy-manager)(:|@|$)/ {print "indocker " $1 " " $2}'
awk -F= '/^[ \t]*min-port/ {a=$2} /^[ \t]*max-port/ {b=$2} END {if (FILENAME != "") print "coturn " (a?a:49152) " " (b?b:65535)}' /etc/turnserver.conf 2>/dev/null
for n in $NAMES; do getent ahosts "$n" | awk -v n="$n" '$2 == "STREAM" {print "dns " n " " $1}'; done
docker container inspect --format 'ours {{.State.Pid}}' $CONTAINERS 2>/dev/null
for g in $GIDS; do getent group "$g" | awk -F: '{print "group " $3 " " $1}'; done
ss -H -lntup 2>/dev/null | awk '{print "listen " $1 " " $5 " " $7}'
true`

// Preflight looks at all that a host must have before anything changes.
func Preflight(site Site) Step {
	probe := func(ctx context.Context, o host.Observer) (preflightFacts, error) {
		names := ""
		for _, r := range site.Fronts[o.Name()] {
			names += " " + r.Name()
		}
		env := fmt.Sprintf("TOOLS='%s' NAMES='%s' GIDS='%d %d' CONTAINERS='%s %s'\n", strings.Join(neededTools, " "), strings.TrimSpace(names), site.SFU.UID, site.Auth.UID, site.SFU.Container, site.Auth.Container)
		asked := time.Now()
		res, err := o.Query(ctx, host.Sh(env+preflightText))
		if err != nil {
			return preflightFacts{}, err
		}
		f := parsePreflight(string(res[0].Stdout))
		f.name, f.asked = o.Name(), asked.Add(time.Since(asked)/2)
		return f, nil
	}
	diff := func(f preflightFacts, _ Shared) (Decision, error) {
		return Decision{Findings: slices.Concat(f.system(), f.engine(site), f.ports(site), f.others(site))}, nil
	}
	return Define("preflight", probe, nil, diff)
}

func parsePreflight(s string) preflightFacts {
	f := preflightFacts{resolved: map[string][]string{}, groups: map[int]string{}}
	for line := range strings.Lines(s) {
		kind, v, _ := strings.Cut(strings.TrimSpace(line), " ")
		w := strings.Fields(v)
		switch {
		case kind == "os":
			f.os = v
		case kind == "arch":
			f.arch = v
		case kind == "tool":
			f.tools = append(f.tools, v)
		case kind == "free":
			f.freeMiB, _ = strconv.Atoi(v)
		case kind == "clock":
			n, _ := strconv.ParseInt(v, 10, 64)
			f.clock = time.Unix(n, 0)
		case kind == "docker":
			f.docker = v
		case kind == "dockererr":
			f.dockerErr = v
		case kind == "manager":
			f.managers = append(f.managers, v)
		case kind == "indocker" && len(w) == 2:
			f.inDocker = append(f.inDocker, w[1]+" in container "+w[0])
		case kind == "coturn" && len(w) == 2:
			f.coturn.first, _ = strconv.Atoi(w[0])
			f.coturn.last, _ = strconv.Atoi(w[1])
		case kind == "dns" && len(w) == 2:
			f.resolved[w[0]] = append(f.resolved[w[0]], w[1])
		case kind == "group" && len(w) == 2:
			n, _ := strconv.Atoi(w[0])
			f.groups[n] = w[1]
		case kind == "ours":
			n, _ := strconv.Atoi(v)
			f.ours = append(f.ours, n)
		case kind == "listen" && len(w) >= 2:
			if l, ok := parseListener(w); ok {
				f.listeners = append(f.listeners, l)
			}
		}
	}
	return f
}

var procName = regexp.MustCompile(`\(\("([^"]*)",pid=(\d+)`)

func parseListener(w []string) (listener, bool) {
	addr, port, err := net.SplitHostPort(w[1])
	if err != nil {
		return listener{}, false
	}
	l := listener{Proto: w[0], Addr: strings.TrimSuffix(addr, "%lo")}
	if l.Port, err = strconv.Atoi(port); err != nil {
		return l, false
	}
	if len(w) > 2 {
		if m := procName.FindStringSubmatch(w[2]); m != nil {
			l.Proc = m[1]
			l.PID, _ = strconv.Atoi(m[2])
		}
	}
	return l, true
}

func (f preflightFacts) system() []Finding {
	var out []Finding
	if len(f.tools) > 0 {
		out = append(out, Finding{Error, f.name + " lacks " + strings.Join(f.tools, ", "), "apt install coreutils util-linux diffutils"})
	}
	if f.freeMiB < minDiskMiB {
		out = append(out, Finding{Error, fmt.Sprintf("%s has %d MiB free for images; %d are needed", f.name, f.freeMiB, minDiskMiB), "docker image prune, or a larger disk"})
	}
	if d := f.clock.Sub(f.asked); d.Abs() > maxSkew {
		out = append(out, Finding{Warning, fmt.Sprintf("the clocks of %s and of this machine differ by %s: tokens made here may not be valid there", f.name, d.Abs().Round(time.Second)), "timedatectl set-ntp true"})
	}
	return out
}

// engine says what is wrong with Docker. 20.10 is the first with API 1.41.
func (f preflightFacts) engine(site Site) []Finding {
	if site.SFU.Host != f.name && site.Auth.Host != f.name {
		return nil
	}
	var major, minor int
	_, _ = fmt.Sscanf(f.docker, "%d.%d", &major, &minor)
	switch {
	case f.docker == "" && strings.Contains(f.dockerErr, "not found"):
		return []Finding{{Error, "Docker is not installed on " + f.name, "apt install docker.io docker-cli, or see https://docs.docker.com/engine/install/"}}
	case f.docker == "":
		return []Finding{{Error, "the Docker engine on " + f.name + " does not answer: " + f.dockerErr, "systemctl start docker"}}
	case major < 20 || major == 20 && minor < 10:
		return []Finding{{Error, "Docker " + f.docker + " on " + f.name + " is too old; 20.10 is needed", "see https://docs.docker.com/engine/install/"}}
	}
	return nil
}

// ports finds others on the ports that our components want.
func (f preflightFacts) ports(site Site) []Finding {
	var out []Finding
	taken := func(proto string, first, last int) {
		for _, l := range f.listeners {
			if l.Proto == proto && l.Port >= first && l.Port <= last && !slices.Contains(f.ours, l.PID) {
				out = append(out, Finding{Error, fmt.Sprintf("port %d/%s on %s is taken by %s", l.Port, proto, f.name, orSelf(l.Proc, "another program")), "stop it, or choose another port in the plan file"})
			}
		}
	}
	if site.SFU.Host == f.name {
		p := site.SFU.Ports
		first, last := p.udpRange()
		taken("tcp", p.Signalling, p.Signalling)
		taken("tcp", p.TCP, p.TCP)
		taken("udp", first, last)
		if c := f.coturn; c.last >= first && c.first <= last && c.last > 0 {
			out = append(out, Finding{Warning, fmt.Sprintf("coturn on %s relays on %d-%d/udp, which overlaps with %s", f.name, c.first, c.last, p.UDP), "set min-port and max-port in /etc/turnserver.conf, or another range in sfu { ports {} }"})
		}
	}
	if site.Auth.Host == f.name {
		taken("tcp", site.Auth.Port, site.Auth.Port)
	}
	return out
}

// others names who else manages what ecdeploy would edit, and names that do
// not resolve.
func (f preflightFacts) others(site Site) []Finding {
	var out []Finding
	for _, m := range f.managers {
		out = append(out, Finding{Warning, m + " is on " + f.name + ": it would overwrite edits of its files, and ecdeploy does not support it yet", `use synapse "external", proxy "external" and well_known "external" for what it manages`})
	}
	for _, c := range f.inDocker {
		out = append(out, Finding{Warning, c + " on " + f.name + ": ecdeploy does not edit files of containers yet", `use proxy "external" or synapse "external" for it`})
	}
	for _, id := range []int{site.SFU.UID, site.Auth.UID} {
		if g := f.groups[id]; g != "" {
			out = append(out, Finding{Warning, fmt.Sprintf("group %s on %s has the number %d: its members could read the credentials", g, f.name, id), "choose another uid in sfu {} or auth {}"})
		}
	}
	for _, r := range site.Fronts[f.name] {
		if len(f.resolved[r.Name()]) == 0 {
			out = append(out, Finding{Warning, r.Name() + " does not resolve on " + f.name + ": the JWT service calls LiveKit by that name", "add a DNS record for " + r.Name()})
		}
	}
	return out
}
