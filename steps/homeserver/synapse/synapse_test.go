package synapse

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
)

// synapseFound are the facts of a running Synapse 1.160 with these files, in
// the order in which it reads them: "name", "text", "name", "text", ...
func synapseFound(files ...string) facts {
	f := facts{name: "h", version: "1.160.0", unit: unitFacts{Found: true, Active: true, User: "matrix-synapse", Interpreter: "/usr/bin/python3",
		Configs: []string{synapseDir + "/homeserver.yaml", synapseDir + "/conf.d"}}}
	for i := 0; i < len(files); i += 2 {
		p := synapseDir + "/conf.d/" + files[i]
		if files[i] == "homeserver.yaml" {
			p = suite.SynapsePath
		}
		f.files = append(f.files, configFile{Path: p, Data: []byte(files[i+1])})
	}
	return f
}

func debianConfig() *Service {
	return &Service{Unit: "matrix-synapse.service", StartTimeout: time.Minute, MaxDelay: "24h", From: Package}
}

// settle applies what f wants, and wants the second look to want nothing.
func settleSynapse(t *testing.T, f facts) (after map[string]string, d steps.Decision) {
	t.Helper()
	d = f.decide(suite.OneHost(), debianConfig())
	after = map[string]string{}
	for i, file := range f.files {
		for _, c := range d.Changes {
			for _, e := range c.(*steps.Files).Edits {
				if e.Path != file.Path {
					continue
				}
				data, err := splice.Apply(file.Data, e.Edits)
				if err != nil {
					t.Fatal(err)
				}
				f.files[i].Data = data
			}
		}
		after[file.Path] = string(f.files[i].Data)
	}
	if again := f.decide(suite.OneHost(), debianConfig()); len(again.Changes) != 0 {
		t.Fatalf("the second apply plans %s", again.Changes[0].Summary().Diff)
	}
	return after, d
}

// mustSay wants the effective configuration to have all that is needed.
func mustSay(t *testing.T, f facts, want map[string]any) {
	t.Helper()
	for p, v := range want {
		var path []any
		for e := range strings.SplitSeq(p, ".") {
			path = append(path, e)
		}
		if got, _ := f.effective(path...); !cmp.Equal(got, v) {
			t.Errorf("%s is %v, want %v", p, got, v)
		}
	}
}

