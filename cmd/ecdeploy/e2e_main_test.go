package main

import (
	"context"
	"crypto/x509"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/hosttest/callprobe"
	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
	"github.com/emdecloud/ecdeploy/internal/rtc"
)

// The main job on one real server, from nothing to a call and back.
func TestE2EMainJob(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Full, "job")[0]
	c := newCLI(t)
	text := lab.PlanText(t, "job")
	plan := planFile(t, text)

	before := h.Snapshot(t)
	synapse := h.Exec(t, "cat /etc/matrix-synapse/homeserver.yaml")
	shown := c.run(t, exitChanges, "plan", "-detailed-exitcode", plan)
	compareSnapshots(t, "plan", before, h.Snapshot(t))
	if out := c.run(t, exitError, "apply", "--json", plan); !strings.Contains(out, "--yes") {
		t.Errorf("without a terminal and without --yes:\n%s", out)
	}
	compareSnapshots(t, "an apply that nobody confirmed", before, h.Snapshot(t))
	applyWatched(t, c, h, plan)

	runPhase(t, "only the needed bytes", func(t *testing.T) {
		checkAnnouncedOnly(t, shown, synapse, h.Exec(t, "cat /etc/matrix-synapse/homeserver.yaml"))
	})
	runPhase(t, "a client can join", func(t *testing.T) { join(t, h) })
	runPhase(t, "idempotent", func(t *testing.T) {
		const times = "find /etc /var/www /var/lib/ecdeploy -xdev -printf '%p %T@\n' | sort; docker inspect -f '{{.Id}} {{.State.StartedAt}}' $(docker ps -aq)"
		applied, moments := h.Snapshot(t), h.Exec(t, times)
		for _, args := range [][]string{{"apply", "--yes", plan}, {"plan", "--detailed-exitcode", plan}} {
			if out := c.run(t, exitOK, args...); !strings.Contains(out, "nothing to do") {
				t.Errorf("%v: %s", args, out)
			}
		}
		compareSnapshots(t, "second apply", applied, h.Snapshot(t))
		if d := lab.LineDiff(t, moments, h.Exec(t, times)); len(d) > 0 {
			t.Errorf("times moved:\n%s", strings.Join(d, "\n"))
		}
	})
	runPhase(t, "status", func(t *testing.T) {
		out := c.run(t, exitOK, "status", plan)
		for _, want := range []string{"no drift", "livekit-sfu  " + lab.Env(t, "LIVEKIT_IMAGE"), "element-call-jwt  " + lab.Env(t, "JWT_IMAGE"), "  Synapse 1.", "  nginx 1.", "  Up ", "  active\n"} {
			if !strings.Contains(out, want) {
				t.Errorf("status does not say %q:\n%s", want, out)
			}
		}
		// What is there is shown, not what the plan file wants.
		drifted := planFile(t, text, lab.Env(t, "JWT_IMAGE"), "ecdeploy-lab/other:1", lab.Env(t, "JWT_ARCHIVE"), lab.Env(t, "LIVEKIT_ARCHIVE"))
		if out := c.run(t, exitChanges, "status", drifted); !strings.Contains(out, "drift: the hosts differ") || !strings.Contains(out, "element-call-jwt  "+lab.Env(t, "JWT_IMAGE")) {
			t.Errorf("status of a host that differs:\n%s", out)
		}
	})
	runPhase(t, "round trips", func(t *testing.T) { roundTrips(t, c, h, text) })
	runPhase(t, "no leak", func(t *testing.T) { checkLeaks(t, c, h, plan) })
}

// A site that is deployed moves to another image, port and name.
func TestE2EChanges(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Full, "moves")[0]
	c := newCLI(t)
	text := lab.PlanText(t, "moves")
	plan := planFile(t, text)
	applyWatched(t, c, h, plan)
	runPhase(t, "another image", func(t *testing.T) { anotherImage(t, c, h, text) })
	runPhase(t, "after a change", func(t *testing.T) { checkAfterChange(t, c, h, text) })
	runPhase(t, "one name", func(t *testing.T) { checkOneName(t, c, h, text) })
	runPhase(t, "no leak", func(t *testing.T) { checkLeaks(t, c, h, plan) })
}

// applyWatched applies while somebody on the host writes down what anybody there
// could see of processes, for noLeak.
func applyWatched(t *testing.T, c *cli, h *lab.Host, plan string) {
	t.Helper()
	h.Exec(t, `nohup sh -c 'while [ ! -e /run/seen.end ]; do cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr "\0" "\n"; sleep 0.02; done | sort -u >/run/seen.new; mv /run/seen.new /run/seen' >/dev/null 2>&1 &`)
	c.run(t, exitOK, "apply", "--yes", plan)
	h.Exec(t, ": >/run/seen.end; while [ ! -e /run/seen ]; do sleep 0.1; done")
}

