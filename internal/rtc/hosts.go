package rtc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// machine is what a host says of itself.
type machine struct {
	err        error
	ahead      time.Duration // its clock before the laptop's
	unsure     time.Duration // half of the round trip
	disks      []string      // of df, those without room
	containers map[string]container
	engine     bool // Docker answered
	proxies    int  // docker-proxy processes for UDP ports
	addrs      []steps.HostAddr
}

// container is what Docker says of one, at two moments.
type container struct {
	State struct {
		Status     string
		Running    bool
		Restarting bool
		ExitCode   int
		StartedAt  time.Time
		Health     *struct {
			Status string
			Log    []struct{ Output string }
		}
	}
	RestartCount int
	Config       struct {
		Env []string
	}
	HostConfig struct{ NetworkMode string }
}

// env is a variable as the process has it: the last one of a name counts.
func (c container) env(name string) (value string, ok bool) {
	for _, e := range c.Config.Env {
		if v, is := strings.CutPrefix(e, name+"="); is {
			value, ok = v, true
		}
	}
	return value, ok
}

// lookText prints the time, file systems without room that a call needs, whether
// Docker answers and its word on the containers $@, and how many docker-proxy
// processes hold a UDP port.
const lookText = `date +%s.%N
df -Pk / /etc /run /tmp /var /var/log /var/log/journal /var/lib /var/lib/docker /var/lib/ecdeploy /var/lib/postgresql /var/lib/matrix-synapse /var/lib/matrix-synapse/media 2>/dev/null |
	awk 'NR > 1 && $5 + 0 >= 99 && $4 < 51200 && !seen[$6]++ { print "disk " $6 " " $4 }'
v=$(timeout 8 docker version --format '{{.Server.Version}}' 2>/dev/null) && echo "engine $v"
for c; do printf 'container %s ' "$c"; timeout 8 docker inspect --type container --format '{{json .}}' "$c" 2>/dev/null | tr -d '\n'; echo; done
printf 'proxies %s\n' "$(ps -eo args= 2>/dev/null | grep -c '[d]ocker-proxy.*-proto udp')"`

// lookAtHosts asks all hosts for what only they know.
func (k *verifier) lookAtHosts(ctx context.Context) {
	names := k.own()
	for _, n := range names {
		k.seen[n] = &machine{}
	}
	var asking sync.WaitGroup
	for _, n := range names {
		asking.Go(func() { k.seen[n].ask(ctx, k.Hosts[n], k.Now, k.containersOn(n)...) })
	}
	asking.Wait()
	checks := []linkCheck{{id: "clock", name: "the clocks of the laptop and the hosts", part: Hosts, do: func(context.Context) result { return k.clock(names) }}}
	for _, n := range names {
		checks = append(checks, linkCheck{id: "disk." + n, name: "room on the disks of " + n, part: Hosts,
			do: func(context.Context) result { return k.seen[n].room(n) }})
	}
	if k.scope != Announced {
		checks = append(checks,
			linkCheck{id: "container.sfu", name: "LiveKit's container " + k.SFU.Container, part: Hosts, do: k.sfuContainer},
			linkCheck{id: "container.auth", name: "the JWT service's container " + k.Auth.Container, part: Hosts, do: k.authContainer})
	}
	k.all(ctx, checks...)
}

// own are the hosts of the site, sorted; the others in Hosts only look.
func (t Target) own() []string {
	return slices.DeleteFunc(t.Site.Hosts(), func(n string) bool { return t.Hosts[n] == nil })
}

func (t Target) containersOn(name string) []string {
	var out []string
	for _, p := range t.Site.ContainersOn(name) {
		out = append(out, p.Run.Container)
	}
	return out
}

