package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
	"github.com/emdecloud/ecdeploy/internal/rtc"
)

// verifyHost is the one host that is broken, with a whole site on it.
const verifyHost = "vfy"

// verifyLane is that host, and who looks at it.
type verifyLane struct {
	t       *testing.T
	self    string // this binary
	dir     string
	known   string
	seconds string // that media flows
	thrifty bool   // after a fix the host is only compared with before
	gateway string // this machine, as hosts and the laptop see it
	token   string // the file with a user's access token
	plan    string
	before  lab.Snapshot
}

func newVerifyLane(t *testing.T) *verifyLane {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := &verifyLane{t: t, self: self, dir: t.TempDir(), known: lab.Env(t, "KNOWN_HOSTS"), seconds: os.Getenv("ECDEPLOY_FAULT_SECONDS"), thrifty: os.Getenv("ECDEPLOY_FAULT_THRIFTY") != ""}
	l.token = filepath.Join(l.dir, "token")
	l.makeHost()
	return l
}

// makeHost makes the host and deploys to it. The site's addresses have paths, which a
// proxy can pass on by mistake.
func (l *verifyLane) makeHost() {
	h := lab.Up(l.t, lab.Full, verifyHost)[0]
	if err := os.WriteFile(l.token, []byte(lab.User(l.t, verifyHost, "carol")), 0o600); err != nil {
		l.t.Fatal(err)
	}
	l.gateway = h.IP[:strings.LastIndex(h.IP, ".")] + ".1"
	l.plan = planFile(l.t, lab.PlanText(l.t, verifyHost),
		`"https://matrix-rtc-jwt.vfy.test"`, `"https://matrix-rtc-jwt.vfy.test/livekit/jwt"`,
		`"https://matrix-rtc-sfu.vfy.test"`, `"https://matrix-rtc-sfu.vfy.test/livekit/sfu"`,
		"ca_file = \""+filepath.Dir(lab.Env(l.t, "CA")), "access_token { file = \""+l.token+"\" }\n    ca_file = \""+filepath.Dir(lab.Env(l.t, "CA")))
	if out, code := l.ecdeploy(verifyFault{}, "apply", "--yes"); code != 0 {
		l.t.Fatalf("deploy: exit code %d\n%s", code, out)
	}
	if _, err := l.on("settled"); err != nil {
		l.t.Fatal(err)
	}
	l.before = h.Snapshot(l.t)
}

// ecdeploy runs on the laptop, as the fault has made that.
func (l *verifyLane) ecdeploy(f verifyFault, args ...string) (string, int) {
	names := maps.Clone(f.names)
	for n, a := range names {
		names[n] = strings.ReplaceAll(a, "%GATEWAY", l.gateway)
	}
	cmd := lab.LaptopWith(l.t, names, l.self, append(args, "--known-hosts", l.known, l.plan)...)
	cmd.Env = append(os.Environ(), "ECDEPLOY_VERIFY_FAULT=1", "XDG_STATE_HOME="+l.dir)
	if f.clock != "" {
		cmd.Env = append(cmd.Env, "ECDEPLOY_FAULT_CLOCK="+f.clock)
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		l.t.Fatal(err)
	}
	code := cmd.ProcessState.ExitCode()
	if code == exitError {
		out.WriteString(errs.String())
	}
	return out.String(), code
}

// verify is one look.
func (l *verifyLane) verify(f verifyFault) (rtc.Report, int, error) {
	args := []string{"verify", "--json", "--seconds", l.seconds}
	if f.helper {
		args = append(args, "--probe-helper")
	}
	out, code := l.ecdeploy(f, args...)
	d := json.NewDecoder(strings.NewReader(out))
	for {
		var line struct {
			Type   string     `json:"type"`
			Report rtc.Report `json:"report"`
		}
		if err := d.Decode(&line); errors.Is(err, io.EOF) {
			return rtc.Report{}, code, fmt.Errorf("verify makes no report: exit code %d\n%s", code, out)
		} else if err != nil {
			return rtc.Report{}, code, fmt.Errorf("verify: exit code %d, no JSON: %w\n%s", code, err, out)
		}
		if line.Type == "report" {
			return line.Report, code, nil
		}
	}
}

// checkHealthy is a look at a site that works.
func (l *verifyLane) checkHealthy(name string) verifyResult {
	r, code, err := l.verify(verifyFault{})
	if err != nil {
		return verifyResult{Name: name, Detail: err.Error()}
	}
	out := measureReport(name, r)
	if first, ok := r.Broken(); ok || code != exitOK {
		out.FoundID, out.Found = first.ID, first.Code
		out.Detail = fmt.Sprintf("a false alarm: exit code %d\n%s", code, strings.Join(listLinks(r), "\n"))
	}
	return out
}

// try breaks one thing, looks, fixes it, and sees that all is as before.
func (l *verifyLane) try(f verifyFault) verifyResult {
	fix, err := l.breakIt(f)
	out := verifyResult{Name: f.name}
	if err == nil {
		var r rtc.Report
		var code int
		if r, code, err = l.verify(f); err == nil {
			out = f.judge(r, code)
		}
	}
	if err != nil {
		out.Detail = err.Error()
	}
	if err := errors.Join(fix(), l.asBefore()); err != nil {
		out.Detail = strings.TrimSpace(out.Detail + "\nafter the fix: " + err.Error())
		l.makeHost()
	}
	return out
}

