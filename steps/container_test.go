package steps

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	yaml "go.yaml.in/yaml/v3"

	"github.com/emdecloud/ecdeploy/internal/host"
)

func TestLiveKitConfigByShape(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*Site, *sfuFacts)
		want  map[string]any
	}{
		{"as in the example", func(*Site, *sfuFacts) {}, map[string]any{
			"port": 7880, "bind_addresses": []any{"127.0.0.1"},
			"rtc":      map[string]any{"tcp_port": 7881, "port_range_start": 50100, "port_range_end": 50200, "use_external_ip": false, "node_ip": "198.51.100.7", "interfaces": map[string]any{"includes": []any{"eth0"}}},
			"room":     map[string]any{"auto_create": false},
			"key_file": "/config/keys.yaml", "logging": map[string]any{"json": true, "level": "info"},
			"webhook": map[string]any{"urls": []any{"http://127.0.0.1:8080/sfu_webhook"}, "api_key": testKeys().Key.Reveal()},
		}},
		{"external address", func(s *Site, _ *sfuFacts) { s.SFU.NodeIP, s.SFU.ExternalIP = "", true }, map[string]any{
			"rtc": map[string]any{"tcp_port": 7881, "port_range_start": 50100, "port_range_end": 50200, "use_external_ip": true, "interfaces": map[string]any{"includes": []any{"eth0"}}}}},
		{"a host of its own", func(s *Site, _ *sfuFacts) { s.Auth.Host, s.SFU.Bind = "other", "10.0.0.2" }, map[string]any{
			"bind_addresses": []any{"10.0.0.2"},
			"webhook":        map[string]any{"urls": []any{"https://matrix-rtc-jwt.example.org/sfu_webhook"}, "api_key": testKeys().Key.Reveal()}}},
		{"both addresses", func(s *Site, f *sfuFacts) {
			s.SFU.NodeIP = "198.51.100.7,2001:db8::7"
			f.addrs = append(f.addrs, HostAddr{"eth1", "2001:db8::7"})
		}, map[string]any{
			"rtc": map[string]any{"tcp_port": 7881, "port_range_start": 50100, "port_range_end": 50200, "use_external_ip": false, "node_ip": "198.51.100.7,2001:db8::7", "interfaces": map[string]any{"includes": []any{"eth0", "eth1"}}}}},
		{"all addresses", func(s *Site, _ *sfuFacts) { s.SFU.Bind = "0.0.0.0" }, map[string]any{"bind_addresses": nil}},
	} {
		t.Run(c.name, func(t *testing.T) {
			site := testSite()
			f := sfuFacts{name: "h", arch: "amd64", image: imageFacts{Found: true}, addrs: []HostAddr{{"eth0", "198.51.100.7"}, {"docker0", "172.17.0.1"}}, route: HostAddr{"eth0", "198.51.100.7"}}
			c.spoil(&site, &f)
			d, err := decideSFU(site, f, Shared{Secrets: KeySecrets(testKeys())})
			if err != nil || len(d.Changes) != 1 {
				t.Fatalf("%d changes, %v", len(d.Changes), err)
			}
			text, err := d.Changes[0].(*Container).Config[0].Fill(KeySecrets(testKeys()))
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			if err := yaml.Unmarshal(text, &got); err != nil {
				t.Fatal(err)
			}
			for k, v := range c.want {
				if diff := cmp.Diff(v, got[k]); diff != "" {
					t.Errorf("%s: %s", k, diff)
				}
			}
		})
	}
}