func (m *machine) ask(ctx context.Context, h host.Host, now func() time.Time, names ...string) {
	before := now()
	res, err := h.Query(ctx, host.Sh(lookText, names...))
	if err != nil {
		m.err = err
		return
	}
	after := now()
	m.unsure = after.Sub(before) / 2
	m.containers = map[string]container{}
	for line := range strings.Lines(string(res[0].Stdout)) {
		line = strings.TrimSpace(line)
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "disk":
			m.disks = append(m.disks, rest)
		case "engine":
			m.engine = true
		case "container":
			name, text, _ := strings.Cut(rest, " ")
			var c container
			if json.Unmarshal([]byte(text), &c) == nil {
				m.containers[name] = c
			}
		case "proxies":
			m.proxies, _ = strconv.Atoi(rest) // 0 where it is unknown
		default:
			if s, err := strconv.ParseFloat(word, 64); err == nil {
				at := time.UnixMicro(int64(s * 1e6))
				m.ahead = at.Sub(before.Add(m.unsure))
			}
		}
	}
	m.addrs, m.err = steps.Addresses(ctx, h)
}

// What clocks may differ by: tokens are valid for minutes, and LiveKit grants one
// minute (livekit/protocol auth/verifier.go takes jwt's leeway).
const (
	laptopClock = 30 * time.Second
	hostClocks  = 10 * time.Second
)

func (k *verifier) clock(names []string) result {
	var lines []string
	var low, high *machine
	for _, n := range names {
		m := k.seen[n]
		if m.err != nil {
			return unseen(n + " does not say: " + m.err.Error())
		}
		lines = append(lines, fmt.Sprintf("%s is %s ahead of the laptop, give or take %s", n, m.ahead.Round(time.Millisecond), m.unsure.Round(time.Millisecond)))
		if low == nil || m.ahead < low.ahead {
			low = m
		}
		if high == nil || m.ahead > high.ahead {
			high = m
		}
	}
	if high == nil {
		return unseen("no host was asked")
	}
	if high.ahead-low.ahead > hostClocks+high.unsure+low.unsure {
		return bad("host-clock", HostSide, lines...)
	}
	if high.ahead.Abs() > laptopClock+high.unsure {
		k.offset = k.seen[k.SFU.Host].ahead
		return bad("clock", LaptopSide, append(lines, "all that follows was looked at with the hosts' time")...)
	}
	return good(lines...)
}

func (m *machine) room(name string) result {
	if m.err != nil {
		return unseen(m.err.Error())
	}
	if len(m.disks) > 0 {
		var lines []string
		for _, d := range m.disks {
			lines = append(lines, d+" KiB are left")
		}
		r := bad("disk-full", HostSide, lines...)
		r.from = name
		return r
	}
	return result{status: OK, from: name}
}

func (k *verifier) sfuContainer(ctx context.Context) result {
	c := k.SFU
	r := k.runs(ctx, c.Host, c.Container, "livekit-gone", "livekit-down", "livekit-restarts")
	if r.status == Failed && strings.Contains(strings.Join(r.evidence, "\n"), "could not resolve external IP") {
		r.code = "livekit-stun"
	}
	if m := k.seen[c.Host]; r.status == OK && m.proxies >= 20 {
		return warn("docker-proxies", fmt.Sprintf("%d docker-proxy processes hold UDP ports", m.proxies))
	}
	return r
}

func (k *verifier) authContainer(ctx context.Context) result {
	c := k.Auth
	r := k.runs(ctx, c.Host, c.Container, "jwt-gone", "jwt-down", "jwt-restarts")
	if r.status == NotSeen || r.code == "no-docker" || r.code == "jwt-gone" {
		return r
	}
	seen := k.seen[c.Host].containers[c.Container]
	full, ok := seen.env("LIVEKIT_FULL_ACCESS_HOMESERVERS")
	servers := strings.FieldsFunc(full, func(r rune) bool { return r == ',' || r == ' ' })
	without := func(all, of []string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(of, s) || slices.Contains(of, "*") })
	}
	lacks, more := without(c.FullAccess, servers), without(servers, c.FullAccess)
	switch url, _ := seen.env("LIVEKIT_URL"); {
	case !ok || len(lacks) > 0:
		r = bad("jwt-full-access",
			HostSide,
			append([]string{fmt.Sprintf("LIVEKIT_FULL_ACCESS_HOMESERVERS is %q, without %s", full, strings.Join(lacks, " "))}, r.evidence...)...)
	case r.status == Failed:
	case len(more) > 0:
		r = bad("not-restricted",
			HostSide,
			fmt.Sprintf("LIVEKIT_FULL_ACCESS_HOMESERVERS is %q, which the plan file does not name: %s", full, strings.Join(more, " ")))
	case url != k.SFU.WebSocket:
		r = bad("livekit-url", HostSide, fmt.Sprintf("LIVEKIT_URL is %q, and LiveKit is at %q", url, k.SFU.WebSocket))
	}
	r.from = c.Host
	return r
}

