package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// lightSite is a site of a light host, whose Synapse is elsewhere. n tells it
// from others on the host.
func lightSite(t *testing.T, h *lab.Host, n int) string {
	return fmt.Sprintf(`site "s%[1]d.%[2]s" {
  revert_after = "10s"
  sfu {
    host      = host.h
    url       = "https://sfu%[1]d.%[2]s"
    image     = %[3]q
    archive   = %[4]q
    container = "livekit-sfu%[1]d"
    node_ip   = "203.0.113.7"
    participants = 10
    ports {
      signalling = 79%[1]d0
      tcp        = 78%[1]d1
      udp        = "50%[1]d00-50%[1]d50"
    }
  }
  auth {
    host      = host.h
    url       = "https://jwt%[1]d.%[2]s"
    image     = %[5]q
    archive   = %[6]q
    container = "element-call-jwt%[1]d"
    port      = 80%[1]d0
  }
  synapse "external" { url = "https://matrix.%[2]s" }
  proxy "nginx" {
    host        = host.h
    certificate = "/etc/letsencrypt/live/%[2]s/fullchain.pem"
    key         = "/etc/letsencrypt/live/%[2]s/privkey.pem"
  }
  well_known "external" {}
  livekit_keys {
    key    = env("CANARY_KEY")
    secret = var.secret
  }
  verify { level = "none" }
}
`, n, h.Domain, lab.Env(t, "LIVEKIT_IMAGE"), lab.Env(t, "LIVEKIT_ARCHIVE"), lab.Env(t, "JWT_IMAGE"), lab.Env(t, "JWT_ARCHIVE"))
}