func (l *verifyLane) breakIt(f verifyFault) (fix func() error, err error) {
	var fixes []func() error
	fix = func() error {
		var errs []error
		for _, m := range fixes {
			errs = append(errs, m())
		}
		return errors.Join(errs...)
	}
	if f.breaks != "" {
		fixes = append(fixes, func() error { _, err := l.on(f.fixes); return err })
		if _, err := l.on(f.breaks); err != nil {
			return fix, fmt.Errorf("break it: %w", err)
		}
	}
	if f.here != nil {
		undo, err := f.here(l)
		if undo != nil {
			fixes = append(fixes, func() error { undo(); return nil })
		}
		if err != nil {
			return fix, fmt.Errorf("break it: %w", err)
		}
	}
	if f.outer != nil {
		fixes = append(fixes, func() error { _, err := labScript("outer", verifyHost, "off"); return err })
		if _, err := labScript("outer", append([]string{verifyHost, "on"}, f.outer...)...); err != nil {
			return fix, fmt.Errorf("break it: %w", err)
		}
	}
	return fix, nil
}

// asBefore compares the host with what it was, byte for byte, and lets its services
// answer.
func (l *verifyLane) asBefore() error {
	if _, err := l.on("settled"); err != nil {
		return err
	}
	after, err := lab.Look(verifyHost)
	if err != nil {
		return err
	}
	if diff := lab.Diff(l.before, after); diff != "" {
		return fmt.Errorf("the host differs:\n%s", diff)
	}
	if l.thrifty {
		return nil
	}
	if r := l.checkHealthy("after a fix"); r.Detail != "" {
		return errors.New(r.Detail)
	}
	return nil
}

// on runs sh text on the host, with verifyFaultsLib before it.
func (l *verifyLane) on(text string) (string, error) {
	return labScript("exec", verifyHost, "sh", "-euc", verifyFaultsLib+text)
}

// give writes a file to the host, in a folder that is no part of what is compared.
func (l *verifyLane) give(name string, text []byte) error {
	path := filepath.Join(l.dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	_, err := sh("sh", "-c", "docker exec -i ecdeploy-lab-"+verifyHost+" sh -c 'mkdir -p /run/given && cat >/run/given/"+name+"' <"+path)
	return err
}

// verifyFaultsLib is what texts on the host use.
const verifyFaultsLib = `kept=/run/kept
save() { # FILE...
	for f; do [ -e "$kept$f" ] || { mkdir -p $kept; cp -a --parents "$f" $kept; }; done
}
back() { # puts back what was saved
	[ ! -d $kept ] || (cd $kept && find . -type f -exec cp -a --parents {} / \;)
	rm -rf $kept
}
edit() { # FILE SED-ARGUMENT...
	f=$1; shift
	save "$f"
	cp -a "$f" "$f.was"
	sed -i "$@" "$f"
	if cmp -s "$f" "$f.was"; then rm "$f.was"; echo "sed has nothing to do in $f"; return 1; fi
	rm "$f.was"
}
within() { # SECONDS COMMAND...
	n=$(($1 * 10)); shift
	until "$@" >/dev/null 2>&1; do
		n=$((n - 1))
		[ $n -gt 0 ] || { echo "still not after a while: $*"; return 1; }
		sleep 0.1
	done
}
answers() { curl -fsS --max-time 2 -o /dev/null "$1"; }
nginx_again() { nginx -t -q && systemctl reset-failed nginx && systemctl restart nginx; }
synapse_again() { systemctl reset-failed matrix-synapse; systemctl restart matrix-synapse; within 60 answers http://127.0.0.1:8008/health; }
livekit_again() { docker restart -t 3 livekit-sfu >/dev/null; within 30 answers http://127.0.0.1:7880/; }
jwt_again() { docker restart -t 3 element-call-jwt >/dev/null; within 30 answers http://127.0.0.1:8080/healthz; }
restarts() { [ "$(docker inspect -f '{{.RestartCount}}' "$1")" -ge 2 ]; }
aside() { # CONTAINER: makes room for another one of that name
	docker stop -t 3 "$1" >/dev/null
	docker rename "$1" "$1-aside"
}
again() { # CONTAINER: the one that was set aside
	docker rm -f "$1" >/dev/null 2>&1 || :
	docker rename "$1-aside" "$1"
	docker start "$1" >/dev/null
}
settled() {
	within 30 answers http://127.0.0.1:7880/
	within 30 answers http://127.0.0.1:8080/healthz
	within 60 answers http://127.0.0.1:8008/health
	within 30 answers http://127.0.0.1/
	rm -rf /run/given
}
# jwt_as OPTION...: the JWT service made again, otherwise than it was, and without
# the variable $without.
jwt_as() {
	docker inspect -f '{{range .Config.Env}}{{println .}}{{end}}' element-call-jwt | grep = | grep -v "^${without:-no such name}=" >/run/jwt.env
	image=$(docker inspect -f '{{.Config.Image}}' element-call-jwt)
	aside element-call-jwt
	docker run -d --name element-call-jwt --network host --user 10033:10033 --restart always --read-only --cap-drop ALL \
		-v "/etc/ecdeploy/vfy.test/auth:/config:ro" -v /etc/ssl/certs/ca-certificates.crt:/ca.pem:ro --env-file /run/jwt.env "$@" "$image" >/dev/null
	rm /run/jwt.env
}
site=/etc/nginx/sites-available/vfy.test
routes=/etc/nginx/ecdeploy/vfy.test.matrix-rtc-sfu.vfy.test.conf
homeserver=/etc/matrix-synapse/homeserver.yaml
livekit=/etc/ecdeploy/vfy.test/sfu/livekit-config.yaml
known=/var/www/vfy.test/.well-known/matrix
live=/etc/letsencrypt/live/vfy.test
`