// checkAnnouncedOnly compares what changed in homeserver.yaml, line by line, with
// what the plan had shown.
func checkAnnouncedOnly(t *testing.T, shown, before, after string) {
	t.Helper()
	var announced []string
	inFile := false
	for line := range strings.Lines(shown) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "| ")
		switch {
		case strings.HasPrefix(line, "--- "):
			inFile = strings.Contains(line, "homeserver.yaml")
		case inFile && strings.HasPrefix(line, "+++"), inFile && strings.HasPrefix(line, "@@"):
		case inFile && (strings.HasPrefix(line, "+") || strings.HasPrefix(line, "-")):
			announced = append(announced, line)
		}
	}
	if got, want := strings.Join(lab.LineDiff(t, before, after), "\n"), strings.Join(announced, "\n"); got != want || want == "" {
		t.Errorf("homeserver.yaml changed by\n%s\nand the plan had announced\n%s", got, want)
	}
}

// join goes the way of a Matrix client: OpenID token of the real Synapse, token
// of the JWT service, room on the deployed LiveKit through nginx and TLS, media.
func join(t *testing.T, h *lab.Host) {
	t.Helper()
	joinAt(t, h, "https://matrix-rtc-jwt."+h.Domain, "wss://matrix-rtc-sfu."+h.Domain, "alice", "bob")
}

func joinAt(t *testing.T, h *lab.Host, jwtURL, sfuURL string, users ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(lab.CA(t))
	client := callprobe.Client(roots, lab.Hosts(t))
	defer client.CloseIdleConnections()
	var tokens []callprobe.Token
	for _, user := range users {
		m := callprobe.Matrix{Homeserver: "https://matrix." + h.Domain, ServerName: h.Domain, User: user, AccessToken: lab.User(t, h.Name, user), Roots: roots, Hosts: lab.Hosts(t)}
		tok, err := m.Token(ctx, jwtURL, "!room:"+h.Domain)
		if err != nil {
			t.Fatal(err)
		}
		if tok.URL != sfuURL {
			t.Errorf("the JWT service names %s", tok.URL)
		}
		tokens = append(tokens, tok)
	}
	for _, network := range []string{"udp4", "tcp4"} {
		got, err := rtc.Call{URL: tokens[0].URL, Client: client, Tokens: []string{tokens[0].JWT, tokens[1].JWT}, Publishers: 1, Network: network, Duration: time.Second}.Run(ctx)
		if err != nil || len(got.Flows) != 2 {
			t.Fatalf("%s: %v: %+v", network, err, got)
		}
		t.Logf("%s: %+v", network, got.Flows)
	}
}

// checkAfterChange moves one thing at a time and wants only that to change which
// depends on it.
func checkAfterChange(t *testing.T, c *cli, h *lab.Host, text string) {
	started := func(name string) string {
		return h.Exec(t, "docker inspect -f '{{.State.StartedAt}}' "+name)
	}
	sfu, jwt := started("livekit-sfu"), started("element-call-jwt")
	nginx := h.Exec(t, "stat -c %y /etc/nginx/*/*ecdeploy*")
	// What neither a port nor a name of LiveKit concerns.
	const matrix = "stat -c '%n %y' /etc/matrix-synapse/*.yaml /etc/matrix-synapse/conf.d/* /var/www/*/.well-known/matrix/client; systemctl show -p ActiveEnterTimestamp matrix-synapse"
	synapse := h.Exec(t, matrix)
	port := planFile(t, text, "node_ip =", "ports {\n      tcp = 7899\n    }\n    node_ip =")
	c.run(t, exitOK, "apply", "--yes", port)
	if started("livekit-sfu") == sfu {
		t.Error("LiveKit was not restarted for its new port")
	}
	if got := h.Exec(t, "ufw status"); !strings.Contains(got, "7899/tcp") {
		t.Errorf("ufw does not open the new port:\n%s", got)
	}
	if started("element-call-jwt") != jwt || h.Exec(t, "stat -c %y /etc/nginx/*/*ecdeploy*") != nginx {
		t.Error("a port of LiveKit touched the JWT service or nginx")
	}
	sfu = started("livekit-sfu")
	h.Exec(t, "echo "+h.IP+" rtc-sfu."+h.Domain+" >>/etc/hosts")
	c.run(t, exitOK, "apply", "--yes", planFile(t, text, "node_ip =", "ports {\n      tcp = 7899\n    }\n    node_ip =", "matrix-rtc-sfu."+h.Domain, "rtc-sfu."+h.Domain))
	if started("element-call-jwt") == jwt || h.Exec(t, "stat -c %y /etc/nginx/*/*ecdeploy*") == nginx {
		t.Error("the JWT service or nginx does not follow LiveKit's name")
	}
	if started("livekit-sfu") != sfu {
		t.Error("LiveKit's own name is not one of its settings, and it was restarted")
	}
	if d := lab.LineDiff(t, synapse, h.Exec(t, matrix)); len(d) > 0 {
		t.Errorf("a port and a name of LiveKit touched\n%s", strings.Join(d, "\n"))
	}
	c.run(t, exitOK, "apply", "--yes", port)
	jwt = started("element-call-jwt")
	c.run(t, exitOK, "apply", "--yes", planFile(t, text, "node_ip =", "ports {\n      tcp = 7899\n    }\n    node_ip =", "matrix-rtc-jwt."+h.Domain, "rtc-jwt."+h.Domain))
	if started("element-call-jwt") != jwt {
		t.Error("the JWT service's own name is not one of its settings, and it was restarted")
	}
	if started("livekit-sfu") != sfu {
		t.Error("LiveKit was restarted for a name of the JWT service")
	}
	if got := h.Exec(t, "cat /var/www/"+h.Domain+"/.well-known/matrix/client"); !strings.Contains(got, "https://rtc-jwt."+h.Domain) {
		t.Errorf("the announcement does not follow the name:\n%s", got)
	}
}

