package machine

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"
	"golang.org/x/sync/errgroup"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

type preflightFacts struct {
	name       string
	os         osRelease
	arch       string   // in Docker's words
	tools      []string // that are missing
	noSS       bool     // nothing can tell who listens
	room       int      // MiB free where the journal is
	images     int      // MiB free where Docker keeps its images
	imagesDir  string
	toFetch    int // images that the host lacks
	clock      time.Time
	asked      time.Time
	engine     engineFacts
	addrs      []steps.HostAddr
	listeners  []listener
	published  []steps.PublishedPort
	coturn     steps.PortRange // of a coturn that runs
	coturnFile string
	resolved   map[string][]string // names to addresses, as the host sees them
	groups     map[int]string      // names of groups that have a container's number
	noSystemd  bool
	bootHook   string // what starts things with the machine, where there is no systemd
	ours       []int  // processes of the containers that we replace
	siblings   []int  // processes of other sites' containers
}

// osRelease is what /etc/os-release says.
type osRelease struct{ ID, Like, Version, Name string }

// engineFacts are what can be told of Docker.
type engineFacts struct {
	version  string // "" where no engine answers
	problem  string // why
	how      string // "snap" or "podman" where the docker command is one of theirs
	security string // SecurityOptions, JSON
}

// listener is a socket that waits on the host.
type listener struct {
	Proto string
	Addr  string
	Port  int
	Proc  string
	PIDs  []int
}

// neededTools are the programs that probes, do and undo scripts need on a host.
const neededTools = "awk base64 chmod chown cmp cp cut df flock getent grep head ip ln mktemp mv readlink sed sha256sum sort stat sync " +
	"tail timeout touch tr"

// machineText asks what is the same for every site on a host.
const machineText = `set -f
d=
[ ! -r /etc/os-release ] || while IFS= read -r l; do printf 'os %s\n' "$l"; done </etc/os-release
printf 'arch %s\n' "$(uname -m)"
for t in ` + neededTools + `; do command -v "$t" >/dev/null || printf 'tool %s\n' "$t"; done
df -Pm /var/lib | awk 'NR==2 {print "room " $4}'
if [ ! -d /run/systemd/system ]; then
	command -v setsid >/dev/null || echo tool setsid
	if [ -d /etc/cron.d ] && { pidof cron || pidof crond; } >/dev/null 2>&1; then echo init cron; elif [ -d /etc/local.d ]; then echo init OpenRC; else echo init; fi
fi
if command -v docker >/dev/null; then
	case $(docker --version 2>/dev/null) in podman*) echo how podman ;; esac
	case $(readlink -f "$(command -v docker)") in */snap*) echo how snap ;; esac
	if v=$(docker version --format '{{.Server.Version}}' 2>/dev/null) && [ -n "$v" ]; then
		printf 'docker %s\n' "$v"
		i=$(docker info --format 'security {{json .SecurityOptions}}{{println}}root {{.DockerRootDir}}' 2>/dev/null)
		printf '%s\n' "$i"
		d=$(printf '%s\n' "$i" | sed -n 's/^root //p')
		docker ps --format 'published {{.Names}}	{{.Ports}}' 2>/dev/null
		set -- $(docker ps -q --filter label=` + steps.LabelSite + ` 2>/dev/null)
		[ $# = 0 ] || docker container inspect --format 'sibling {{.State.Pid}}' "$@" 2>/dev/null
	else
		printf 'dockererr %s\n' "$(docker version 2>&1 >/dev/null | tail -n 1)"
	fi
fi
[ -d "$d" ] || d=/var
df -Pm "$d" | awk -v d="$d" 'NR==2 {print "images " $4 " " d}'
if systemctl -q is-active coturn 2>/dev/null || pgrep -x turnserver >/dev/null 2>&1; then
	for f in /etc/turnserver.conf /etc/coturn/turnserver.conf /usr/local/etc/turnserver.conf; do
		[ ! -r "$f" ] || awk -F= '/^[ \t]*min-port/ {a=$2+0} /^[ \t]*max-port/ {b=$2+0}
			END {print "coturn " (a?a:49152) " " (b?b:65535) " " FILENAME}' "$f"
	done
fi
if command -v ss >/dev/null; then
	ss -H -lntup | awk '{p = $7; for (i = 8; i <= NF; i++) p = p "_" $i; print "listen " $1 " " $5 " " p}'
else
	echo noss
fi
true`

// siteText asks what is a site's own: its images, containers, names and groups. The
// clock is among them because its answer counts from when it was asked.
const siteText = `set -f
printf 'clock %s\n' "$(date +%s)"
if command -v docker >/dev/null; then
	for i in $IMAGES; do docker image inspect -- "$i" >/dev/null 2>&1 || echo fetch; done
	for c in $CONTAINERS; do
		docker container inspect --format 'ours {{.State.Pid}}' -- "$c" 2>/dev/null
		docker container top "$c" -eo pid 2>/dev/null | awk '$1 ~ /^[0-9]+$/ {print "ours " $1}'
	done
fi
for n in $NAMES; do timeout 5 getent ahosts "$n" | awk -v n="$n" '$2 == "STREAM" {print "dns " n " " $1}'; done
for g in $GIDS; do getent group "$g" | awk -F: '{print "group " $3 " " $1}'; done
true`

