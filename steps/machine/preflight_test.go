package machine

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
)

func preflightFound(text string) preflightFacts {
	f := parsePreflight(text)
	f.name, f.asked = "h", time.Unix(1764000000, 0)
	f.addrs = []steps.HostAddr{{Dev: "lo", IP: "127.0.0.1"}, {Dev: "eth0", IP: "198.51.100.7"}}
	return f
}

func preflightFindings(t *testing.T, site *steps.Site, f preflightFacts) []steps.Finding {
	t.Helper()
	return append(append(append(f.system(site), f.docker(site)...), f.ports(site)...), f.others(site)...)
}

func TestPreflightOfAGoodHost(t *testing.T) {
	if got := preflightFindings(t, suite.OneHost(), preflightFound(suite.PreflightGood)); len(got) != 0 {
		t.Errorf("got %s, want nothing", suite.Summaries(got))
	}
}

// preflightFindingsCases are the cases of TestPreflightFindings.
var preflightFindingsCases = []struct {
	name, old, new string
	want, hint     string
}{
	{"tools", "", "tool flock\ntool cmp\n", "error: h lacks flock, cmp", "util-linux"},
	{"another system", "os ID=debian", "os ID=fedora", "warning: h runs Debian GNU/Linux 12", ""},
	{"a system like Debian", "os ID=debian", "os ID=linuxmint\nos ID_LIKE=\"ubuntu debian\"", "", ""},
	{"architecture", "arch x86_64", "arch armv7l", "error: h is arm", "archive"},
	{"arm64", "arch x86_64", "arch aarch64", "", ""},
	{"disk", "images 9000", "images 1000", "error: h has 1000 MiB free on /var/lib/docker", "image prune"},
	{"disk, but nothing to fetch", "fetch\nfetch\nimages 9000", "images 100", "", ""},
	{"journal's disk", "room 9000", "room 12", "error: h has 12 MiB free on /var/lib", ""},
	{"clock", "clock 1764000000", "clock 1764000090", "warning: the clocks of h and of this machine differ by 1m30s", "set-ntp"},
	{"clock, a little", "clock 1764000000", "clock 1763999980", "", ""},
	{"no docker", "docker 26.1.5+dfsg1\n", "", "error: Docker is not installed on h", "apt install docker.io, or"},
	{"no docker on trixie", "os VERSION_ID=\"12\"", "os VERSION_ID=\"13\"", "", ""},
	{
		name: "engine down",
		old:  "docker 26.1.5+dfsg1",
		new:  "dockererr Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
		want: "error: the Docker engine on h does not answer: Cannot connect",
		hint: "systemctl start docker",
	},
	{"old docker", "docker 26.1.5+dfsg1", "docker 19.03.13", "error: Docker 19.03.13 on h is too old", "docs.docker.com"},
	{"oldest docker", "docker 26.1.5+dfsg1", "docker 20.10.5+dfsg1", "", ""},
	{"podman", "", "how podman\n", "error: the docker command on h is Podman's", "apt remove podman-docker"},
	{"snap", "", "how snap\n", "error: Docker on h is a snap", "snap remove"},
	{"rootless", `"name=cgroupns"`, `"name=rootless"`, "error: Docker on h is rootless", ""},
	{"userns", `"name=cgroupns"`, `"name=userns"`, "error: Docker on h maps users", "userns-remap"},
	{"no ss", "", "noss\n", "warning: there is no ss on h", "iproute2"},
	{"jwt port taken", "", "listen tcp 127.0.0.1:8080 users:((\"java\",pid=7,fd=1))\n", "error: port 8080/tcp on h is taken by java", "another port"},
	{"taken for all addresses", "", "listen tcp *:8080 users:((\"java\",pid=7,fd=1))\n", "error: port 8080/tcp on h is taken by java", ""},
	{"taken by Java", "", "listen tcp [::ffff:127.0.0.1]:8080 users:((\"java\",pid=7,fd=1))\n", "error: port 8080/tcp on h is taken by java", ""},
	{"taken on another address", "", "listen tcp 198.51.100.7:8080 users:((\"java\",pid=7,fd=1))\n", "", ""},
	{
		name: "ICE port taken on one address",
		old:  "",
		new:  "listen tcp 198.51.100.7:7881 users:((\"turnserver\",pid=7,fd=1))\n",
		want: "error: port 7881/tcp on h is taken by turnserver",
		hint: "",
	},
	{
		name: "taken by a container's port",
		old:  "",
		new: "published web\t0.0.0.0:7880->80/tcp, [::]:7880->80/tcp\n" +
			"listen tcp 0.0.0.0:7880 users:((\"docker-proxy\",pid=7,fd=1))\nlisten tcp [::]:7880 users:((\"docker-proxy\",pid=8,fd=1))\n",
		want: "error: port 7880/tcp on h is taken by container web",
		hint: "",
	},
	{"the container that we replace", "", "ours 70\nours 71\nlisten tcp 127.0.0.1:7880 users:((\"livekit-server\",pid=71,fd=1))\n", "", ""},
	{
		name: "its published ports",
		old:  "",
		new: "published livekit-sfu\t0.0.0.0:7880->7880/tcp, 0.0.0.0:50100-50101->50100-50101/udp\n" +
			"listen tcp 0.0.0.0:7880 users:((\"docker-proxy\",pid=7,fd=1))\nlisten udp 0.0.0.0:50101 users:((\"docker-proxy\",pid=8,fd=1))\n",
		want: "",
		hint: "",
	},
	{"a stopped container is process 0", "", "ours 0\nlisten tcp 0.0.0.0:7880\n", "error: port 7880/tcp on h is taken by another program", ""},
	{
		name: "a UDP port in the range",
		old:  "",
		new:  "listen udp 0.0.0.0:50150 users:((\"avahi-daemon\",pid=7,fd=1))\n",
		want: "warning: avahi-daemon uses 1 of the UDP ports 50100-50200",
		hint: "",
	},
	{"another LiveKit", "", "listen tcp *:7980 users:((\"livekit-server\",pid=7,fd=1))\n", "warning: another LiveKit runs on h", "port_range_start"},
	{"another site's LiveKit", "", "sibling 7\nlisten tcp *:7980 users:((\"livekit-server\",pid=7,fd=1))\n", "", ""},
	{
		name: "coturn",
		old:  "",
		new:  "coturn 49152 65535 /etc/turnserver.conf\n",
		want: "warning: coturn on h relays on 49152-65535/udp, which overlaps with 50100-50200",
		hint: "/etc/turnserver.conf",
	},
	{"coturn elsewhere", "", "coturn 49152 50099 /etc/turnserver.conf\n", "", ""},
	{"group", "", "group 10030 staff\n", "warning: group staff on h has the number 10030", "uid"},
	{
		name: "unresolved SFU",
		old:  "dns matrix-rtc-sfu.example.org 198.51.100.7\n",
		new:  "",
		want: "warning: matrix-rtc-sfu.example.org does not resolve on h: the JWT service calls LiveKit",
		hint: "DNS",
	},
	{"unresolved homeserver", "dns example.org 203.0.113.80\n", "", "warning: example.org does not resolve on h: the JWT service finds", "DNS"},
	{
		name: "DNS elsewhere",
		old:  "dns matrix-rtc-jwt.example.org 198.51.100.7",
		new:  "dns matrix-rtc-jwt.example.org 104.16.1.1",
		want: "note: matrix-rtc-jwt.example.org resolves to 104.16.1.1",
		hint: "",
	},
	{"DNS of /etc/hosts", "dns matrix-rtc-jwt.example.org 198.51.100.7", "dns matrix-rtc-jwt.example.org 127.0.1.1", "", ""},
}

