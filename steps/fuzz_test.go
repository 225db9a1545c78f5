package steps

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
)

// hostileObserver is a host that answers whatever it likes, in the shapes that
// the host package lets through: one file for each path, one result for each
// command. Its answers are the parts of one text, in turn.
type hostileObserver struct {
	mu    sync.Mutex // a probe asks several things at once
	parts [][]byte
	n     int
}

func newHostile(text []byte) *hostileObserver {
	return &hostileObserver{parts: bytes.Split(text, []byte("\n====\n"))}
}

func (*hostileObserver) Name() string { return "h" }

func (o *hostileObserver) next() []byte {
	o.n++
	return o.parts[o.n%len(o.parts)]
}

func (o *hostileObserver) Read(_ context.Context, paths ...string) ([]host.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []host.File
	for i, p := range paths {
		data := o.next()
		f := host.File{Path: p, Real: p, Exists: true, Mode: 0o644, Data: data}
		switch {
		case strings.ContainsAny(p, "*?[]"):
			word, _, _ := bytes.Cut(data, []byte("\n"))
			f.Path = strings.NewReplacer("*", string(word), "?", "x", "[", "", "]", "").Replace(p)
			f.Real = f.Path
			out = append(out, f)
			f.Path, f.Real = f.Path+"/../"+string(word), "/"+string(word)
		case i%7 == 3:
			f.Mode, f.Data, f.Names = fs.ModeDir|0o755, nil, strings.Split(string(data), "\n")
		case i%11 == 5:
			f.Real, f.Err = string(data), string(data)
		case i%13 == 7:
			f = host.File{Path: p, Real: string(data), Loose: string(data)}
		}
		out = append(out, f)
	}
	return out, nil
}

func (o *hostileObserver) Query(_ context.Context, cmds ...host.Cmd) ([]host.Result, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []host.Result
	for range cmds {
		r := host.Result{Stdout: o.next(), Stderr: o.next()}
		if o.n%17 == 0 {
			r.Code = 1
		}
		out = append(out, r)
	}
	return out, nil
}

// hostileSeeds are what hosts say, good and bad.
func hostileSeeds() []string {
	return []string{
		"", "\n", "\x00", "x", preflightGood, nginxConf, matrixSite, hsListen, hsDone, hsListen + "\n====\n" + hsDone,
		"Status: active\nDefault: deny (incoming), allow (outgoing)\n22/tcp ALLOW IN Anywhere # ssh\n50100:50200/udp ALLOW IN 10.0.0.0/8\n80,443/tcp (Nginx Full) LIMIT IN Anywhere (log, v6)\nAnywhere on eth0 DENY IN 1.2.3.4/udp\n",
		"Status: active\n99999999999999999999/tcp ALLOW IN Anywhere\n-1:5 ALLOW Anywhere\n5:-1 ALLOW Anywhere\n, ALLOW ,\n",
		"LoadState=loaded\nActiveState=active\nUser=matrix-synapse\nExecStart={ path=/p ; argv[]=/usr/bin/python3 -m synapse.app.homeserver --config-path=/etc/matrix-synapse/homeserver.yaml -c /x -c ; }\n====\n1.160.0-1\n",
		"LoadState=loaded\nActiveState=active\nExecStart={ argv[]=-m -m synapse. -c\n", "LoadState=loaded\nActiveState=active\nExecStart={ argv[]=p -m synapse.x --config-path=../../x -c relative.yaml ;\n",
		`[{"Id":"sha256:i","Architecture":"amd64","RootFS":{"Layers":["a"]},"Image":"i","State":{"Running":true},"HostConfig":{"RestartPolicy":{"Name":"always"}},"Config":{"Labels":{"ecdeploy.site":"other","ecdeploy.spec":"x"}}}]`,
		`[{}]`, `[]`, `[null]`, `null`, `{}`, `[{"Id":1}]`, `[{},{}]`, strings.Repeat("[", 5000),
		"1: lo inet 127.0.0.1/8 scope host lo\n2: eth0@if5 inet 198.51.100.7/24 brd x\n3: a inet6 fe80::1/64\n4: b inet x/y\n", "192.0.2.1 via 198.51.100.1 dev eth0 src 198.51.100.7 uid 0\n", "x dev src dev src any\n", "src 0.0.0.0 dev \x1b[2J", "dev", "src",
		"web\t0.0.0.0:8081->80/tcp, [::]:8081->80/tcp, 9000/tcp\nx\t->:/\n\t:-1->\n", "container\ta\tnginx\t:443->\nmanager\tx\n", "LISTEN 0 511 0.0.0.0:443 0.0.0.0:* users:((\"apache2\",pid=1,fd=4))\n",
		"32768 60999\n50100-50200,1-2\n", "0 65535\n-5--1,9-1,x\n", "net.ipv4.ip_local_reserved_ports = 1-70000,-3\n", "listen tcp [::1 users:((\"\nlisten tcp a:b c\nlisten udp %:1\ncoturn 9 1 /x\ncoturn -1 99999999999 y\nours -1\nclock -9223372036854775808\n",
		"{\"org.matrix.msc4143.rtc_foci\":[{\"type\":\"livekit\"}]}", "KEY: SECRET\n", "k: s: t\n", ": \n", "# For x of example.org, included by y. Written by ecdeploy.\n", "# The MatrixRTC backend of example.org. Written by ecdeploy: change the plan file, not this file.\nserver { server_name matrix-rtc-sfu.example.org; ssl_certificate /x; }\n",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "events {}\nhttp { include *; include nginx.conf; server { listen [; listen :::443 ssl; listen unix:x ssl; listen; server_name ~( *.x. ; include /etc/nginx/*; } }\n",
	}
}

