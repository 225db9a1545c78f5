package steps

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	yaml "go.yaml.in/yaml/v3"

	"github.com/emdecloud/ecdeploy/internal/host"
)

func TestLiveKitConfigByShape(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*SFU, *Auth, *sfuFacts)
		want  map[string]any
	}{
		{"as in the example", func(*SFU, *Auth, *sfuFacts) {}, map[string]any{
			"port": 7880, "bind_addresses": []any{"127.0.0.1"},
			"rtc":      map[string]any{"tcp_port": 7881, "port_range_start": 50100, "port_range_end": 50200, "use_external_ip": false, "node_ip": "198.51.100.7", "interfaces": map[string]any{"includes": []any{"eth0"}}},
			"room":     map[string]any{"auto_create": false},
			"key_file": "/config/keys.yaml", "logging": map[string]any{"json": true, "level": "info"},
			"webhook": map[string]any{"urls": []any{"http://127.0.0.1:8080/sfu_webhook"}, "api_key": TestKeys().Key.Reveal()},
		}},
		{"external address", func(c *SFU, _ *Auth, _ *sfuFacts) { c.NodeIP, c.ExternalIP = "", true }, map[string]any{
			"rtc": map[string]any{"tcp_port": 7881, "port_range_start": 50100, "port_range_end": 50200, "use_external_ip": true, "interfaces": map[string]any{"includes": []any{"eth0"}}}}},
		{"a host of its own", func(c *SFU, a *Auth, _ *sfuFacts) { a.Host, c.Bind = "other", "10.0.0.2" }, map[string]any{
			"bind_addresses": []any{"10.0.0.2"},
			"webhook":        map[string]any{"urls": []any{"https://matrix-rtc-jwt.example.org/sfu_webhook"}, "api_key": TestKeys().Key.Reveal()}}},
		{"both addresses", func(c *SFU, _ *Auth, f *sfuFacts) {
			c.NodeIP = "198.51.100.7,2001:db8::7"
			f.addrs = append(f.addrs, HostAddr{"eth1", "2001:db8::7"})
		}, map[string]any{
			"rtc": map[string]any{"tcp_port": 7881, "port_range_start": 50100, "port_range_end": 50200, "use_external_ip": false, "node_ip": "198.51.100.7,2001:db8::7", "interfaces": map[string]any{"includes": []any{"eth0", "eth1"}}}}},
		{"all addresses", func(c *SFU, _ *Auth, _ *sfuFacts) { c.Bind = "0.0.0.0" }, map[string]any{"bind_addresses": nil}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sfu, auth := testSFU(), testAuth()
			f := sfuFacts{name: "h", arch: "amd64", image: imageFacts{Found: true}, addrs: []HostAddr{{"eth0", "198.51.100.7"}, {"docker0", "172.17.0.1"}}, route: HostAddr{"eth0", "198.51.100.7"}}
			c.spoil(sfu, auth, &f)
			d, err := decideSFU(sfu, auth, f, Shared{Secrets: KeySecrets(TestKeys())})
			if err != nil || len(d.Changes) != 1 {
				t.Fatalf("%d changes, %v", len(d.Changes), err)
			}
			text, err := d.Changes[0].(*Container).Config[0].Fill(KeySecrets(TestKeys()))
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

func TestSFUSpec(t *testing.T) {
	d, err := decideSFU(testSFU(), testAuth(), sfuFacts{name: "h", route: HostAddr{"eth0", "198.51.100.7"}, image: imageFacts{Found: true}}, Shared{Secrets: KeySecrets(TestKeys())})
	if err != nil {
		t.Fatal(err)
	}
	want := host.ContainerSpec{Name: "livekit-sfu", Image: "livekit/livekit-server:v1", Args: []string{"--config", "/config/livekit-config.yaml"},
		User: "10030:10030", Restart: "always", StopTimeout: sfuGrace, Mounts: []host.Mount{{Source: "/etc/ecdeploy/example.org/sfu", Target: "/config"}}}
	if diff := cmp.Diff(want, d.Changes[0].(*Container).Spec); diff != "" {
		t.Error(diff)
	}
}