// anotherImage changes nothing but the JWT service's image, which the host has
// already.
func anotherImage(t *testing.T, c *cli, h *lab.Host, text string) {
	image := lab.Env(t, "JWT_IMAGE")
	h.Exec(t, "printf 'FROM "+image+"\nLABEL other=yes\n' | DOCKER_BUILDKIT=0 docker build -q -t "+image+"-other - >/dev/null 2>&1")
	plan := planFile(t, text, `"`+image+`"`, `"`+image+`-other"`, `archive = "`+lab.Env(t, "JWT_ARCHIVE")+`"`, "")
	const rest = "docker inspect -f '{{.State.StartedAt}}' livekit-sfu; stat -c '%n %y' /etc/nginx/*/*ecdeploy* /etc/matrix-synapse/*.yaml /var/www/*/.well-known/matrix/client; ufw status; systemctl show -p ActiveEnterTimestamp matrix-synapse"
	before := h.Exec(t, rest)
	c.run(t, exitOK, "apply", "--yes", plan)
	if d := lab.LineDiff(t, before, h.Exec(t, rest)); len(d) > 0 {
		t.Errorf("another image of the JWT service touched\n%s", strings.Join(d, "\n"))
	}
	if got := h.Exec(t, "docker inspect -f '{{.Config.Image}} {{.State.Running}}' element-call-jwt"); got != image+"-other true\n" {
		t.Errorf("the JWT service's container is now %q", got)
	}
	c.run(t, exitOK, "apply", "--yes", planFile(t, text))
}

// checkOneName moves both services below the homeserver's own name, where nginx has
// a server block already.
func checkOneName(t *testing.T, c *cli, h *lab.Host, text string) {
	site := "cat /etc/nginx/sites-available/" + h.Domain
	before := h.Exec(t, site)
	text = strings.NewReplacer("https://matrix-rtc-sfu."+h.Domain, "https://matrix."+h.Domain+"/livekit/sfu", "https://matrix-rtc-jwt."+h.Domain, "https://matrix."+h.Domain+"/livekit/jwt").Replace(text)
	plan := planFile(t, text)
	c.run(t, exitOK, "apply", "--yes", plan)
	if d := lab.LineDiff(t, before, h.Exec(t, site)); len(d) != 1 || !strings.HasPrefix(d[0], "+    include /etc/nginx/ecdeploy/") && !strings.HasPrefix(d[0], "+\tinclude /etc/nginx/ecdeploy/") {
		t.Errorf("not one include line:\n%s", strings.Join(d, "\n"))
	}
	if got := h.Exec(t, "grep -rl matrix-rtc- /etc/nginx; :"); got != "" {
		t.Errorf("the server blocks of the old names are left:\n%s", got)
	}
	joinAt(t, h, "https://matrix."+h.Domain+"/livekit/jwt", "wss://matrix."+h.Domain+"/livekit/sfu", "carol", "dave")

	// What the nginx above serves is just what somebody else's proxy would have to.
	external := regexp.MustCompile(`(?s)proxy "nginx" \{.*?\n  \}`).ReplaceAllString(text, `proxy "external" {}`)
	external = regexp.MustCompile(`(?s)well_known "file" \{.*?\n  \}`).ReplaceAllString(external, `well_known "external" {}`)
	external = strings.Replace(external, `synapse "debian" { host = host.`+h.Name+` }`, `synapse "external" { url = "https://matrix.`+h.Domain+`" }`, 1)
	if strings.Contains(external, "nginx") || strings.Contains(external, "debian") || strings.Contains(external, `"file"`) {
		t.Fatalf("the plan file is not all external:\n%s", external)
	}
	out := c.run(t, exitOK, "plan", planFile(t, external))
	for _, want := range []string{"nothing to do", "location ^~ /livekit/sfu/ {", "org.matrix.msc4143.rtc_foci", "msc4143_enabled"} {
		if !strings.Contains(out, want) {
			t.Errorf("the plan for external parts does not say %q:\n%s", want, out)
		}
	}
	if out := c.run(t, exitOK, "status", planFile(t, external)); strings.Count(out, "  ok\n") < 10 {
		t.Errorf("status of external parts:\n%s", out)
	}
	h.Exec(t, "sed -i '/include .*ecdeploy/d' /etc/nginx/sites-available/"+h.Domain+" && systemctl reload nginx")
	if out := c.run(t, exitUnhealthy, "status", planFile(t, external)); !strings.Contains(out, "FAILED") {
		t.Errorf("status of a proxy that serves nothing:\n%s", out)
	}
	c.run(t, exitOK, "apply", "--yes", plan) // the admin's edit of the file stays, the line comes back
}