// Each case changes one thing of a good host and names what must be said; want
// is the beginning of one "severity: summary", or "" for nothing.
func TestPreflightFindings(t *testing.T) {
	for _, c := range preflightFindingsCases {
		t.Run(c.name, func(t *testing.T) {
			text := suite.PreflightGood + c.new
			if c.old != "" {
				text = strings.Replace(suite.PreflightGood, c.old, c.new, 1)
				if text == suite.PreflightGood {
					t.Fatalf("%q is not in the text", c.old)
				}
			}
			got := preflightFindings(t, suite.OneHost(), preflightFound(text))
			if c.want == "" {
				if len(got) != 0 {
					t.Fatalf("got %s, want nothing", suite.Summaries(got))
				}
				return
			}
			if len(got) != 1 || !strings.HasPrefix(suite.Summaries(got), c.want) || !strings.Contains(got[0].Hint, c.hint) {
				t.Fatalf("got %s hint %v\nwant one: %s, hint with %q", suite.Summaries(got), got, c.want, c.hint)
			}
		})
	}
}

func TestPreflightInstallLine(t *testing.T) {
	for _, c := range []struct {
		os   osRelease
		want string
	}{
		{osRelease{ID: "debian", Version: "12"}, "apt install docker.io,"},
		{osRelease{ID: "debian", Version: "13"}, "apt install docker.io docker-cli,"},
		{osRelease{ID: "debian"}, "apt install docker.io docker-cli,"}, // testing and sid name no version
		{osRelease{ID: "ubuntu", Version: "24.04"}, "apt install docker.io,"},
		{osRelease{ID: "alpine"}, "see https"},
	} {
		if got := c.os.install(); !strings.HasPrefix(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.os, got, c.want)
		}
	}
}

// A host that carries no container needs neither Docker nor room for images.
func TestPreflightOfAProxyAlone(t *testing.T) {
	f := preflightFound("os ID=debian\narch riscv64\nclock 1764000000\nroom 100\nimages 100 /var\n" +
		"dns matrix-rtc-sfu.example.org 198.51.100.7\ndns matrix-rtc-jwt.example.org 198.51.100.7\n")
	site := suite.OneHost()
	site.Parts[0].Host, site.Parts[1].Host = "other", "other"
	if got := preflightFindings(t, site, f); len(got) != 0 {
		t.Errorf("got %s, want nothing", suite.Summaries(got))
	}
}

