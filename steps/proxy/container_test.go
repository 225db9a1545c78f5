package proxy

import (
	"testing"

	"github.com/emdecloud/ecdeploy/steps"
)

// A container is a proxy by its image, or by the ports that it takes.
func TestProxyContainer(t *testing.T) {
	for image, want := range map[string]bool{
		"nginx": true, "docker.io/library/nginx:1.27": true, "nginxproxy/nginx-proxy": true, "jc21/nginx-proxy-manager:2": true, "traefik:v3": true,
		"lscr.io/linuxserver/swag@sha256:0":   true,
		"caddy:2-alpine":                      true,
		"ghcr.io/element-hq/synapse:v1.160.0": false,
		"redis:7":                             false,
		"livekit/livekit-server:v1":           false,
	} {
		if _, got := InContainer(steps.Neighbours{Containers: []steps.RunningContainer{{Name: "c", Image: image, Ports: ""}}}); got != want {
			t.Errorf("%s: %v", image, got)
		}
	}
	n := steps.Neighbours{Containers: []steps.RunningContainer{
		{Name: "app", Image: "ghcr.io/element-hq/element-call:v0.28.1", Ports: "127.0.0.1:8090->8080/tcp"},
		{Name: "gw", Image: "my-own:2", Ports: "0.0.0.0:80->80/tcp, [::]:443->443/tcp"},
	}}
	if who, ok := InContainer(n); !ok || who != "container gw (my-own:2)" {
		t.Errorf("the proxy is %q", who)
	}
}