func TestSynapseConfigs(t *testing.T) {
	needed := map[string]any{"experimental_features.msc4143_enabled": true, "experimental_features.msc4222_enabled": true, "max_event_delay_duration": "24h",
		"rc_message.per_second": 0.5, "rc_message.burst_count": 30, "rc_delayed_event_mgmt.burst_count": 20}
	for _, c := range []struct {
		name  string
		files []string
		edits []string       // of these files, in this order
		want  map[string]any // besides or instead of what is needed
		keeps []string       // texts that must still be there
		says  string
	}{
		{name: "all there", files: []string{"homeserver.yaml", suite.SynapseDone}},
		{name: "nothing there", files: []string{"homeserver.yaml", suite.SynapseListens, "server_name.yaml", "server_name: example.org\n"}, edits: []string{suite.SynapsePath}},
		{name: "a drop-in owns the features", files: []string{"homeserver.yaml", suite.SynapseListens + "experimental_features:\n  msc9999: true\n", "features.yaml", "experimental_features:\n  msc3202_transaction_extensions: true # bridges\n"},
			edits: []string{suite.SynapsePath, synapseDir + "/conf.d/features.yaml"}, want: map[string]any{"experimental_features.msc3202_transaction_extensions": true},
			keeps: []string{"# bridges", "  msc9999: true\n"}, says: "note: experimental_features in " + suite.SynapsePath + " has no effect: " + synapseDir + "/conf.d/features.yaml has that key too"},
		{name: "the last drop-in wins", files: []string{"homeserver.yaml", suite.SynapseDone, "a.yaml", "rc_message: {per_second: 9, burst_count: 99}\n", "b.yaml", "rc_message:\n  per_second: 0.1\n"},
			edits: []string{synapseDir + "/conf.d/b.yaml"}, says: "note: rc_message in " + suite.SynapsePath + " has no effect: " + synapseDir + "/conf.d/b.yaml has that key too, is read later and wins as a whole\nnote: rc_message in " + synapseDir + "/conf.d/a.yaml has no effect"},
		{name: "a null section", files: []string{"homeserver.yaml", suite.SynapseListens + "experimental_features:\nrc_message: ~\nmax_event_delay_duration: null\nmatrix_rtc:\n"}, edits: []string{suite.SynapsePath}},
		{name: "a drop-in of null wins", files: []string{"homeserver.yaml", suite.SynapseDone, "z.yaml", "matrix_rtc:\n"}, edits: []string{synapseDir + "/conf.d/z.yaml"}, says: "note: matrix_rtc in " + suite.SynapsePath + " has no effect"},
		{name: "YAML 1.1 booleans", files: []string{"homeserver.yaml", strings.NewReplacer("4143_enabled: true", "4143_enabled: yes", "4222_enabled: true", "4222_enabled: On").Replace(suite.SynapseDone)}},
		{name: "switched off", files: []string{"homeserver.yaml", strings.Replace(suite.SynapseDone, "4143_enabled: true", "4143_enabled: off  # for now", 1)}, edits: []string{suite.SynapsePath}, keeps: []string{"# for now"}},
		{name: "a word is no boolean", files: []string{"homeserver.yaml", strings.Replace(suite.SynapseDone, "4143_enabled: true", `4143_enabled: "yes"`, 1)}, edits: []string{suite.SynapsePath}},
		{name: "commented out", files: []string{"homeserver.yaml", suite.SynapseListens + "#experimental_features:\n#  msc4143_enabled: true\n# max_event_delay_duration: 24h\n", "empty.yaml", "# nothing here\n"},
			edits: []string{suite.SynapsePath}, keeps: []string{"#experimental_features:\n#  msc4143_enabled: true\n"}},
		{name: "higher limits stay", files: []string{"homeserver.yaml", strings.NewReplacer("per_second: 0.5", "per_second: 5", "burst_count: 30", "burst_count: 100", "burst_count: 20", "burst_count: 99999999999999999999", "24h", "30d").Replace(suite.SynapseDone)},
			want: map[string]any{"rc_message.per_second": 5, "rc_message.burst_count": 100, "max_event_delay_duration": "30d", "rc_delayed_event_mgmt.burst_count": nil},
			says: "note: Synapse on h lets delayed events wait for 30d, longer than the 24h that the plan file asks for; it stays so"},
		{name: "half a limit", files: []string{"homeserver.yaml", strings.Replace(suite.SynapseDone, "  burst_count: 30\n", "", 1)}, edits: []string{suite.SynapsePath}},
		{name: "a delay in milliseconds", files: []string{"homeserver.yaml", strings.Replace(suite.SynapseDone, "24h", "86400000", 1)}, want: map[string]any{"max_event_delay_duration": 86400000}},
		{name: "a short delay", files: []string{"homeserver.yaml", strings.Replace(suite.SynapseDone, "24h", "10m", 1)}, edits: []string{suite.SynapsePath}},
		{name: "the seed's key", files: []string{"homeserver.yaml", strings.Replace(suite.SynapseDone, "  msc4143", "  msc4140_enabled: true\n  msc4143", 1)},
			says: "note: experimental_features.msc4140_enabled (true) in " + suite.SynapsePath + " has no effect"},
		{name: "delayed events at zero", files: []string{"homeserver.yaml", strings.Replace(suite.SynapseDone, "  msc4143", "  msc4140_max_delayed_events_per_user: 0\n  msc4143", 1)},
			says: "warning: experimental_features.msc4140_max_delayed_events_per_user is 0"},
		{name: "Windows line ends and no last one", files: []string{"homeserver.yaml", strings.ReplaceAll(strings.TrimSuffix(suite.SynapseListens, "\n"), "\n", "\r\n")}, edits: []string{suite.SynapsePath}},
		{name: "transport of an application service", files: []string{"homeserver.yaml", suite.SynapseDone + "      url: wss://x\n"}, says: "warning: matrix_rtc.transports has a url (wss://x)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := synapseFound(c.files...)
			after, d := settleSynapse(t, f)
			var edited []string
			for _, ch := range d.Changes {
				for _, e := range ch.(*steps.Files).Edits {
					edited = append(edited, e.Path)
				}
			}
			if diff := cmp.Diff(c.edits, edited); diff != "" {
				t.Errorf("edited files: %s", diff)
			}
			want := map[string]any{}
			for k, v := range needed {
				want[k] = v
			}
			for k, v := range c.want {
				if want[k] = v; v == nil {
					delete(want, k)
				}
			}
			mustSay(t, f, want)
			all := ""
			for _, text := range after {
				all += text
			}
			for _, k := range c.keeps {
				if !strings.Contains(all, k) {
					t.Errorf("%q is gone", k)
				}
			}
			if got := suite.Summaries(d.Findings); c.says == "" && got != "" || !strings.HasPrefix(got, c.says) {
				t.Errorf("says %q, want %q", got, c.says)
			}
		})
	}
}

