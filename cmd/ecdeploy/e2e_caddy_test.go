package main

import (
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// A host whose web server is Caddy, as its admin set it up: names of our own, routes
// inside sites of theirs, and all of it gone again.
func TestE2ECaddy(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Caddy, "front")[0]
	c := newCLI(t)
	text := httpText(t, "front")
	plan := planFile(t, text)
	// Both services below the name that Caddy serves Synapse by.
	inside := planFile(t, text, "https://matrix-rtc-sfu.front.test", "https://matrix.front.test/livekit/sfu",
		"https://matrix-rtc-jwt.front.test", "https://matrix.front.test/livekit/jwt")
	before := h.Snapshot(t)

	for name, f := range map[string]struct{ edit, says string }{
		"Caddy cannot read its file":        {"sed -i 's/^\\tfile_server$/\\tfile_serve/' /etc/caddy/Caddyfile", "does not take its configuration as it is: /etc/caddy/Caddyfile:41: unrecognized directive: file_serve"},
		"Caddy cannot start with the files": {"printf 'x.test {\\n\\ttls /nowhere.pem /nowhere.key\\n}\\n' >>/etc/caddy/Caddyfile", "check Caddy: Error: loading"},
	} {
		runPhase(t, name, func(t *testing.T) {
			h.Exec(t, "cp -a /etc/caddy/Caddyfile /root/Caddyfile && "+f.edit)
			broken := h.Snapshot(t)
			if out := c.run(t, exitError, "apply", "--yes", plan); !strings.Contains(out, f.says) {
				t.Errorf("the output does not say %q:\n%s", f.says, out)
			}
			compareSnapshots(t, "nothing changed", broken, h.Snapshot(t))
			h.Exec(t, "mv /root/Caddyfile /etc/caddy/Caddyfile")
		})
	}
	runPhase(t, "Caddy does not reload", func(t *testing.T) {
		breaks, fixes := failingUnit("caddy.service", "ExecReload=\\nExecReload=", "/etc/caddy/ecdeploy/*")
		h.Exec(t, breaks)
		broken := h.Snapshot(t)
		c.run(t, exitRolledBack, "apply", "--yes", plan)
		compareSnapshots(t, "after the rollback", broken, h.Snapshot(t))
		h.Exec(t, fixes)
	})
	runPhase(t, "names of our own, and a call", func(t *testing.T) {
		call := planFile(t, lab.PlanText(t, "front"))
		out := c.laptop(t, exitOK, "apply", "--yes", call)
		for _, want := range []string{"~ Caddy", "media over UDP", "applied"} {
			if !strings.Contains(out, want) {
				t.Errorf("the output does not say %q:\n%s", want, out)
			}
		}
		if out := c.run(t, exitOK, "plan", call); !strings.Contains(out, "nothing to do") {
			t.Errorf("a second apply has something to do:\n%s", out)
		}
		// What ran Caddy's check left nothing that Caddy may not write.
		if got := h.Exec(t, "find /var/lib/caddy /var/log/caddy ! -user caddy"); got != "" {
			t.Errorf("not Caddy's own: %s", got)
		}
	})
	runPhase(t, "inside sites that are there", func(t *testing.T) {
		// Without the admin's headers somebody else has to set them.
		h.Exec(t, `sed -i '/^\theader .*well-known/,/^\t}/d' /etc/caddy/Caddyfile && systemctl reload caddy`)
		own := h.Snapshot(t)
		c.run(t, exitOK, "apply", "--yes", inside)
		if got := h.Exec(t, "ls /etc/caddy/ecdeploy"); got != "front.test.front.test.caddy\nfront.test.matrix.front.test.caddy\n" {
			t.Errorf("our files are %s", got)
		}
		c.run(t, exitOK, "status", inside)
		if out := c.run(t, exitOK, "plan", inside); !strings.Contains(out, "nothing to do") {
			t.Errorf("a second apply has something to do:\n%s", out)
		}
		c.run(t, exitOK, "rollback", "--yes", inside)
		compareSnapshots(t, "after the rollback", own, h.Snapshot(t))
		c.run(t, exitOK, "apply", "--yes", inside)
	})
	runPhase(t, "taken away", func(t *testing.T) {
		h.Exec(t, "sed -i '1i # a human, above' /etc/caddy/Caddyfile && echo '# a human, below' >>/etc/caddy/Caddyfile")
		c.run(t, exitOK, "destroy", "--yes", inside)
		c.run(t, exitOK, "prune", "--yes", inside)
		after := h.Snapshot(t)
		for k := range before {
			if after[k] != before[k] && k != "bytes /etc/caddy/Caddyfile" {
				t.Errorf("%s: was %q, is %q", k, before[k], after[k])
			}
		}
		for k := range after {
			if _, ok := before[k]; !ok {
				t.Errorf("%s is new: %q", k, after[k])
			}
		}
		if got := h.Exec(t, "grep -c 'a human' /etc/caddy/Caddyfile; grep -c ecdeploy /etc/caddy/Caddyfile || :"); got != "2\n0\n" {
			t.Errorf("the Caddyfile has %q", got)
		}
	})
}
