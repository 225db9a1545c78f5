package main

import (
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// The SFU on a machine of its own with its own nginx, the rest on the
// homeserver: one secret, one outcome.
func TestE2ESplitSite(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	media := lab.Up(t, lab.SFUFor("home"), "media")[0]
	home := lab.Up(t, lab.Full, "home")[0]
	c := newCLI(t)
	text := lab.PlanText(t, "home")
	plan := planFile(t, text)
	beforeMedia, beforeHome := media.Snapshot(t), home.Snapshot(t)

	runPhase(t, "a failure on one host rolls both back", func(t *testing.T) {
		breaks, fixes := failingUnit("matrix-synapse.service", "ExecStartPre=", "/etc/matrix-synapse/homeserver.yaml")
		home.Exec(t, breaks)
		before := home.Snapshot(t)
		c.run(t, exitRolledBack, "apply", "--yes", plan)
		compareSnapshots(t, "the host that failed", before, home.Snapshot(t))
		compareSnapshots(t, "the other host", beforeMedia, media.Snapshot(t))
		home.Exec(t, fixes)
	})

	c.run(t, exitOK, "apply", "--yes", plan)
	runPhase(t, "a client can join", func(t *testing.T) { join(t, home) })
	runPhase(t, "one secret", func(t *testing.T) {
		out := c.run(t, exitOK, "secrets", "show", plan)
		_, secret, ok := strings.Cut(out, "LIVEKIT_SECRET=")
		if secret = strings.TrimSpace(secret); !ok || len(secret) < 43 {
			t.Fatal("secrets show prints no secret")
		}
		for _, h := range []*lab.Host{media, home} {
			if h.Exec(t, "grep -rlF -e "+secret+" /etc/ecdeploy | wc -l") != "1\n" {
				t.Errorf("%s does not hold the secret once", h.Name)
			}
		}
		if strings.Contains(media.Exec(t, "docker ps --format '{{.Names}}'"), "jwt") || strings.Contains(home.Exec(t, "docker ps --format '{{.Names}}'"), "sfu") {
			t.Error("a component is on the wrong host")
		}
	})
	runPhase(t, "idempotent", func(t *testing.T) {
		if out := c.run(t, exitOK, "apply", "--yes", plan); !strings.Contains(out, "nothing to do") {
			t.Error(out)
		}
	})
	c.run(t, exitOK, "rollback", "--yes", plan)
	compareSnapshots(t, "rollback", beforeMedia, media.Snapshot(t))
	compareSnapshots(t, "rollback", beforeHome, home.Snapshot(t))

	runPhase(t, "no proxy next to the SFU", func(t *testing.T) { checkOnePort(t, c, media, home, text) })
	compareSnapshots(t, "the SFU's host at the end", beforeMedia, media.Snapshot(t))
	compareSnapshots(t, "the homeserver at the end", beforeHome, home.Snapshot(t))
}

// checkOnePort lets the homeserver's proxy reach the SFU over the network: its
// signalling port is open to that proxy, and to nobody else.
func checkOnePort(t *testing.T, c *cli, media, home *lab.Host, text string) {
	proxyBlock := regexp.MustCompile(`(?s)  proxy "nginx" \{\s*host\s*= host\.media.*?\n  \}\n`)
	if !proxyBlock.MatchString(text) {
		t.Fatalf("the plan file has no proxy next to the SFU:\n%s", text)
	}
	plan := planFile(t, proxyBlock.ReplaceAllString(text, ""),
		"https://matrix-rtc-sfu."+home.Domain, "https://matrix-rtc-jwt."+home.Domain+"/livekit/sfu",
		`"https://matrix-rtc-jwt.`+home.Domain+`"`, `"https://matrix-rtc-jwt.`+home.Domain+`/livekit/jwt"`,
		"host.media\n", "host.media\n    bind    = \""+media.IP+"\"\n")
	c.run(t, exitOK, "apply", "--yes", plan)
	joinAt(t, home, "https://matrix-rtc-jwt."+home.Domain+"/livekit/jwt", "wss://matrix-rtc-jwt."+home.Domain+"/livekit/sfu", "erin", "frank")
	if rules := media.Exec(t, "ufw status"); !regexp.MustCompile(`7880/tcp +ALLOW +` + regexp.QuoteMeta(home.IP) + `\b`).MatchString(rules) {
		t.Errorf("the port is not open to the proxy:\n%s", rules)
	}
	if conn, err := net.DialTimeout("tcp", media.IP+":7880", 2*time.Second); err == nil {
		conn.Close()
		t.Error("the signalling port is open to others than the proxy")
	}
	if out := c.run(t, exitOK, "apply", "--yes", plan); !strings.Contains(out, "nothing to do") {
		t.Error(out)
	}
	c.run(t, exitOK, "destroy", "--yes", plan)
	c.run(t, exitOK, "prune", "--yes", plan)
}
