package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
	"github.com/emdecloud/ecdeploy/internal/rtc"
)

const dropUDP = "to udp dport 50100-50200"

// What a run has deployed is announced only after a call was held on it. The
// laptop is a machine of its own.
func TestE2EGate(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Full, "gate")[0]
	c := newCLI(t)
	text := lab.PlanText(t, "gate")
	before := h.Snapshot(t)

	runPhase(t, "a firewall that stays closed", func(t *testing.T) {
		out := c.laptop(t, exitRolledBack, "apply", "--yes", planFile(t, text, "identity = ", "firewall \"none\" {}\n  identity = "))
		for _, want := range []string{"firewall-udp", "firewall-tcp", "ufw", "gate.test  failed; every host is as before"} {
			if !strings.Contains(out, want) {
				t.Errorf("the output has no %q:\n%s", want, out)
			}
		}
		if strings.Contains(out, "gate.test: synapse") {
			t.Error("the backend was announced before a call was seen to work")
		}
		compareSnapshots(t, "a rolled back run", before, h.Snapshot(t))
	})
	runPhase(t, "a firewall in front of the host", func(t *testing.T) {
		defer lab.Outer(t, h.Name)
		lab.Outer(t, h.Name, dropUDP)
		out := c.laptop(t, exitRolledBack, "apply", "--yes", planFile(t, text, "verify {", "verify {\n    strict = true"))
		if !strings.Contains(out, "blocked-udp") || strings.Contains(out, "gate.test: synapse") {
			t.Errorf("strict:\n%s", out)
		}
		compareSnapshots(t, "a rolled back run", before, h.Snapshot(t))
		out = c.laptop(t, exitOK, "apply", "--yes", planFile(t, text))
		if !strings.Contains(out, "warning media over UDP") || !strings.Contains(out, "blocked-udp") || !strings.Contains(out, "media over TCP (") {
			t.Errorf("not strict:\n%s", out)
		}
	})
	checkNoCredentials(t, c, h)
}

// A call of several people on a site that is deployed. What arrives is counted, so
// this test wants the machine for itself: scripts/test runs it before the others.
func TestE2ECall(t *testing.T) {
	lab.Require(t)
	h := lab.Up(t, lab.Full, "call")[0]
	c := newCLI(t)
	plan := planFile(t, lab.PlanText(t, "call"))
	c.laptop(t, exitOK, "apply", "--yes", plan)
	checkCall(t, c, plan)
	checkNoCredentials(t, c, h)
}

// What keeps media away from a site that is deployed is named.
func TestE2EVerify(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Full, "bars")[0]
	c := newCLI(t)
	text := lab.PlanText(t, "bars")
	plan := planFile(t, text)
	c.laptop(t, exitOK, "apply", "--yes", plan)

	runPhase(t, "as a Matrix user", func(t *testing.T) {
		token := filepath.Join(t.TempDir(), "token")
		secret := lab.User(t, h.Name, "grace")
		if err := os.WriteFile(token, []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r := c.report(t, exitOK, "verify", "--seconds", "1", planFile(t, text, "verify {", "verify {\n    access_token {\n      file = \""+token+"\"\n    }"))
		as := slices.DeleteFunc(slices.Clone(r.Links), func(l rtc.Link) bool { return l.Part != rtc.AsUser })
		if len(as) < 8 || slices.ContainsFunc(as, func(l rtc.Link) bool { return l.Status != rtc.OK }) {
			t.Errorf("as a user: %+v", as)
		}
		if strings.Contains(c.all.String(), secret) {
			t.Error("the access token is in the output")
		}
	})
	runPhase(t, "from another host", func(t *testing.T) {
		other := lab.Up(t, lab.Light, "seer")[0]
		from := planFile(t, text, "site \"bars.test\"", fmt.Sprintf("host %q {\n  address  = %q\n  user     = \"root\"\n  identity = %q\n}\nsite \"bars.test\"", other.Name, other.IP, lab.Env(t, "KEY")),
			"verify {", "verify {\n    from = [host.seer]")
		r := c.report(t, exitOK, "verify", "--seconds", "1", from)
		for _, what := range []string{"https", "websocket", "tcp", "udp"} {
			wantLink(t, r, "from.seer."+what, rtc.OK, "")
		}
		defer lab.Outer(t, other.Name)
		lab.Outer(t, other.Name, "from udp dport 50100-50200", "from tcp dport 7881")
		r = c.report(t, exitUnhealthy, "verify", "--seconds", "1", from)
		wantLink(t, r, "from.seer.udp", rtc.Failed, "blocked-udp")
		wantLink(t, r, "from.seer.tcp", rtc.Failed, "blocked-tcp")
		wantLink(t, r, "media.udp4", rtc.OK, "")
	})
	runPhase(t, "watched until something breaks", func(t *testing.T) {
		cmd := c.onLaptop(t, "verify", "--watch=10s", "--seconds", "1", "--json", plan)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var last rtc.Report
		rounds := 0
		for lines := newLines(out); lines.Scan(); {
			r, ok := reportIn(lines.Bytes())
			if !ok {
				continue
			}
			if last = r; rounds == 0 {
				h.Exec(t, "docker stop element-call-jwt")
			}
			rounds++
		}
		_ = cmd.Wait() // its exit code says more
		h.Exec(t, "docker start element-call-jwt")
		if cmd.ProcessState.ExitCode() != exitUnhealthy || rounds != 2 {
			t.Errorf("exit code %d after %d rounds", cmd.ProcessState.ExitCode(), rounds)
		}
		wantLink(t, last, "container.auth", rtc.Failed, "jwt-down")
	})
	runPhase(t, "media by one way and by none", func(t *testing.T) {
		h.Exec(t, "ufw insert 1 deny proto udp from 172.16.0.0/12 to any port 50100:50200")
		r := c.report(t, exitUnhealthy, "verify", "--seconds", "1", plan)
		wantLink(t, r, "media.udp4", rtc.Failed, "firewall-udp")
		wantLink(t, r, "media.tcp4", rtc.OK, "")
		if n := countPackets(r, "tcp4"); n < 50 {
			t.Errorf("%d packets over TCP", n)
		}
		h.Exec(t, "ufw insert 1 deny proto tcp from 172.16.0.0/12 to any port 7881")
		r = c.report(t, exitUnhealthy, "verify", "--seconds", "1", plan)
		wantLink(t, r, "media.udp4", rtc.Failed, "firewall-udp")
		wantLink(t, r, "media.tcp4", rtc.Failed, "firewall-tcp")
		if len(r.Flows) != 0 {
			t.Errorf("media flowed: %+v", r.Flows)
		}
		h.Exec(t, "ufw delete deny proto tcp from 172.16.0.0/12 to any port 7881 && ufw delete deny proto udp from 172.16.0.0/12 to any port 50100:50200")
		if out := c.laptop(t, exitOK, "apply", "--yes", "--verify", plan); !strings.Contains(out, "nothing to do") || !strings.Contains(out, "a call works") {
			t.Errorf("apply --verify of what is there:\n%s", out)
		}
		h.Exec(t, "head -c 43 /dev/zero | tr '\\0' x >/etc/ecdeploy/bars.test/auth/secret && docker restart element-call-jwt") // LiveKit quotes what it refuses
		wantLink(t, c.report(t, exitUnhealthy, "verify", "--seconds", "1", plan), "sfu.create", rtc.Failed, "secret-differs")
	})
	checkNoCredentials(t, c, h)
}