// allSteps are the steps of a site that is spread and of one that is not.
func allSteps(t *testing.T) map[string]Step {
	t.Helper()
	out := map[string]Step{}
	add := func(where string, s *Site, all ...Config) {
		for _, c := range all {
			d := Decl{Site: s.Name, Host: "h"}
			d.Parts = c.Parts(d)
			for i, p := range append(c.Steps(d, s), c.Removal(d, s)...) {
				out[fmt.Sprintf("%s %T %s %d", where, c, p.Step.Name(), i)] = p.Step
			}
		}
	}
	add("together", WithWellKnown(OneHost(), "/var/www/client"), &Machine{}, FirewallFoundVariant(UFWVariant()).Config(), &FirewallUFW{}, testSFU(), testAuth(),
		&ProxyNginx{Host: "h"}, &ProxyNginx{Host: "h", Certificate: "/c.pem", Key: "/k.pem"}, &ProxyExternal{Host: "h"},
		debianConfig(), &SynapseExternal{Host: "h", URL: "https://matrix.example.org"}, &WellKnownFile{Host: "h", Path: "/var/www/client"}, &WellKnownExternal{})
	sfu, auth := testSFU(), testAuth()
	auth.Host, sfu.NodeIP, sfu.Bind, auth.CAFile = "other", "", "198.51.100.7", "/etc/ssl/ca.pem"
	add("apart", siteOf(sfu, auth), &Machine{}, &FirewallUFW{}, sfu, auth, &ProxyNginx{Host: "h"})
	return out
}

// FuzzHostileHost: whatever a host answers, a step ends soon, in a decision that
// can be shown, or in an error. What it shares with other hosts is an address
// or a credential, and nothing else.
func FuzzHostileHost(f *testing.F) {
	for _, s := range hostileSeeds() {
		for i := range 4 {
			f.Add([]byte(s), uint8(i*8))
		}
	}
	for i, s := range hostileSeeds() {
		f.Add([]byte(strings.Join(hostileSeeds()[i:], "\n====\n")+s), uint8(i))
	}
	f.Fuzz(func(t *testing.T, text []byte, which uint8) {
		steps := allSteps(t)
		names := slices.Sorted(maps.Keys(steps))
		name := names[int(which)%len(names)]
		began := time.Now()
		decideHostile(t, steps[name], newHostile(text))
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s took %s", name, took)
		}
	})
}

// decideHostile probes, shares, decides and resolves.
func decideHostile(t *testing.T, step Step, o host.Observer) {
	t.Helper()
	found, err := step.Probe(t.Context(), o)
	if err != nil {
		return
	}
	shared := Shared{Sources: map[string]string{}, HTTPS: map[string]string{}}
	found.Share(&shared)
	if src := shared.Sources["h"]; src != "" && strings.Trim(src, "0123456789abcdef.:") != "" || src == "0.0.0.0" || src == "::" {
		t.Errorf("shares the source %q", src)
	}
	for _, offer := range shared.Offers {
		if offer.Host != "h" || !livekit.PlainKey.MatchString(offer.Value.Reveal()) {
			t.Errorf("offers as %s what is no credential", offer.Ref)
		}
	}
	for _, keys := range []livekit.Keys{{}, TestKeys()} {
		shared.Secrets = KeySecrets(keys)
		d, err := found.Diff(shared)
		if err != nil {
			continue
		}
		for _, c := range d.Changes {
			b, err := MarshalChange(c)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := UnmarshalChange(b); err != nil {
				t.Fatal(err)
			}
			c.Summary()
			_, _ = c.Resolve(t.Context(), Env{Host: o, Run: "R", Secrets: KeySecrets(TestKeys())})
		}
	}
}

// Every step against every seed: what the fuzzer begins with.
func TestHostileAnswers(t *testing.T) {
	for name, step := range allSteps(t) {
		t.Run(name, func(t *testing.T) {
			for _, s := range hostileSeeds() {
				for n := range 5 {
					o := newHostile([]byte(s))
					o.n = n
					decideHostile(t, step, o)
				}
			}
		})
	}
}