// preflight checks all that a host must have before anything changes.
func preflight(site *steps.Site) steps.Step {
	probe := func(ctx context.Context, o host.Observer) (preflightFacts, error) {
		var machine, own, addrs []host.Result
		var asked time.Time
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() (err error) { machine, err = o.Query(ctx, host.Sh(machineText)); return err })
		g.Go(func() (err error) { addrs, err = o.Query(ctx, steps.QueryAddrs); return err })
		g.Go(func() (err error) {
			began := time.Now()
			own, err = o.Query(ctx, host.Sh(siteWords(site, o.Name())+siteText))
			asked = began.Add(time.Since(began) / 2)
			return err
		})
		if err := g.Wait(); err != nil {
			return preflightFacts{}, err
		}
		f := parsePreflight(string(machine[0].Stdout) + "\n" + string(own[0].Stdout))
		f.name, f.asked, f.addrs = o.Name(), asked, steps.ParseAddrs(addrs[0])
		return f, nil
	}
	diff := func(f preflightFacts, _ steps.Shared) (steps.Decision, error) {
		return steps.Decision{Findings: slices.Concat(f.system(site), f.docker(site), f.ports(site), f.others(site))}, nil
	}
	return steps.Define("preflight", probe, nil, diff)
}

// siteWords sets the words that siteText works on.
func siteWords(site *steps.Site, on string) string {
	var images, containers, groups []string
	for _, p := range site.ContainersOn(on) {
		images, containers = append(images, p.Run.Image), append(containers, p.Run.Container)
		groups = append(groups, strconv.Itoa(p.Run.UID))
	}
	var b strings.Builder
	for _, v := range []struct {
		name  string
		words []string
	}{
		{"NAMES", publicNames(site, on)}, {"IMAGES", images}, {"CONTAINERS", containers}, {"GIDS", groups},
	} {
		fmt.Fprintf(&b, "%s=%s\n", v.name, shellescape.Quote(strings.Join(v.words, " ")))
	}
	return b.String()
}

// publicNames are the names that a host serves, and those that its parts look up.
func publicNames(site *steps.Site, on string) []string {
	var names []string
	add := func(n string) {
		if n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for _, r := range site.Served(on) {
		add(r.Name())
	}
	for _, r := range lookedUp(site, on) {
		add(r.Name)
	}
	return names
}

// lookedUp are the names that parts on a host look up.
func lookedUp(site *steps.Site, on string) []steps.Resolve {
	var out []steps.Resolve
	for _, p := range site.On(on) {
		for _, r := range p.Resolves {
			if r.Of != "" {
				route, _ := site.Route(r.Of)
				r.Name = route.Name()
			}
			out = append(out, r)
		}
	}
	return out
}

func parsePreflight(s string) preflightFacts {
	f := preflightFacts{resolved: map[string][]string{}, groups: map[int]string{}}
	for line := range strings.Lines(s) {
		kind, v, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		w := strings.Fields(v)
		switch {
		case kind == "os":
			f.os.parse(v)
		case kind == "arch":
			f.arch = steps.ParseArch(host.Result{Stdout: []byte(v)})
		case kind == "tool":
			f.tools = append(f.tools, v)
		case kind == "init":
			f.noSystemd, f.bootHook = true, v
		case kind == "noss":
			f.noSS = true
		case kind == "room":
			f.room = numberOrZero(v)
		case kind == "images" && len(w) >= 2:
			f.images, f.imagesDir = numberOrZero(w[0]), w[1]
		case kind == "fetch":
			f.toFetch++
		case kind == "clock":
			f.clock = time.Unix(int64(numberOrZero(v)), 0)
		case kind == "docker":
			f.engine.version = v
		case kind == "dockererr":
			f.engine.problem = v
		case kind == "how":
			f.engine.how = v
		case kind == "security":
			f.engine.security = v
		case kind == "published":
			f.published = append(f.published, steps.ParsePublished(v)...)
		case kind == "coturn" && len(w) == 3:
			f.coturn, f.coturnFile = steps.PortRange{First: numberOrZero(w[0]), Last: numberOrZero(w[1])}, w[2]
		case kind == "dns" && len(w) == 2:
			f.resolved[w[0]] = append(f.resolved[w[0]], w[1])
		case kind == "group" && len(w) == 2:
			f.groups[numberOrZero(w[0])] = w[1]
		case kind == "ours" && v != "0": // 0 is the process of a container that does not run
			f.ours = append(f.ours, numberOrZero(v))
		case kind == "sibling" && v != "0":
			f.siblings = append(f.siblings, numberOrZero(v))
		case kind == "listen" && len(w) >= 2:
			if l, ok := parseListener(w); ok {
				f.listeners = append(f.listeners, l)
			}
		}
	}
	return f
}

// numberOrZero is a number of our own script's output; 0 where it is not one.
func numberOrZero(s string) int {
	n, _ := strconv.Atoi(strings.TrimSpace(s))
	return n
}

func (o *osRelease) parse(line string) {
	k, v, _ := strings.Cut(line, "=")
	v = strings.Trim(v, `"'`)
	switch k {
	case "ID":
		o.ID = v
	case "ID_LIKE":
		o.Like = v
	case "VERSION_ID":
		o.Version = v
	case "PRETTY_NAME":
		o.Name = v
	}
}

// parseListener reads the protocol, the local address and the processes of a
// line of ss.
func parseListener(w []string) (listener, bool) {
	addr, port, err := net.SplitHostPort(w[1])
	if err != nil {
		return listener{}, false
	}
	addr, _, _ = strings.Cut(addr, "%") // 127.0.0.53%lo
	l := listener{Proto: w[0], Addr: addr}
	if l.Port, err = strconv.Atoi(port); err != nil {
		return l, false
	}
	if len(w) > 2 {
		for _, m := range steps.ProcName.FindAllStringSubmatch(w[2], -1) {
			l.Proc = cmp.Or(l.Proc, m[1])
			l.PIDs = append(l.PIDs, numberOrZero(m[2]))
		}
	}
	return l, true
}