// checkNoCredentials searches all that was ever printed, failures with the words of
// servers and logs among it.
func checkNoCredentials(t *testing.T, c *cli, h *lab.Host) {
	for line := range strings.Lines(h.Exec(t, "cat /etc/ecdeploy/*/sfu/keys.yaml")) {
		key, secret, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok || len(secret) < 43 {
			t.Fatal("the key file is not understood")
		}
		for what, text := range map[string]string{"LIVEKIT_KEY": key, "LIVEKIT_SECRET": secret, "a token": "eyJ"} {
			if strings.Contains(c.all.String(), text) {
				t.Errorf("%s was printed", what)
			}
		}
	}
}

// checkCall looks at all that verify writes of a healthy site.
func checkCall(t *testing.T, c *cli, plan string) {
	dir := t.TempDir()
	page, figures := filepath.Join(dir, "report.html"), filepath.Join(dir, "ecdeploy.prom")
	r := c.report(t, exitOK, "verify", "--participants", "6", "--seconds", "2", "--html", page, "--prometheus", figures, plan)
	for _, l := range r.Links {
		if l.Status != rtc.OK {
			t.Errorf("%s is %s: %q", l.ID, l.Status, l.Evidence)
		}
	}
	for _, n := range []string{"udp4", "tcp4"} {
		if got := countPackets(r, n); got < 100 {
			t.Errorf("%d packets over %s", got, n)
		}
	}
	if l := r.Load; l == nil || l.Joined != 6 || l.Flows != 40 || l.Arrived != 40 {
		t.Errorf("load: %+v", l)
	}
	for path, want := range map[string]string{page: "<!doctype html>", figures: `ecdeploy_verify_works{site="call.test"} 1`} {
		b, err := os.ReadFile(path)
		if err != nil || !strings.Contains(strings.ToLower(string(b)), want) {
			t.Errorf("%s: %v: %.200s", path, err, b)
		}
	}
	if out := c.laptop(t, exitOK, "verify", "--seconds", "1", plan); !strings.Contains(out, "call.test: a call works") {
		t.Error(out)
	}
	// Every other second of a run is media or a silent WebSocket.
	t.Logf("the whole look took %s", r.Took.Round(100*time.Millisecond))
}

// report is what verify --json says of one site.
func (c *cli) report(t *testing.T, want int, args ...string) rtc.Report {
	t.Helper()
	out := c.laptop(t, want, append(args, "--json")...)
	for lines := newLines(strings.NewReader(out)); lines.Scan(); {
		if r, ok := reportIn(lines.Bytes()); ok {
			return r
		}
	}
	t.Fatalf("no report in\n%s", out)
	return rtc.Report{}
}

func newLines(from io.Reader) *bufio.Scanner {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	return lines
}

// reportIn reads a line of verify --json.
func reportIn(line []byte) (rtc.Report, bool) {
	var v struct {
		Version int        `json:"version"`
		Type    string     `json:"type"`
		Report  rtc.Report `json:"report"`
	}
	err := json.Unmarshal(line, &v)
	return v.Report, err == nil && v.Type == "report" && v.Version == 1
}

func wantLink(t *testing.T, r rtc.Report, id string, status rtc.Status, code rtc.Code) {
	t.Helper()
	i := slices.IndexFunc(r.Links, func(l rtc.Link) bool { return l.ID == id })
	if i < 0 || r.Links[i].Status != status || r.Links[i].Code != code {
		t.Errorf("%s is not %s %s: %+v", id, status, code, r.Links)
	}
}

// countPackets are the RTP packets that arrived over a network.
func countPackets(r rtc.Report, network string) int {
	n := 0
	for _, f := range r.Flows {
		if f.Network == network {
			n += f.Packets
		}
	}
	return n
}
