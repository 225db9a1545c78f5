package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
	"github.com/emdecloud/ecdeploy/internal/hosttest/relay"
)

// lane is one host, or two, on which cases run one after the other.
type lane struct {
	t      *testing.T
	self   string // this binary
	dir    string
	hosts  []*faultHost
	known  string
	env    map[string]string
	state  string // the scenario for which the hosts are ready; "" for new hosts
	before []lab.Snapshot
	points map[string][]string       // by scenario, as a run without a fault passes them
	from   map[string][]lab.Snapshot // by scenario, before and after such a run
	to     map[string][]lab.Snapshot
}

// faultHost is a lab host with a disk of its own.
type faultHost struct {
	name  string
	ip    string
	relay *relay.Relay
	disk  string // where that is mounted here
}

// scenarios are what is done while something breaks: how the hosts get ready,
// the plan file, the command, and a call that fails by itself.
var scenarios = map[string]struct {
	ready   []string // plan files applied before
	command []string
	plan    string
	fail    string
	like    string // the scenario in which that call does not fail
	next    string // the scenario that begins where this one ends
	hosts   int
}{
	"first deploy": {command: []string{"apply", "--yes"}, plan: "one", hosts: 1},
	"update":       {ready: []string{"one"}, command: []string{"apply", "--yes"}, plan: "two", hosts: 1},
	// Its commit removes what the update before it had set aside.
	"second update": {ready: []string{"one", "two"}, command: []string{"apply", "--yes"}, plan: "one", hosts: 1},
	"failed update": {ready: []string{"one"}, command: []string{"apply", "--yes"}, plan: "two", fail: "confirm", like: "update", hosts: 1},
	"rollback":      {ready: []string{"one", "two"}, command: []string{"rollback", "--yes"}, plan: "two", hosts: 1},
	"destroy":       {ready: []string{"one"}, command: []string{"destroy", "--yes"}, plan: "one", hosts: 1},
	"two hosts":     {command: []string{"apply", "--yes"}, plan: "split", hosts: 2},
	// What the plan file names no more where it was is taken away in the same run. Between
	// two hosts each move begins where the one before it has ended.
	"move on one host":     {ready: []string{"one"}, command: []string{"apply", "--yes"}, plan: "renamed", hosts: 1},
	"failed move":          {ready: []string{"one"}, command: []string{"apply", "--yes"}, plan: "renamed", fail: "confirm", like: "move on one host", hosts: 1},
	"move back":            {ready: []string{"near", "split"}, command: []string{"apply", "--yes"}, plan: "near", next: "move to another host", hosts: 2},
	"move to another host": {ready: []string{"near", "split", "near"}, command: []string{"apply", "--yes"}, plan: "split", next: "move back", hosts: 2},
}

// layouts are the plan files: where the SFU is, and settings that differ.
var layouts = map[string]struct {
	hosts     int
	sfu       string
	ports     string
	auth      string
	container string
}{
	"one": {hosts: 1, sfu: "h0"},
	"two": {hosts: 1, sfu: "h0", ports: "ports {\n signalling = 7980\n udp = \"50100-50150\"\n }", auth: "port = 8090"},
	"renamed": {
		hosts:     1,
		sfu:       "h0",
		ports:     "ports {\n signalling = 7980\n tcp = 7981\n udp = \"50100-50150\"\n }",
		auth:      "container = \"jwt-renamed\"\n port = 8090\n uid = 10043",
		container: "container = \"livekit-renamed\"\n uid = 10040",
	},
	"near":  {hosts: 2, sfu: "h0"}, // nothing on the second one
	"split": {hosts: 2, sfu: "h1"},
}

func newLane(t *testing.T, self string, names ...string) *lane {
	l := &lane{
		t:      t,
		self:   self,
		dir:    t.TempDir(),
		points: map[string][]string{},
		from:   map[string][]lab.Snapshot{},
		to:     map[string][]lab.Snapshot{},
		env:    map[string]string{},
	}
	for _, k := range []string{"KEY", "LIVEKIT_IMAGE", "LIVEKIT_ARCHIVE", "JWT_IMAGE", "JWT_ARCHIVE", "KNOWN_HOSTS", "LAB"} {
		l.env[k] = lab.Env(t, k)
	}
	l.known = l.env["KNOWN_HOSTS"]
	for _, n := range names {
		l.hosts = append(l.hosts, &faultHost{name: n, disk: filepath.Join(l.env["LAB"], "disks", n)})
	}
	t.Cleanup(func() {
		if os.Getenv("ECDEPLOY_LAB_KEEP") != "1" {
			labScript("down", names...)
		}
	})
	return l
}

func labScript(command string, args ...string) (string, error) {
	return sh("../../scripts/lab", append([]string{command}, args...)...)
}

// prepare makes the hosts and learns the points and ends of these scenarios.
func (l *lane) prepare(learnt []string) {
	if len(learnt) == 0 {
		l.state = "again" // the hosts are made when there is a case for them
		return
	}
	if err := l.makeHosts(); err != nil {
		l.t.Error(err)
		return
	}
	for _, s := range learnt {
		if err := l.learn(s); err != nil {
			l.t.Errorf("%s, undisturbed: %v", s, err)
			return
		}
	}
}