// localObserver runs queries on this machine as they are; they only look.
type localObserver struct{}

func (localObserver) Name() string { return "h" }

func (localObserver) Read(context.Context, ...string) ([]host.File, error) { return nil, nil }

func (localObserver) Query(ctx context.Context, cmds ...host.Cmd) ([]host.Result, error) {
	var out []host.Result
	for _, c := range cmds {
		cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
		b, err := cmd.Output()
		r := host.Result{Stdout: b}
		if err != nil {
			r.Code = 1
		}
		out = append(out, r)
	}
	return out, nil
}

// Names that are hostile to a shell reach it as words, and the text runs to
// its end with a plain POSIX sh.
func TestPreflightTextIsShellSafe(t *testing.T) {
	site := suite.OneHost()
	site.Parts[0].Run.Container = `x'; touch "` + t.TempDir() + `/pwned"; echo tool PWNED; '`
	site.Parts[0].Run.Image = "$(echo tool PWNED)`echo tool PWNED`*"
	facts, err := preflight(site).Probe(t.Context(), localObserver{})
	if err != nil {
		t.Fatal(err)
	}
	f := facts.(interface {
		Diff(steps.Shared) (steps.Decision, error)
	})
	d, err := f.Diff(steps.Shared{})
	if err != nil {
		t.Fatal(err)
	}
	if s := suite.Summaries(d.Findings); strings.Contains(s, "PWNED") || strings.Contains(s, "clocks") || strings.Contains(s, " 0 MiB") {
		t.Errorf("got %s", s)
	}
}

func TestParseListener(t *testing.T) {
	for in, want := range map[string]listener{
		`tcp 0.0.0.0:443 users:(("nginx",pid=173,fd=8),("nginx",pid=172,fd=8))`: {"tcp", "0.0.0.0", 443, "nginx", []int{173, 172}},
		`udp 127.0.0.53%lo:53`:                          {"udp", "127.0.0.53", 53, "", nil},
		`tcp [::ffff:127.0.0.1]:8080`:                   {"tcp", "::ffff:127.0.0.1", 8080, "", nil},
		`tcp *:7880 users:(("my_server",pid=9,fd=3))`:   {"tcp", "*", 7880, "my_server", []int{9}},
		`tcp [fe80::1%eth0]:22 users:(("s",pid=1,fd=3)`: {"tcp", "fe80::1", 22, "s", []int{1}},
	} {
		got, ok := parseListener(strings.Fields(in))
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
	for _, bad := range []string{"tcp nonsense", "tcp 1.2.3.4:http"} {
		if l, ok := parseListener(strings.Fields(bad)); ok {
			t.Errorf("%q was read as %+v", bad, l)
		}
	}
}

// A deployed host, as it answered: what listens there is our own.
const preflightDeployed = `os PRETTY_NAME="Debian GNU/Linux forky/sid"
os ID=debian
arch x86_64
clock 1764000000
room 74089
docker 28.5.2+dfsg4
security ["name=seccomp,profile=builtin","name=cgroupns"]
root /var/lib/docker
published element-call-jwt	
published livekit-sfu	
ours 21600
ours 21600
ours 21409
sibling 21409
sibling 21600
images 74089 /var/lib/docker
dns matrix-rtc-sfu.example.org 198.51.100.7
dns matrix-rtc-jwt.example.org 198.51.100.7
dns example.org 198.51.100.7
listen udp 127.0.0.11:54176 
listen tcp 127.0.0.1:39097 users:(("containerd",pid=162,fd=10))
listen tcp 127.0.0.1:8080 users:(("jwt-service",pid=21409,fd=3))
listen tcp 127.0.0.1:7880 users:(("livekit-server",pid=21600,fd=6))
listen tcp *:7881 users:(("livekit-server",pid=21600,fd=3))
listen tcp 0.0.0.0:443 users:(("nginx",pid=21253,fd=8),("nginx",pid=21252,fd=8),("nginx",pid=171,fd=8))
listen tcp [::]:443 users:(("nginx",pid=21253,fd=9),("nginx",pid=21252,fd=9),("nginx",pid=171,fd=9))
`

func TestPreflightOfADeployedHost(t *testing.T) {
	if got := preflightFindings(t, suite.OneHost(), preflightFound(preflightDeployed)); len(got) != 0 {
		t.Errorf("got %s, want nothing", suite.Summaries(got))
	}
	// Made by somebody else, the same listeners are in the way.
	strangers := strings.NewReplacer("ours", "theirs", "sibling", "theirs").Replace(preflightDeployed)
	if got := preflightFindings(t, suite.OneHost(), preflightFound(strangers)); strings.Count(suite.Summaries(got), "error: port") != 3 {
		t.Errorf("got %s, want three ports taken", suite.Summaries(got))
	}
}