// runs wants a container that runs, and has run for a while.
func (k *verifier) runs(ctx context.Context, on, name string, gone, down, restarts Code) result {
	m := k.seen[on]
	if m == nil || m.err != nil {
		return unseen("its host was not asked")
	}
	r := m.state(name, gone, down, restarts)
	c := m.containers[name]
	switch age := time.Since(c.State.StartedAt.Add(-m.ahead)); {
	case r.status != OK:
	case c.RestartCount > 1 && age < fresh: // it may run for seconds before it ends, waiting for a STUN server
		r = bad(restarts, HostSide, fmt.Sprintf("it runs since %s ago, and was started again %d times", age.Round(time.Second), c.RestartCount))
	case age < 10*time.Second: // it may only have been started: a second look tells
		r = k.again(ctx, on, name, c, restarts)
	}
	if r.status == Failed && r.code != gone && r.code != "no-docker" {
		r.evidence = append(r.evidence, k.log(ctx, on, name, 6, "0")...)
	}
	r.from = on
	return r
}

func (m *machine) state(name string, gone, down, restarts Code) result {
	c, ok := m.containers[name]
	switch {
	case !m.engine:
		return bad("no-docker", HostSide, "docker version does not answer")
	case !ok:
		return bad(gone, HostSide, "docker has no container "+name)
	case c.State.Restarting, !c.State.Running && c.RestartCount > 0:
		return bad(restarts, HostSide, fmt.Sprintf("it ended with status %d and was started again %d times", c.State.ExitCode, c.RestartCount))
	case !c.State.Running:
		return bad(down, HostSide, fmt.Sprintf("its state is %s; it ended with status %d", c.State.Status, c.State.ExitCode))
	case c.State.Health != nil && c.State.Health.Status == "unhealthy":
		return bad("unhealthy", HostSide, "Docker says: unhealthy")
	}
	return good(fmt.Sprintf("runs since %s, started again %d times", c.State.StartedAt.Format(time.RFC3339), c.RestartCount))
}

// fresh is how long ago Docker may have started a container again for it to do so
// all the time: it waits a minute at most. Whoever starts one by hand begins the
// count again.
const fresh = time.Minute

// steady is how long a container that was just started has to keep running. LiveKit
// on a bad configuration ends at once, with status 0.
const steady = 1500 * time.Millisecond

func (k *verifier) again(ctx context.Context, on, name string, first container, restarts Code) result {
	select {
	case <-ctx.Done():
		return unseen("there was no time left to look")
	case <-time.After(steady):
	}
	var m machine
	m.ask(ctx, k.Hosts[on], k.Now, name)
	second := m.containers[name]
	if m.err == nil && (!second.State.Running || second.RestartCount != first.RestartCount) {
		return bad(restarts, HostSide, fmt.Sprintf("it ended with status %d and was started again %d times", second.State.ExitCode, second.RestartCount))
	}
	return good("runs since " + first.State.StartedAt.Format(time.RFC3339))
}

// log are the last lines that a container wrote since then ("30s", "0" for all).
func (k *verifier) log(ctx context.Context, on, name string, lines int, since string) []string {
	res, err := k.Hosts[on].Query(ctx, host.Sh(`timeout 8 docker logs --since "$3" --tail "$2" "$1" 2>&1`, name, strconv.Itoa(lines), since))
	if err != nil || !res[0].OK() {
		return nil
	}
	var out []string
	for line := range strings.Lines(string(res[0].Stdout)) {
		out = append(out, name+" logs: "+people.ReplaceAllString(strings.TrimSpace(line), "@***"))
	}
	return out
}

// holds is the interface of a host that holds an address; ok is false for none.
func (m *machine) holds(a netip.Addr) (dev string, ok bool) {
	for _, h := range m.addrs {
		if ip, err := netip.ParseAddr(h.IP); err == nil && ip.Unmap() == a.Unmap() {
			return h.Dev, true
		}
	}
	return "", false
}