// makeHosts makes the hosts, with the images on them.
func (l *lane) makeHosts() error {
	l.state = ""
	var names []string
	for _, h := range l.hosts {
		names = append(names, h.name)
	}
	if _, err := labScript("down", names...); err != nil {
		return err
	}
	if _, err := labScript("up", append([]string{"--light", "--disk"}, names...)...); err != nil {
		return err
	}
	if err := os.RemoveAll(l.heads()); err != nil { // of the hosts that were
		return err
	}
	for _, h := range l.hosts {
		ip, err := labScript("ip", h.name)
		if err != nil {
			return err
		}
		if h.relay == nil || h.ip != strings.TrimSpace(ip) {
			h.ip = strings.TrimSpace(ip)
			h.relay = relay.Listen(l.t, h.ip+":22", 0)
		}
		if err := h.exec(`mkdir -p /var/www/html/.well-known/matrix; echo '{"m.homeserver": {"base_url": "https://matrix.example.org"}}' >/var/www/html/.well-known/matrix/client`); err != nil {
			return err
		}
		for _, archive := range []string{l.env["LIVEKIT_ARCHIVE"], l.env["JWT_ARCHIVE"]} {
			if _, err := sh("sh", "-c", "docker exec -i ecdeploy-lab-"+h.name+" docker load -q <"+archive); err != nil {
				return err
			}
		}
		if h != l.hosts[0] { // one certificate for the site
			live := "/etc/letsencrypt/live/" + l.hosts[0].name + ".test"
			if _, err := sh("cp", "-a", l.hosts[0].root()+live, h.root()+live); err != nil {
				return err
			}
		}
		// ufw rewrites its files with the first rule, and Docker its chains.
		if err := h.exec("systemctl restart docker && sync"); err != nil {
			return err
		}
	}
	return nil
}

// plan writes the plan file, over the relays or not.
func (l *lane) plan(which string, relayed bool) string {
	var b strings.Builder
	layout := layouts[which]
	for i, h := range l.hosts[:layout.hosts] {
		address, port := h.ip, 22
		if relayed {
			address, port = "127.0.0.1", h.relay.Port
		}
		fmt.Fprintf(&b, "host \"h%d\" {\n  address = %q\n  port = %d\n  user = \"root\"\n  identity = %q\n}\n", i, address, port, l.env["KEY"])
	}
	proxies := fmt.Sprintf(`proxy "nginx" {
    host = host.h0
    certificate = "/etc/letsencrypt/live/%[1]s.test/fullchain.pem"
    key = "/etc/letsencrypt/live/%[1]s.test/privkey.pem"
  }
`, l.hosts[0].name)
	if layout.sfu == "h1" {
		proxies += strings.ReplaceAll(proxies, "h0", "h1")
	}
	fmt.Fprintf(&b, `site "%[1]s.test" {
  revert_after = "3s"
  sfu {
    host    = host.%[2]s
    url     = "https://matrix-rtc-sfu.%[1]s.test"
    image   = %[3]q
    archive = %[4]q
    node_ip = "203.0.113.7"
    participants = 10
    %[5]s
    %[10]s
  }
  auth {
    host    = host.h0
    url     = "https://matrix-rtc-jwt.%[1]s.test"
    image   = %[6]q
    archive = %[7]q
    %[8]s
  }
  synapse "external" { url = "https://matrix.%[1]s.test" }
  %[9]s
  well_known "file" {
    host = host.h0
    path = "/var/www/html/.well-known/matrix/client"
  }
  livekit_keys {
    key    = "TheKeyOfTheSuite"
    secret = "TheSecretOfTheSuite0123456789abcdefghijklmnop"
  }
  verify { level = "none" }
}
`, l.hosts[0].name, layout.sfu, l.env["LIVEKIT_IMAGE"], l.env["LIVEKIT_ARCHIVE"], layout.ports,
		l.env["JWT_IMAGE"], l.env["JWT_ARCHIVE"], layout.auth, proxies, layout.container)
	path := filepath.Join(l.dir, fmt.Sprintf("%s-%v.hcl", which, relayed))
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		l.t.Error(err)
	}
	return path
}

