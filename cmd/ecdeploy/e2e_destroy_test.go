package main

import (
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// destroy gives every host back as it was before the first apply, and keeps what
// a human edited since.
func TestE2EDestroy(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Full, "away")[0]
	c := newCLI(t)
	text := httpText(t, "away")
	plan := planFile(t, text)
	longer := planFile(t, text, `synapse "debian" { host = host.away }`, "synapse \"debian\" {\n    host            = host.away\n    max_event_delay = \"48h\"\n  }")
	before := h.Snapshot(t)

	c.run(t, exitOK, "apply", "--yes", plan)
	c.run(t, exitOK, "apply", "--yes", longer)
	deployed := h.Snapshot(t)

	runPhase(t, "one that fails takes nothing away", func(t *testing.T) {
		// nginx takes no configuration without the site's.
		h.Exec(t, `mkdir -p /etc/systemd/system/nginx.service.d && printf '[Service]\nExecReload=\nExecReload=/bin/sh -c "grep -qs matrix-rtc /etc/nginx/*/*ecdeploy*"\n' >/etc/systemd/system/nginx.service.d/fault.conf && systemctl daemon-reload`)
		broken := h.Snapshot(t)
		c.run(t, exitRolledBack, "destroy", "--yes", longer)
		compareSnapshots(t, "after the rollback", broken, h.Snapshot(t))
		h.Exec(t, "rm -r /etc/systemd/system/nginx.service.d && systemctl daemon-reload")
	})
	runPhase(t, "nobody edited anything", func(t *testing.T) {
		out := c.run(t, exitOK, "destroy", "--yes", longer)
		for _, want := range []string{"- container livekit-sfu", "- container element-call-jwt", "~ Synapse", "~ well-known", "- ufw allow 7881/tcp", "taken away"} {
			if !strings.Contains(out, want) {
				t.Errorf("the output does not say %q:\n%s", want, out)
			}
		}
		if out := c.run(t, exitOK, "destroy", "--yes", longer); !strings.Contains(out, "nothing to do") {
			t.Errorf("a second one has something to do:\n%s", out)
		}
	})
	runPhase(t, "it can be rolled back", func(t *testing.T) {
		c.run(t, exitOK, "rollback", "--yes", longer)
		compareSnapshots(t, "after the rollback", deployed, h.Snapshot(t))
		c.run(t, exitOK, "status", longer)
		c.run(t, exitOK, "destroy", "--yes", longer)
		c.run(t, exitOK, "prune", "--yes", longer)
		compareSnapshots(t, "destroy and prune", before, h.Snapshot(t))
	})
	runPhase(t, "a human edited files since", func(t *testing.T) {
		c.run(t, exitOK, "apply", "--yes", plan)
		const edits = `set -e
sed -i '1i # a human, above' /etc/matrix-synapse/homeserver.yaml
echo '# a human, below' >>/etc/matrix-synapse/homeserver.yaml
sed -i 's/^\(\s*\)server_name away.test.*/&\n\1# a human/' /etc/nginx/sites-available/away.test
echo >>/var/www/away.test/.well-known/matrix/client
`
		h.Exec(t, edits)
		c.run(t, exitOK, "apply", "--yes", longer)
		c.run(t, exitOK, "destroy", "--yes", longer)
		c.run(t, exitOK, "prune", "--yes", longer)
		after := h.Snapshot(t)
		for k := range before {
			if after[k] != before[k] && k != "bytes /etc/matrix-synapse/homeserver.yaml" && k != "bytes /etc/nginx/sites-available/away.test" && k != "bytes /var/www/away.test/.well-known/matrix/client" {
				t.Errorf("%s: was %q, is %q", k, before[k], after[k])
			}
		}
		// Without the human's lines the bytes are those of before.
		h.Exec(t, `set -e
sed -i '/# a human/d' /etc/matrix-synapse/homeserver.yaml /etc/nginx/sites-available/away.test
sed -i '$d' /var/www/away.test/.well-known/matrix/client`)
		compareSnapshots(t, "without what the human wrote", before, h.Snapshot(t))
	})
	runPhase(t, "a human changed what was put there", func(t *testing.T) {
		c.run(t, exitOK, "apply", "--yes", plan)
		h.Exec(t, `sed -i 's/^max_event_delay_duration: .*/max_event_delay_duration: 7d/' /etc/matrix-synapse/homeserver.yaml && systemctl restart matrix-synapse`)
		out := c.run(t, exitOK, "destroy", "--yes", plan)
		if !strings.Contains(out, "somebody else changed in /etc/matrix-synapse/homeserver.yaml") {
			t.Errorf("it does not say what stays:\n%s", out)
		}
		if got := h.Exec(t, "grep -c '^max_event_delay_duration: 7d' /etc/matrix-synapse/homeserver.yaml; grep -c matrix_rtc /etc/matrix-synapse/homeserver.yaml || :"); strings.Fields(got)[0] != "1" {
			t.Errorf("the human's value is gone: %s", got)
		}
	})
	runPhase(t, "the log", func(t *testing.T) {
		out := c.run(t, exitOK, "audit", plan)
		for _, want := range []string{"destroy site away.test", "rolled-back", "pruned", "whole: "} {
			if !strings.Contains(out, want) {
				t.Errorf("the audit log does not say %q:\n%s", want, out)
			}
		}
		h.Exec(t, "sed -i '$d' /var/lib/ecdeploy/audit.log")
		if out := c.run(t, exitUnhealthy, "audit", plan); !strings.Contains(out, "is not there any more") {
			t.Errorf("a truncated log does not show:\n%s", out)
		}
		if out := c.run(t, exitOK, "plan", plan); !strings.Contains(out, "the audit log of away was truncated") {
			t.Errorf("plan does not warn:\n%s", out)
		}
		c.run(t, exitOK, "audit", "--accept", plan)
		c.run(t, exitOK, "audit", plan)
	})
}