// checkLeaks searches everything that a curious eye could reach for the site's
// credentials and for the canaries in files that are not ours.
func checkLeaks(t *testing.T, c *cli, h *lab.Host, plan string) {
	printed := c.all.String()
	out := c.run(t, exitOK, "secrets", "show", plan)
	needles := regexp.MustCompile(`(?m)^LIVEKIT_(?:KEY|SECRET)=(\w{43,})$`).FindAllStringSubmatch(out, -1)
	if len(needles) != 2 {
		t.Fatalf("secrets show prints %d credentials of at least 43 characters, want 2", len(needles))
	}
	type needle struct{ what, text, fine string } // fine: where it may be found
	// LIVEKIT_KEY is the issuer of every token and no secret of itself.
	all := []needle{{"LIVEKIT_KEY", needles[0][1], "logs"}, {"LIVEKIT_SECRET", needles[1][1], ""}}
	for _, of := range []string{"registration-secret", "macaroon-secret", "form-secret", "nginx"} {
		canary := "canary-" + of + "-" + h.Name
		if !strings.Contains(h.Exec(t, "cat /etc/matrix-synapse/homeserver.yaml /etc/nginx/sites-available/*"), canary) {
			t.Fatalf("%s is not planted", canary)
		}
		all = append(all, needle{canary, canary, ""})
	}
	// What any local user can read, and what the engine tells of containers.
	// Where the canaries are planted is world-readable by itself.
	readable := h.Exec(t, `runuser -u nobody -- sh -c 'find /etc /var /run /tmp /usr/local /opt -xdev -type f -readable -size -2M -not -path "/etc/matrix-synapse/homeserver.yaml" -not -path "/etc/nginx/sites-available/*.test" -exec cat {} + 2>/dev/null | tr -d "\0"; :'`)
	if !strings.Contains(readable, "nobody:x:") {
		t.Fatal("the search for readable files found nothing")
	}
	inspect := h.Exec(t, "docker inspect $(docker ps -aq)")
	processes := h.Exec(t, "cat /run/seen")
	if !strings.Contains(processes, "timeout\n") || !strings.Contains(processes, "/livekit-server\n") {
		t.Error("the processes of the deployment were not seen")
	}
	logs := h.Exec(t, "docker logs livekit-sfu 2>&1; docker logs element-call-jwt 2>&1; journalctl -q --no-pager; cat /var/log/nginx/*.log")
	for _, n := range all {
		for name, text := range map[string]string{"output": printed, "world-readable files": readable, "docker inspect": inspect, "processes": processes, "logs": logs} {
			if name != n.fine && strings.Contains(text, n.text) {
				t.Errorf("%s is in %s", n.what, name)
			}
		}
	}
	if strings.Contains(logs, "access_token=ey") {
		t.Error("a LiveKit token is in a log")
	}
	if got := h.Exec(t, "stat -c %a /var/lib/ecdeploy; find /var/lib/ecdeploy -type f -perm /077 | grep -vE '\\.old$|/user6?\\.new$' | head"); strings.TrimSpace(got) != "700" {
		t.Errorf("the journal is open to others:\n%s", got)
	}
}
