package sfu

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	yaml "go.yaml.in/yaml/v3"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

// liveKitConfigByShapeCases are the cases of TestLiveKitConfigByShape.
var liveKitConfigByShapeCases = []struct {
	name  string
	spoil func(*Config, *steps.Site, *facts)
	want  map[string]any
}{
	{"as in the example", func(*Config, *steps.Site, *facts) {}, map[string]any{
		"port": 7880, "bind_addresses": []any{"127.0.0.1"},
		"rtc": map[string]any{
			"tcp_port":         7881,
			"port_range_start": 50100,
			"port_range_end":   50200,
			"use_external_ip":  false,
			"node_ip":          "198.51.100.7",
			"interfaces":       map[string]any{"includes": []any{"eth0"}},
		},
		"room":     map[string]any{"auto_create": false},
		"key_file": "/config/keys.yaml", "logging": map[string]any{"json": true, "level": "info"},
		"webhook": map[string]any{"urls": []any{"http://127.0.0.1:8080/sfu_webhook"}, "api_key": suite.Keys().Key.Reveal()},
	}},
	{"external address", func(c *Config, _ *steps.Site, _ *facts) { c.NodeIP, c.ExternalIP = "", true }, map[string]any{
		"rtc": map[string]any{
			"tcp_port":         7881,
			"port_range_start": 50100,
			"port_range_end":   50200,
			"use_external_ip":  true,
			"interfaces":       map[string]any{"includes": []any{"eth0"}},
		}}},
	{"a host of its own", func(c *Config, s *steps.Site, _ *facts) { s.Parts[1].Host, c.Bind = "other", "10.0.0.2" }, map[string]any{
		"bind_addresses": []any{"10.0.0.2"},
		"webhook":        map[string]any{"urls": []any{"https://matrix-rtc-jwt.example.org/sfu_webhook"}, "api_key": suite.Keys().Key.Reveal()}}},
	{"both addresses", func(c *Config, _ *steps.Site, f *facts) {
		c.NodeIP = "198.51.100.7,2001:db8::7"
		f.addrs = append(f.addrs, steps.HostAddr{Dev: "eth1", IP: "2001:db8::7"})
	}, map[string]any{
		"rtc": map[string]any{
			"tcp_port":         7881,
			"port_range_start": 50100,
			"port_range_end":   50200,
			"use_external_ip":  false,
			"node_ip":          "198.51.100.7,2001:db8::7",
			"interfaces":       map[string]any{"includes": []any{"eth0", "eth1"}},
		}}},
	{"all addresses", func(c *Config, _ *steps.Site, _ *facts) { c.Bind = "0.0.0.0" }, map[string]any{"bind_addresses": nil}},
}

func TestLiveKitConfigByShape(t *testing.T) {
	for _, c := range liveKitConfigByShapeCases {
		t.Run(c.name, func(t *testing.T) {
			sfu, site := testSFU(), suite.OneHost()
			f := facts{
				name:  "h",
				arch:  "amd64",
				image: steps.ImageFacts{Found: true},
				addrs: []steps.HostAddr{{Dev: "eth0", IP: "198.51.100.7"}, {Dev: "docker0", IP: "172.17.0.1"}},
				route: steps.HostAddr{Dev: "eth0", IP: "198.51.100.7"},
			}
			c.spoil(sfu, site, &f)
			d, err := decideSFU(sfu, site, f, steps.Shared{Secrets: credentials.Secrets(suite.Keys())})
			if err != nil || len(d.Changes) != 1 {
				t.Fatalf("%d changes, %v", len(d.Changes), err)
			}
			text, err := d.Changes[0].(*steps.Container).Config[0].Fill(credentials.Secrets(suite.Keys()))
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
	d, err := decideSFU(testSFU(),
		suite.OneHost(),
		facts{name: "h", route: steps.HostAddr{Dev: "eth0", IP: "198.51.100.7"}, image: steps.ImageFacts{Found: true}},
		steps.Shared{Secrets: credentials.Secrets(suite.Keys())})
	if err != nil {
		t.Fatal(err)
	}
	want := host.ContainerSpec{Name: "livekit-sfu", Image: "livekit/livekit-server:v1", Args: []string{"--config", "/config/livekit-config.yaml"},
		User: "10030:10030", Restart: "always", StopTimeout: grace, Mounts: []host.Mount{{Source: "/etc/ecdeploy/example.org/sfu", Target: "/config"}}}
	if diff := cmp.Diff(want, d.Changes[0].(*steps.Container).Spec); diff != "" {
		t.Error(diff)
	}
}
