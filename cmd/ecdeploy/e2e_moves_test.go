package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// movePlans are plan files of a site whose SFU is on its homeserver's host, under
// another container's name and other public names (here), and on a host of its own (apart).
// Both have the same credentials, so that hosts can be compared.
func movePlans(t *testing.T, home, media *lab.Host) (here, apart string) {
	t.Helper()
	text := strings.ReplaceAll(httpText(t, home.Name), "verify {",
		"livekit_keys {\n    key    = \"APIabcdefghij\"\n    secret = \"a-secret-of-this-test-that-is-long-enough-0123456789\"\n  }\n  verify {")
	proxyBlock := regexp.MustCompile(`(?s)  proxy "nginx" \{\s*host\s*= host\.` + media.Name + `.*?\n  \}\n`)
	if !proxyBlock.MatchString(text) {
		t.Fatalf("the plan file has no proxy next to the SFU:\n%s", text)
	}
	here = proxyBlock.ReplaceAllString(text, "")
	for _, r := range [][2]string{
		{"https://matrix-rtc-sfu." + home.Domain, "https://matrix-rtc-jwt." + home.Domain + "/livekit/sfu"},
		{`"https://matrix-rtc-jwt.` + home.Domain + `"`, `"https://matrix-rtc-jwt.` + home.Domain + `/livekit/jwt"`},
		{"host." + media.Name + "\n", "host." + home.Name + "\n    container = \"livekit-before\"\n"},
		{`node_ip = "` + media.IP, `node_ip = "` + home.IP},
	} {
		if !strings.Contains(here, r[0]) {
			t.Fatalf("the plan file has no %q:\n%s", r[0], here)
		}
		here = strings.ReplaceAll(here, r[0], r[1])
	}
	return here, text
}

var ofOneRun = regexp.MustCompile(`[0-9a-f]{64}|[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}`)

// anyRun is a snapshot in which containers are not told apart by who made them when.
func anyRun(s lab.Snapshot) lab.Snapshot {
	out := lab.Snapshot{}
	for k, v := range s {
		if strings.HasPrefix(k, "container ") {
			v = ofOneRun.ReplaceAllString(v, "")
		}
		out[k] = v
	}
	return out
}

// What the plan file does not name any more where it was goes in the same run, on
// whatever host: nothing of it is left, and a rollback brings it back.
func TestE2EMoves(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	media := lab.Up(t, lab.SFUFor("mover"), "moved")[0]
	home := lab.Up(t, lab.Full, "mover")[0]
	c := newCLI(t)
	hereText, apartText := movePlans(t, home, media)
	here, apart := planFile(t, hereText), planFile(t, apartText)
	type pair struct{ home, media lab.Snapshot }
	snapshot := func() pair { return pair{home.Snapshot(t), media.Snapshot(t)} }
	same := func(t *testing.T, when string, want pair) {
		t.Helper()
		compareSnapshots(t, when+": the homeserver", want.home, home.Snapshot(t))
		compareSnapshots(t, when+": the SFU's host", want.media, media.Snapshot(t))
	}
	before := snapshot()
	c.run(t, exitOK, "apply", "--yes", apart)
	neverHere := snapshot()
	c.run(t, exitOK, "destroy", "--yes", apart)
	c.run(t, exitOK, "prune", "--yes", apart)
	same(t, "destroy", before)

	c.run(t, exitOK, "apply", "--yes", here)
	beforeMove := snapshot()
	runPhase(t, "a move that fails leaves all hosts as they were", func(t *testing.T) {
		breaks, fixes := failingUnit("nginx.service", "ExecReload=\\nExecReload=", "/etc/nginx/*/*ecdeploy*")
		media.Exec(t, breaks)
		broken := snapshot()
		c.run(t, exitRolledBack, "apply", "--yes", apart)
		same(t, "after the rollback", broken)
		media.Exec(t, fixes)
	})
	runPhase(t, "the SFU moves, the names and the container are others", func(t *testing.T) {
		out := c.run(t, exitOK, "apply", "--yes", apart)
		for _, want := range []string{"- container livekit-before", "+ container livekit-sfu", "applied"} {
			if !strings.Contains(out, want) {
				t.Errorf("the output does not say %q:\n%s", want, out)
			}
		}
		join(t, home)
		if out := c.run(t, exitOK, "apply", "--yes", apart); !strings.Contains(out, "nothing to do") {
			t.Errorf("the second time it has something to do:\n%s", out)
		}
	})
	runPhase(t, "a rollback brings the old place back", func(t *testing.T) {
		c.run(t, exitOK, "rollback", "--yes", apart)
		same(t, "rollback", beforeMove)
		c.run(t, exitOK, "status", here)
		c.run(t, exitOK, "apply", "--yes", apart)
		c.run(t, exitOK, "prune", "--yes", apart)
		compareSnapshots(t, "as if the SFU had never been here", anyRun(neverHere.home), anyRun(home.Snapshot(t)))
		compareSnapshots(t, "as if the SFU had always been here", anyRun(neverHere.media), anyRun(media.Snapshot(t)))
	})
	runPhase(t, "the old host is gone", func(t *testing.T) {
		gone := planFile(t, hereText, `address  = "`+media.IP+`"`, "address = \""+media.IP+"\"\n  port = 9")
		out := c.run(t, exitOK, "apply", "--yes", gone)
		for _, want := range []string{"moved cannot be reached", "host moved is left behind", "ecdeploy forget moved"} {
			if !strings.Contains(out, want) {
				t.Errorf("the output does not say %q:\n%s", want, out)
			}
		}
		if out := c.run(t, exitOK, "plan", gone); !strings.Contains(out, "host moved is left behind") || !strings.Contains(out, "nothing to do") {
			t.Errorf("the next plan:\n%s", out)
		}
	})
	runPhase(t, "and is tidied by the run that reaches it", func(t *testing.T) {
		out := c.run(t, exitOK, "apply", "--yes", here)
		if !strings.Contains(out, "- container livekit-sfu") {
			t.Errorf("nothing is taken away:\n%s", out)
		}
		c.run(t, exitOK, "prune", "--yes", here)
		compareSnapshots(t, "the host that was left behind", before.media, media.Snapshot(t))
		if out := c.run(t, exitOK, "plan", here); strings.Contains(out, "left behind") || !strings.Contains(out, "nothing to do") {
			t.Errorf("the next plan:\n%s", out)
		}
	})
	runPhase(t, "or is forgotten", func(t *testing.T) {
		c.run(t, exitOK, "apply", "--yes", apart)
		gone := planFile(t, hereText, `address  = "`+media.IP+`"`, "address = \""+media.IP+"\"\n  port = 9")
		c.run(t, exitOK, "apply", "--yes", gone)
		c.run(t, exitOK, "forget", "--yes", "moved", gone)
		if out := c.run(t, exitOK, "plan", gone); strings.Contains(out, "left behind") {
			t.Errorf("the next plan:\n%s", out)
		}
	})
	c.run(t, exitOK, "destroy", "--yes", here)
	c.run(t, exitOK, "prune", "--yes", here)
	same(t, "the end", before)
}