func TestContainerSpecs(t *testing.T) {
	site := testSite()
	d, err := decideSFU(site, sfuFacts{name: "h", route: HostAddr{"eth0", "198.51.100.7"}, image: imageFacts{Found: true}}, Shared{Secrets: KeySecrets(testKeys())})
	if err != nil {
		t.Fatal(err)
	}
	want := host.ContainerSpec{Name: "livekit-sfu", Image: "livekit/livekit-server:v1", Args: []string{"--config", "/config/livekit-config.yaml"},
		User: "10030:10030", Restart: "always", StopTimeout: sfuGrace, Mounts: []host.Mount{{Source: "/etc/ecdeploy/example.org/sfu", Target: "/config"}}}
	if diff := cmp.Diff(want, d.Changes[0].(*Container).Spec); diff != "" {
		t.Error(diff)
	}

	site = oneName("rtc.example.org")
	site.Auth.CAFile = "/etc/ssl/ca.pem"
	site.Auth.FullAccess = []string{"example.org", "example.net"}
	got := authSpec(site, "/etc/ecdeploy/example.org/auth")
	want = host.ContainerSpec{Name: "element-call-jwt", Image: "jwt:1", User: "10033:10033", Restart: "always", StopTimeout: got.StopTimeout,
		Env: map[string]string{
			"LIVEKIT_URL": "wss://rtc.example.org/livekit/sfu", "LIVEKIT_KEY_FROM_FILE": "/config/key", "LIVEKIT_SECRET_FROM_FILE": "/config/secret",
			"LIVEKIT_JWT_BIND": "127.0.0.1:8080", "LIVEKIT_FULL_ACCESS_HOMESERVERS": "example.org,example.net", "SSL_CERT_FILE": "/ca.pem",
		},
		Mounts: []host.Mount{{Source: "/etc/ecdeploy/example.org/auth", Target: "/config"}, {Source: "/etc/ssl/ca.pem", Target: "/ca.pem"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestJWTServiceFindings(t *testing.T) {
	for _, c := range []struct {
		name, want string
		ca         host.File
		inspect    string
	}{
		{"fine", "", host.File{Exists: true, Mode: 0o644}, ""},
		{"for its group", "", host.File{Exists: true, Mode: 0o640, GID: 10033}, ""},
		{"no CA", "error: ca_file /ca.pem is not on the host", host.File{}, ""},
		{"unreadable CA", "error: ca_file /ca.pem cannot be read by the JWT service", host.File{Exists: true, Mode: 0o640}, ""},
		{"another site's container", "error: container element-call-jwt is the site example.net's", host.File{Exists: true, Mode: 0o644}, `[{"Id":"c","Config":{"Labels":{"ecdeploy.site":"example.net","ecdeploy.spec":"x"}}}]`},
		{"our own container", "", host.File{Exists: true, Mode: 0o644}, `[{"Id":"c","Config":{"Labels":{"ecdeploy.site":"example.org","ecdeploy.spec":"x"}}}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			site := testSite()
			site.Auth.CAFile = "/ca.pem"
			o := caObserver{fakeObserver{answer: func(argv string) host.Result {
				if strings.HasPrefix(argv, "docker container inspect") && c.inspect != "" {
					return host.Result{Stdout: []byte(c.inspect)}
				}
				return host.Result{Code: 1}
			}}, c.ca}
			facts, err := JWTService(site).Probe(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			d, err := facts.Diff(Shared{Secrets: KeySecrets(testKeys())})
			if err != nil {
				t.Fatal(err)
			}
			if got := summaries(d.Findings); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestImagePlan(t *testing.T) {
	archive := &Archive{Path: "a.tar", Config: "sha256:c", Arch: "amd64", Layers: []string{"l1", "l2"}}
	for _, c := range []struct {
		name    string
		ref     string
		archive *Archive
		found   imageFacts
		why     string // "" for no change
		finding string
	}{
		{"there", "i:1", nil, imageFacts{Found: true, ID: "x", Arch: "amd64"}, "", ""},
		{"not there", "i:1", nil, imageFacts{}, "not on the host", ""},
		{"for another machine", "i:1", nil, imageFacts{Found: true, ID: "x", Arch: "arm64"}, "the host has it for arm64, and is amd64", ""},
		{"the archive's, classic store", "i:1", archive, imageFacts{Found: true, ID: "sha256:c"}, "", ""},
		{"the archive's, containerd store", "i:1", archive, imageFacts{Found: true, ID: "sha256:manifest", Layers: []string{"l1", "l2"}}, "", ""},
		{"another one", "i:1", archive, imageFacts{Found: true, ID: "sha256:d", Layers: []string{"l1"}}, "the host has another image of this name", ""},
		{"an archive for another machine", "i:1", &Archive{Path: "a.tar", Arch: "arm64"}, imageFacts{}, "", "error: image archive a.tar is for arm64, the host is amd64"},
		{"an archive by digest", "i@sha256:0", archive, imageFacts{}, "", "error: image i@sha256:0 names a digest"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changes, findings := planImage(c.ref, c.archive, "amd64", c.found)
			why := ""
			for _, ch := range changes {
				why = ch.(*Image).Why
			}
			if why != c.why || !strings.HasPrefix(summaries(findings), c.finding) || c.finding == "" && len(findings) > 0 {
				t.Errorf("got %q and %s", why, summaries(findings))
			}
		})
	}
}

// Hostile names and paths reach the functions of lib.sh and the tools as single
// words, and nothing in them runs.
func TestScriptsQuote(t *testing.T) {
	const evil = "/x/a'b \"c\" $(touch pwned) `touch pwned`; touch pwned\nnext"
	edits := []FileEdit{{Path: evil, Text: Lit("x")}, {Path: evil, Remove: true}}
	spec := host.ContainerSpec{Name: evil, Image: evil, User: evil}
	container, err := Container{Spec: spec, Replaces: evil}.Resolve(t.Context(), Env{Host: fakeObserver{}, Secrets: KeySecrets(testKeys())})
	if err != nil {
		t.Fatal(err)
	}
	rule := ufwAllow(Site{Name: evil}, opening{"tcp", 1, 1, evil}).(*Exec)
	synapse := synapseFound("homeserver.yaml", hsListen)
	synapse.unit.User, synapse.unit.Interpreter, synapse.unit.Configs = evil, evil, []string{evil}
	for name, script := range map[string]string{
		"save": saveEdits(edits, []string{"", ""}), "place": placeEdits([]Dir{{Path: evil, Mode: 0o755}}, edits), "undo": undoEdits(edits),
		"container save": container.Save, "container undo": container.Undo,
		"lint": dockerLint(spec, 1, []lintFile{{evil, evil, -1}}, evil, evil),
		"ufw":  rule.DoText, "ufw undo": rule.UndoText, "checker": synapse.checker(), "preflight": preflightEnv(Site{SFU: SFU{Host: "h", Image: evil}}, "h") + "ufw \"$IMAGES\"",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			// Whatever is called writes down what it was given.
			stubs := "D=$PWD\nfor f in ec_save ec_mkdir ec_place ec_unchanged ec_remove ec_sync ec_undo_files ec_save_container ec_undo_container_ours ec_undo_container_old ec_undo_dirs ec_keep_ufw ec_undo_ufw ufw docker setpriv cp chown chmod rm id; do\n" +
				"eval \"$f() { printf '%s|' \\\"\\$@\\\" >>\\\"\\$D/words\\\"; }\"\ndone\n"
			cmd := exec.Command("sh", "-c", stubs+"J=/j\n"+script)
			cmd.Dir = dir
			_ = cmd.Run() // the stubs answer nothing, so that some scripts end early
			words, err := os.ReadFile(filepath.Join(dir, "words"))
			if err != nil || !strings.Contains(string(words), evil) {
				t.Errorf("the words were %q, %v", words, err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
				t.Errorf("it made %v, %v", left, err)
			}
		})
	}
}
