package steps

import (
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
)

func TestNeighbours(t *testing.T) {
	n := parseNeighbours(host.Result{Stdout: []byte("manager\ta Kubernetes cluster as for ess-helm (/etc/kubernetes/manifests)\n" +
		"container\tapp\tghcr.io/element-hq/element-call:v0.28.1\t127.0.0.1:8090->8080/tcp\ncontainer\tgw\tcaddy:2\t0.0.0.0:80->80/tcp, [::]:443->443/tcp\ncontainer\ths\tmatrixdotorg/synapse:latest\t\n")})
	if len(n.managers) != 1 || len(n.containers) != 3 {
		t.Fatalf("got %+v", n)
	}
	for image, want := range map[string][2]bool{ // a proxy, a Synapse; with the host's network
		"nginx": {true, false}, "docker.io/library/nginx:1.27": {true, false}, "nginxproxy/nginx-proxy": {true, false}, "jc21/nginx-proxy-manager:2": {true, false}, "traefik:v3": {true, false},
		"lscr.io/linuxserver/swag@sha256:0": {true, false}, "caddy:2-alpine": {true, false}, "ghcr.io/element-hq/synapse:v1.160.0": {false, true}, "matrixdotorg/synapse": {false, true},
		"ghcr.io/me/my-synapse-admin:1": {false, false}, "redis:7": {false, false}, "livekit/livekit-server:v1": {false, false},
	} {
		one := neighbours{containers: []runningContainer{{"c", image, ""}}}
		_, proxy := proxyContainer(one)
		_, synapse := synapseContainer(one)
		if proxy != want[0] || synapse != want[1] {
			t.Errorf("%s: proxy %v, Synapse %v", image, proxy, synapse)
		}
	}
	if who, ok := proxyContainer(n); !ok || who != "container gw (caddy:2)" {
		t.Errorf("the proxy is %q", who)
	}
}