// knownHosts has the relays' ports, too: one address, several hosts.
func (l *lane) knownHosts() string {
	b, err := os.ReadFile(l.known)
	if err != nil {
		l.t.Error(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(b)) {
		names, key, _ := strings.Cut(line, " ")
		out.WriteString(line)
		for _, h := range l.hosts {
			if strings.HasPrefix(names, h.ip+",") {
				fmt.Fprintf(&out, "[127.0.0.1]:%d %s", h.relay.Port, key)
			}
		}
	}
	path := filepath.Join(l.dir, "known_hosts")
	if err := os.WriteFile(path, []byte(out.String()), 0o600); err != nil {
		l.t.Error(err)
	}
	return path
}

// heads is where ecdeploy remembers what it saw of audit logs.
func (l *lane) heads() string { return filepath.Join(l.dir, "state") }

// ecdeploy runs it without faults, past the relays.
func (l *lane) ecdeploy(plan string, args ...string) (string, int) {
	return l.quietly(append(args, "--known-hosts", l.known, l.plan(plan, false))...)
}

// quietly runs ecdeploy without faults.
func (l *lane) quietly(args ...string) (string, int) {
	cmd := exec.Command(l.self, args...)
	dir, err := os.MkdirTemp(l.dir, "quiet")
	if err != nil {
		l.t.Error(err)
	}
	cmd.Env = append(os.Environ(), "ECDEPLOY_FAULT_DIR="+dir, "XDG_STATE_HOME="+l.heads())
	out, err := cmd.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		l.t.Error(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// prepareScenario brings the hosts to where a scenario begins.
func (l *lane) prepareScenario(scenario string) error {
	if l.state == scenario {
		return nil
	}
	if l.state != "" {
		if err := l.makeHosts(); err != nil {
			return err
		}
	}
	for _, plan := range scenarios[scenario].ready {
		if out, code := l.ecdeploy(plan, "apply", "--yes"); code != 0 {
			return fmt.Errorf("apply %s: exit code %d\n%s", plan, code, out)
		}
	}
	if err := l.settle(30 * time.Second); err != nil {
		return err
	}
	var err error
	if l.before, err = l.look(); err != nil {
		return err
	}
	l.state = scenario
	return nil
}

// learn runs a scenario undisturbed: its points, and where it ends.
func (l *lane) learn(scenario string) error {
	if err := l.prepareScenario(scenario); err != nil {
		return err
	}
	for _, h := range l.hosts {
		if err := os.MkdirAll(h.fault(), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(h.fault("record"), nil, 0o600); err != nil {
			return err
		}
	}
	c := l.start(scenario, nil)
	c.put("record", "")
	c.run()
	code := c.wait(2 * time.Minute)
	want := exitOK
	if scenarios[scenario].fail != "" {
		want = exitRolledBack
	}
	if code != want {
		return fmt.Errorf("exit code %d\n%s", code, c.out())
	}
	if err := l.settle(30 * time.Second); err != nil {
		return err
	}
	var err error
	l.from[scenario] = l.before
	if l.to[scenario], err = l.look(); err != nil {
		return err
	}
	if wrong := ledgerProblems(l.before, "") + ledgerProblems(l.to[scenario], ""); wrong != "" {
		return fmt.Errorf("the ledger does not say what stands:\n%s", wrong)
	}
	lines := func(path string) []string {
		b, err := os.ReadFile(path)
		if err != nil {
			l.t.Error(err)
		}
		return strings.Split(strings.TrimSpace(string(b)), "\n")
	}
	l.points[scenario] = lines(filepath.Join(c.dir, "record"))
	for _, h := range l.hosts {
		for _, p := range lines(h.fault("record")) {
			l.points[scenario] = append(l.points[scenario], h.prefix(l)+p)
		}
	}
	for _, h := range l.hosts {
		os.RemoveAll(h.fault())
	}
	if next := scenarios[scenario].next; next != "" {
		l.before, l.state = l.to[scenario], next
		return nil
	}
	// Back to where it began, by the tool itself: that must be exact.
	if scenarios[scenario].fail == "" && !scenarioEndsRun(scenario) {
		if out, code := l.ecdeploy(scenarios[scenario].plan, "rollback", "--yes"); code != 0 {
			return fmt.Errorf("rollback: exit code %d\n%s", code, out)
		}
		if err := l.settle(30 * time.Second); err != nil {
			return err
		}
	}
	if scenarioEndsRun(scenario) {
		l.state = "again"
		return nil
	}
	after, err := l.look()
	if err != nil {
		return err
	}
	for i := range after {
		if diff := lab.Diff(l.before[i], after[i]); diff != "" {
			return fmt.Errorf("it is not as before:\n%s", diff)
		}
	}
	if scenario != "first deploy" && scenario != "two hosts" {
		l.state = "again"
	} else {
		l.state = ""
	}
	return nil
}

// scenarioEndsRun says of a scenario that the tool cannot bring the hosts back to where
// it began: there is no run left to roll back, or what it would bring back is gone.
func scenarioEndsRun(scenario string) bool {
	return scenario == "rollback" || scenario == "second update"
}

// exec runs sh text on the host, past SSH.
func (h *faultHost) exec(text string) error {
	_, err := sh("docker", "exec", "ecdeploy-lab-"+h.name, "sh", "-c", text)
	return err
}

// prefix tells the hosts of a pair apart in points' names.
func (h *faultHost) prefix(l *lane) string {
	if len(l.hosts) > 1 && h == l.hosts[1] {
		return "b:"
	}
	return ""
}

// root is the host's file system, seen from here.
func (h *faultHost) root() string {
	pid, err := sh("docker", "inspect", "-f", "{{.State.Pid}}", "ecdeploy-lab-"+h.name)
	if err != nil {
		return "/nonexistent"
	}
	return "/proc/" + strings.TrimSpace(pid) + "/root"
}

// fault is the folder by which the points on the host are reached.
func (h *faultHost) fault(name ...string) string {
	return filepath.Join(append([]string{h.root(), "run/ecfault"}, name...)...)
}
