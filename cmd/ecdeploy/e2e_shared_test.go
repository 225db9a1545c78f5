package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// Two sites on one host, in one file of its nginx: each goes without the other
// noticing, in whatever order, and with the last one all that they shared.
func TestE2ESharedHost(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Full, "shared")[0]
	c := newCLI(t)
	first := strings.NewReplacer("https://matrix-rtc-sfu.shared.test", "https://matrix.shared.test/livekit/sfu",
		"https://matrix-rtc-jwt.shared.test", "https://matrix.shared.test/livekit/jwt").Replace(httpText(t, "shared"))
	plan := planFile(t, first+fmt.Sprintf(`
site "second.test" {
  sfu {
    host      = host.shared
    url       = "https://matrix-rtc-sfu.shared.test/second/sfu"
    container = "livekit-second"
    image     = %q
    archive   = %q
    node_ip   = %q
    ports {
      signalling = 7890
      tcp        = 7891
      udp        = "50300-50400"
    }
  }
  auth {
    host      = host.shared
    url       = "https://matrix-rtc-sfu.shared.test/second/jwt"
    container = "jwt-second"
    port      = 8090
    image     = %q
    archive   = %q
  }
  synapse "external" { url = "https://matrix.second.test" }
  proxy "nginx" { host = host.shared }
  well_known "external" {}
  verify { level = "none" }
}
`, lab.Env(t, "LIVEKIT_IMAGE"), lab.Env(t, "LIVEKIT_ARCHIVE"), h.IP, lab.Env(t, "JWT_IMAGE"), lab.Env(t, "JWT_ARCHIVE")))
	h.Exec(t, `cat >>/etc/nginx/sites-available/shared.test <<'END'
server {
    listen 443 ssl;
    server_name matrix-rtc-sfu.shared.test;
    ssl_certificate /etc/letsencrypt/live/shared.test/fullchain.pem;
    ssl_certificate_key /etc/letsencrypt/live/shared.test/privkey.pem;
}
END
systemctl reload nginx`)
	before := h.Snapshot(t)
	answers := func(t *testing.T, paths ...string) {
		t.Helper()
		for _, p := range paths {
			name := "matrix.shared.test"
			if strings.HasPrefix(p, "/second/") {
				name = "matrix-rtc-sfu.shared.test"
			}
			h.Exec(t, "curl -sf --retry 5 --retry-all-errors --resolve "+name+":443:127.0.0.1 https://"+name+p)
		}
	}

	c.run(t, exitOK, "apply", "--yes", "--limit", "shared.test", plan)
	alone := h.Snapshot(t)
	c.run(t, exitOK, "apply", "--yes", plan)
	var both lab.Snapshot
	answers(t, "/livekit/sfu/", "/second/sfu/", "/livekit/jwt/healthz", "/second/jwt/healthz")
	if out := c.run(t, exitOK, "plan", plan); !strings.Contains(out, "nothing to do") {
		t.Errorf("the second time it has something to do:\n%s", out)
	}
	runPhase(t, "the second is rolled back", func(t *testing.T) {
		c.run(t, exitOK, "rollback", "--yes", "--limit", "second.test", plan)
		compareSnapshots(t, "the first alone", alone, h.Snapshot(t))
		c.run(t, exitOK, "apply", "--yes", plan)
		both = h.Snapshot(t) // with new credentials
	})
	runPhase(t, "the first goes, and comes back", func(t *testing.T) {
		c.run(t, exitOK, "destroy", "--yes", "--limit", "shared.test", plan)
		answers(t, "/second/sfu/", "/second/jwt/healthz")
		c.run(t, exitOK, "rollback", "--yes", "--limit", "shared.test", plan)
		answers(t, "/livekit/sfu/", "/second/sfu/")
		compareSnapshots(t, "both", anyRun(both), anyRun(h.Snapshot(t)))
	})
	for _, order := range [][2]string{{"shared.test", "second.test"}, {"second.test", "shared.test"}} {
		runPhase(t, order[0]+" goes first", func(t *testing.T) {
			c.run(t, exitOK, "destroy", "--yes", "--limit", order[0], plan)
			c.run(t, exitOK, "destroy", "--yes", "--limit", order[1], plan)
			c.run(t, exitOK, "prune", "--yes", plan)
			compareSnapshots(t, "both are gone", before, h.Snapshot(t))
			c.run(t, exitOK, "apply", "--yes", plan)
		})
	}
}