// A saved plan is carried out as it was made, or no host is touched.
func TestE2ESavedPlan(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Light, "sav")[0]
	const key, secret = "CanaryKey", "CanarySecret0123456789CanarySecret0123456789"
	c := newCLI(t, "CANARY_KEY="+key)
	text := fmt.Sprintf("variable \"secret\" {}\nhost \"h\" {\n  address = %q\n  user = \"root\"\n  identity = %q\n}\n", h.IP, lab.Env(t, "KEY")) +
		lightSite(t, h, 1)
	// Paths of the laptop that are relative, to the plan file and to where it is made.
	archive := lab.Env(t, "LIVEKIT_ARCHIVE")
	plan := planFile(t, text, archive, "livekit.tar")
	if err := os.Symlink(archive, filepath.Join(filepath.Dir(plan), "livekit.tar")); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(here, plan)
	if err != nil {
		t.Fatal(err)
	}
	saved := filepath.Join(t.TempDir(), "saved.plan")
	refused := func(t *testing.T, args ...string) string {
		t.Helper()
		before := h.Snapshot(t)
		out := c.run(t, exitError, append([]string{"apply", "--yes"}, args...)...)
		compareSnapshots(t, "a refused plan", before, h.Snapshot(t))
		return out
	}
	wants := func(t *testing.T, out string, texts ...string) {
		t.Helper()
		for _, want := range texts {
			if !strings.Contains(out, want) {
				t.Errorf("the output has no %q:\n%s", want, out)
			}
		}
	}

	before := h.Snapshot(t)
	out := c.run(t, exitChanges, "plan", "-detailed-exitcode", "-out", saved, "-var", "secret="+secret, relative)
	compareSnapshots(t, "plan -out", before, h.Snapshot(t))
	wants(t, out, "+ container livekit-sfu1", "Saved to "+saved)
	checkCanaries(t, saved, key, secret)

	runPhase(t, "other values of variables", func(t *testing.T) {
		wants(t, refused(t, saved), "made with values given for secret", "hint: ecdeploy apply -var secret=VALUE "+saved)
		out := refused(t, "-var", "secret=Other"+secret, saved)
		wants(t, out, "other credentials", "hint: make the plan again: ecdeploy plan -out "+saved+" -var secret=VALUE "+plan)
	})
	runPhase(t, "a rule came", func(t *testing.T) {
		h.Exec(t, "ufw allow 7811/tcp comment admin")
		wants(t, refused(t, "-var", "secret="+secret, saved), "s1.sav.test: h: firewall: no longer needed: + ufw allow 7811/tcp")
		h.Exec(t, "ufw --force delete allow 7811/tcp")
	})
	runPhase(t, "nobody confirms", func(t *testing.T) {
		out := c.run(t, exitError, "apply", "-var", "secret="+secret, saved)
		compareSnapshots(t, "an apply that nobody confirmed", before, h.Snapshot(t))
		wants(t, out, "+ container livekit-sfu1", "--yes applies without asking")
	})
	runPhase(t, "what is blocked is not saved", func(t *testing.T) {
		h.Exec(t, "systemctl stop nginx")
		none := filepath.Join(t.TempDir(), "none.plan")
		wants(t, c.run(t, exitError, "plan", "-out", none, "-var", "secret="+secret, plan), "not saved to "+none)
		if _, err := os.Stat(none); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the file is there: %v", err)
		}
		wants(t, refused(t, "-var", "secret="+secret, saved), "s1.sav.test: h: nginx: it cannot be applied any more: nginx does not run")
		h.Exec(t, "systemctl start nginx")
	})
	c.run(t, exitOK, "apply", "--yes", "-var", "secret="+secret, saved)
	wants(t, h.Exec(t, "docker ps --format '{{.Names}}'"), "livekit-sfu1\n", "element-call-jwt1\n")
	wants(t, refused(t, "-var", "secret="+secret, saved), "was it applied before?")

	runPhase(t, "nothing to do", func(t *testing.T) {
		out := c.run(t, exitOK, "plan", "--json", "-out", saved, "-var", "secret="+secret, plan)
		if strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, `{"plan":{"summary":"Plan: nothing to do."`) {
			t.Errorf("plan --json -out prints\n%s", out)
		}
		wants(t, c.run(t, exitOK, "apply", "-var", "secret="+secret, saved), "Plan: nothing to do.")
	})
	runPhase(t, "what moved on the host", func(t *testing.T) {
		c.run(t, exitOK, "plan", "-out", saved, "-var", "secret="+secret, planFile(t, text, `signalling = 7910`, `signalling = 7919`))
		const config = "/etc/ecdeploy/s1.sav.test/sfu/livekit-config.yaml"
		own := strings.TrimSpace(h.Exec(t, "grep -l 7910 /etc/nginx/*/*ecdeploy* /etc/nginx/ecdeploy/* 2>/dev/null | head -n 1"))
		h.Exec(t,
			"cp -a "+config+" /root/config; cp -a "+own+" /root/nginx; echo '# edited' >>"+config+"; echo '# edited' >>"+own+"; docker update --restart=no livekit-sfu1")
		out := refused(t, "-var", "secret="+secret, saved)
		wants(t, out, "s1.sav.test: h: livekit: "+config+" was changed since the plan was made", "s1.sav.test: h: nginx: "+own+" was changed since the plan was made",
			`s1.sav.test: h: livekit: container livekit-sfu1: its restart policy is "no"`, "hint: make the plan again: ")
		wants(t, refused(t, "--json", "-var", "secret="+secret, saved), `"type":"drift"`, `"what":"`+own+` was changed since`)
		h.Exec(t, "cp -a /root/config "+config+"; cp -a /root/nginx "+own+"; docker update --restart=always livekit-sfu1")
		c.cutOff(t, "nginx", "apply", "--yes", "--no-revert", "-var", "secret="+secret, saved)
		wants(t, c.run(t, exitError, "apply", "--yes", "-var", "secret="+secret, saved), "an earlier run was not finished")
		wants(t, c.run(t, exitOK, "apply", "--yes", "--recover", "-var", "secret="+secret, saved), "s1.sav.test  applied")
		wants(t, h.Exec(t, "cat "+config+" "+own), "port: 7919", "127.0.0.1:7919")
	})
	runPhase(t, "sites that share the host", func(t *testing.T) {
		both := planFile(t, text+lightSite(t, h, 2)+lightSite(t, h, 3), "signalling = 7910", "signalling = 7919")
		out := c.run(t, exitOK, "plan", "-out", saved, "-var", "secret="+secret, both)
		wants(t, out, "note: s3.sav.test shares a host with s2.sav.test")
		if strings.Contains(out, "note: s2.sav.test") {
			t.Errorf("a site that changes nothing is named:\n%s", out)
		}
		out = c.run(t, exitRolledBack, "apply", "--yes", "-var", "secret="+secret, saved)
		wants(t, out, "s1.sav.test  nothing to do", "s2.sav.test  applied", "s3.sav.test  not begun; to be planned again", "the site before it changed its plan",
			"hint: make the plan again: ecdeploy plan -out "+saved+" -var secret=VALUE --limit s3.sav.test "+both, "what was done to the other sites stays")
		if got := h.Exec(t, "docker ps -a --format '{{.Names}}'"); strings.Contains(got, "livekit-sfu3") || !strings.Contains(got, "livekit-sfu2") {
			t.Errorf("containers:\n%s", got)
		}
		c.run(t, exitOK, "plan", "-out", saved, "-var", "secret="+secret, "--limit", "s3.sav.test", both)
		out = c.run(t, exitOK, "apply", "--yes", "-var", "secret="+secret, saved)
		wants(t, out, "s3.sav.test  applied")
		if strings.Contains(out, "site s2.sav.test") {
			t.Errorf("the limit of the saved plan does not count:\n%s", out)
		}
	})
	if strings.Contains(c.all.String(), secret) {
		t.Error("the secret was printed")
	}
}

// cutOff runs ecdeploy and kills it when the change of that name begins.
func (c *cli) cutOff(t *testing.T, change string, args ...string) {
	t.Helper()
	cmd := c.command(c.bin, args...)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		c.all.WriteString(lines.Text() + "\n")
		if strings.HasSuffix(lines.Text(), "] "+change) {
			_ = cmd.Process.Kill() // it may have ended, which the next lines tell
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("ecdeploy was not killed: %v", err)
	}
}

// checkCanaries looks for secrets in a saved plan, and at who can read it.
func checkCanaries(t *testing.T, saved string, canaries ...string) {
	t.Helper()
	b, err := os.ReadFile(saved)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "secret:livekit/secret") {
		t.Error("the saved plan refers to no secret")
	}
	for _, s := range canaries {
		if strings.Contains(string(b), s) {
			t.Errorf("the saved plan holds %s", s)
		}
	}
	if st, err := os.Stat(saved); err != nil || st.Mode() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}