func TestSynapseTransports(t *testing.T) {
	const ours = "https://matrix-rtc-jwt.example.org"
	base := strings.Split(suite.SynapseDone, "matrix_rtc:")[0]
	for _, c := range []struct{ name, before, after string }{
		{"none", "matrix_rtc: {}\n", "matrix_rtc: {transports: [{type: livekit, livekit_service_url: \"" + ours + "\"}]}\n"},
		{"an older URL of ours", "matrix_rtc:\n  transports:\n    - type: livekit\n      livekit_service_url: https://old.example.org/ # moved\n",
			"matrix_rtc:\n  transports:\n    - type: livekit\n      livekit_service_url: \"" + ours + "\" # moved\n"},
		{"a trailing slash", "matrix_rtc:\n  transports:\n    - type: livekit\n      livekit_service_url: " + ours + "/\n", "matrix_rtc:\n  transports:\n    - type: livekit\n      livekit_service_url: \"" + ours + "\"\n"},
		{"another type", "matrix_rtc:\n  transports:\n    - type: mesh\n", "matrix_rtc:\n  transports:\n    - type: mesh\n    - type: livekit\n      livekit_service_url: \"" + ours + "\"\n"},
		{"two, the second ours", "matrix_rtc:\n  transports:\n    - {type: livekit, livekit_service_url: 'https://b.test'}\n    - {type: livekit, livekit_service_url: '" + ours + "'}\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			after, _ := settleSynapse(t, synapseFound("homeserver.yaml", base+c.before))
			if c.after == "" {
				c.after = c.before
			}
			if diff := cmp.Diff(base+c.after, after[suite.SynapsePath]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSynapseListeners(t *testing.T) {
	rest := strings.TrimPrefix(suite.SynapseDone, suite.SynapseListens)
	for _, c := range []struct {
		name, listeners      string
		added                bool
		client, openID, says string
	}{
		{name: "Debian's", listeners: suite.SynapseListens, client: "http://127.0.0.1:8008", openID: "http://127.0.0.1:8008"},
		{name: "client alone", listeners: "listeners:\n- port: 8008\n  type: http\n  resources:\n  - names:\n    - client\n", added: true, client: "http://127.0.0.1:8008", openID: "http://127.0.0.1:8008"},
		{name: "client and openid", listeners: "listeners:\n- port: 8008\n  type: http\n  resources: [{names: [client, openid]}]\n", client: "http://127.0.0.1:8008", openID: "http://127.0.0.1:8008"},
		{name: "federation apart", listeners: "listeners:\n- {port: 8008, type: http, bind_addresses: ['0.0.0.0'], resources: [{names: [client]}]}\n- {port: 8009, type: http, bind_address: 10.0.0.5, resources: [{names: [federation]}]}\n", client: "http://127.0.0.1:8008", openID: "http://10.0.0.5:8009"},
		{name: "federation by TLS of its own", listeners: "listeners:\n- {port: 8008, type: http, bind_addresses: ['::1'], resources: [{names: [client]}]}\n- {port: 8448, type: http, tls: true, resources: [{names: [federation]}]}\n", client: "http://[::1]:8008", openID: ""},
		{name: "a socket", listeners: "listeners:\n- {path: /run/synapse.sock, type: http, resources: [{names: [client, federation]}]}\n", says: "warning: no listener of Synapse on h serves clients over plain HTTP"},
		{name: "metrics, too", listeners: "listeners:\n- {port: 9000, type: metrics}\n- {port: 8008, type: http, resources: [{names: [client, federation]}]}\n", client: "http://127.0.0.1:8008", openID: "http://127.0.0.1:8008"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := synapseFound("homeserver.yaml", c.listeners+rest)
			after, d := settleSynapse(t, f)
			if got := len(d.Changes) > 0; got != c.added {
				t.Errorf("changed: %v, want %v\n%s", got, c.added, after[suite.SynapsePath])
			}
			if f.localURL() != c.client || f.openIDURL() != c.openID {
				t.Errorf("asks %q and %q, want %q and %q", f.localURL(), f.openIDURL(), c.client, c.openID)
			}
			if got := suite.Summaries(d.Findings); !strings.HasPrefix(got, c.says) || c.says == "" && got != "" {
				t.Errorf("says %q, want %q", got, c.says)
			}
			for _, check := range d.Checks {
				if check.HTTP.URL == "" || !strings.HasPrefix(check.HTTP.URL, "http://") || strings.Contains(check.HTTP.URL, "nil") {
					t.Errorf("check %s asks %q", check.Name, check.HTTP.URL)
				}
			}
		})
	}
}

func TestSynapseRefuses(t *testing.T) {
	for _, c := range []struct {
		name       string
		spoil      func(*facts)
		want, hint string
	}{
		{"no unit", func(f *facts) { f.unit = unitFacts{} }, "error: there is no unit matrix-synapse.service on h", "apt install matrix-synapse"},
		{"stopped", func(f *facts) { f.unit.Active = false }, "error: Synapse (matrix-synapse.service) does not run on h", "systemctl status"},
		{"too old", func(f *facts) { f.version = "1.78.0" }, "error: Synapse 1.78.0 on h is too old", "upgrade"},
		{"workers run", func(f *facts) { f.workers = []string{"matrix-synapse-worker@generic1.service"} }, "error: Synapse has workers on h (matrix-synapse-worker@generic1.service)", "external"},
		{"workers configured", func(f *facts) {
			f.files[0].Data = append(f.files[0].Data, "instance_map:\n  main: {host: localhost, port: 9093}\n  event_persister1: {host: localhost, port: 9094}\n"...)
		}, "error: Synapse has workers on h (event_persister1)", "external"},
		{"redis, which only workers need", func(f *facts) {
			f.files = append(f.files, configFile{Path: synapseDir + "/conf.d/redis.yaml", Data: []byte("redis:\n  enabled: yes\n")})
		}, "error: Synapse has workers on h (redis is enabled", "external"},
		{"another server name", func(f *facts) {
			f.files = append(f.files, configFile{Path: synapseDir + "/conf.d/server_name.yaml", Data: []byte("server_name: matrix.other.org\n")})
		}, "error: Synapse on h is the homeserver of matrix.other.org, not of " + suite.OneHost().Name, `site "matrix.other.org"`},
		{"mdad's unit", func(f *facts) {
			f.unit.Configs = nil
			f.others.Managers = []string{"matrix-docker-ansible-deploy (/matrix/synapse)"}
		}, "error: Synapse on h belongs to matrix-docker-ansible-deploy (/matrix/synapse)", `synapse "external"`},
		{"ess-helm", func(f *facts) {
			f.unit = unitFacts{}
			f.others.Managers = []string{"a Kubernetes cluster as for ess-helm (/var/lib/rancher/k3s)"}
		}, "error: Synapse on h belongs to a Kubernetes cluster", `synapse "external"`},
		{"in a container", func(f *facts) {
			f.unit = unitFacts{}
			f.others.Containers = []steps.RunningContainer{{Name: "db", Image: "postgres:16", Ports: ""}, {Name: "hs", Image: "ghcr.io/element-hq/synapse:v1.160.0", Ports: "127.0.0.1:8008->8008/tcp"}}
		}, "error: Synapse on h runs in container hs (ghcr.io/element-hq/synapse:v1.160.0)", `synapse "external"`},
		{"a tab in YAML", func(f *facts) { f.files[0].Data = []byte("a:\n\tb: 1\n") }, "error: Synapse's configuration cannot be edited safely", "by hand"},
		{"not a mapping", func(f *facts) { f.files[0].Data = []byte("- a\n") }, "error: Synapse's configuration cannot be edited safely", "by hand"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := synapseFound("homeserver.yaml", suite.SynapseListens)
			c.spoil(&f)
			d := f.decide(suite.OneHost(), debianConfig())
			var errs []steps.Finding
			for _, x := range d.Findings {
				if x.Severity == steps.Error {
					errs = append(errs, x)
				}
			}
			if len(errs) != 1 || !strings.HasPrefix(suite.Summaries(errs), c.want) || !strings.Contains(errs[0].Hint, c.hint) || len(d.Changes) != 0 {
				t.Errorf("got %v and %d changes, want %s", errs, len(d.Changes), c.want)
			}
		})
	}
}

func TestSynapseWarns(t *testing.T) {
	f := synapseFound("homeserver.yaml", suite.SynapseDone)
	f.version = ""
	f.others = steps.Neighbours{Managers: []string{"matrix-docker-ansible-deploy (/matrix/synapse)"}, Containers: []steps.RunningContainer{{Name: "old", Image: "matrixdotorg/synapse", Ports: ""}}}
	got := suite.Summaries(f.decide(suite.OneHost(), debianConfig()).Findings)
	for _, want := range []string{"warning: Synapse's version on h is unknown", "warning: matrix-docker-ansible-deploy (/matrix/synapse) is on h", "warning: besides matrix-synapse.service, a Synapse runs in container old"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %s", want, got)
		}
	}
}

// msc3266_enabled is for Synapses before 1.153 alone.
func TestSynapseOldFlag(t *testing.T) {
	for version, want := range map[string]int{"1.152.1": 1, "1.153.0": 0, "1.160.0": 0} {
		f := synapseFound("homeserver.yaml", suite.SynapseDone)
		f.version = version
		if d := f.decide(suite.OneHost(), debianConfig()); len(d.Changes) != want {
			t.Errorf("%s: %d changes, want %d", version, len(d.Changes), want)
		}
	}
}

func TestUpstreamVersion(t *testing.T) {
	for in, want := range map[string]string{
		"1.160.0-1\n": "1.160.0", "1.160.0+bookworm1\n": "1.160.0", "1.158.0~rc1+deb12\n": "1.158.0", "1:1.140.1-2~bpo12+1\n": "1.140.1", "1.163.2\n": "1.163.2", "1.164.0rc1\n": "1.164.0", "1.164.0.dev3\n": "1.164.0", "": "", "garbage\n": "",
	} {
		if got := upstreamVersion(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

// The probe follows the unit's arguments to files elsewhere, symlinks and
// hidden files included, in Synapse's order.
func TestSynapseProbe(t *testing.T) {
	o := suite.Fake{Files: map[string]string{
		"/srv/hs/homeserver.yaml": suite.SynapseListens, "/srv/hs/conf.d/b.yaml": "b: 1\n", "/srv/hs/conf.d/.a.yaml": "a: 1\n", "/srv/hs/conf.d/notes.txt": "x", "/srv/secret.yaml": "c: 1\n",
	}, Links: map[string]string{"/srv/hs/conf.d/c.yaml": "/srv/secret.yaml"}}
	o.Answer = func(argv string) host.Result {
		switch {
		case strings.Contains(argv, "systemctl show"):
			return host.Result{Stdout: []byte("LoadState=loaded\nActiveState=active\nUser=synapse\nExecStart={ path=p ; argv[]=/usr/bin/python3 -m synapse.app.homeserver --config-path=/srv/hs/homeserver.yaml --config-path=/srv/hs/conf.d/ ; }\n")}
		case strings.HasPrefix(argv, "dpkg-query"):
			return host.Result{Stdout: []byte("1.160.0-1\n")}
		}
		return host.Result{}
	}
	found, err := debianConfig().probe(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	d, err := found.decide(suite.OneHost(), debianConfig()), error(nil)
	if err != nil || len(d.Changes) != 1 {
		t.Fatalf("got %d changes, %v, %s", len(d.Changes), err, suite.Summaries(d.Findings))
	}
	c := d.Changes[0].(*steps.Files)
	if c.Edits[0].Path != "/srv/hs/homeserver.yaml" || !cmp.Equal(c.Overlay, []string{"/srv/hs"}) {
		t.Errorf("edits %s, the checker sees %v", c.Edits[0].Path, c.Overlay)
	}
	var paths []string
	for _, file := range found.files {
		paths = append(paths, file.Path)
	}
	if diff := cmp.Diff([]string{"/srv/hs/homeserver.yaml", "/srv/hs/conf.d/.a.yaml", "/srv/hs/conf.d/b.yaml", "/srv/secret.yaml"}, paths); diff != "" {
		t.Error(diff)
	}
}

// A container is a Synapse by its image.
func TestSynapseContainer(t *testing.T) {
	for image, want := range map[string]bool{
		"ghcr.io/element-hq/synapse:v1.160.0": true, "matrixdotorg/synapse": true, "docker.io/matrixdotorg/matrix-synapse@sha256:0": true,
		"ghcr.io/me/my-synapse-admin:1": false, "redis:7": false, "nginx": false,
	} {
		if _, got := synapseContainer(steps.Neighbours{Containers: []steps.RunningContainer{{Name: "c", Image: image, Ports: ""}}}); got != want {
			t.Errorf("%s: %v", image, got)
		}
	}
}
