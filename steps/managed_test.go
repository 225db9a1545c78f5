package steps

import (
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
)

func TestParseNeighbours(t *testing.T) {
	n := ParseNeighbours(host.Result{Stdout: []byte("manager\ta Kubernetes cluster as for ess-helm (/etc/kubernetes/manifests)\n" +
		"container\tapp\tghcr.io/element-hq/element-call:v0.28.1\t127.0.0.1:8090->8080/tcp\n" +
		"container\tgw\tcaddy:2\t0.0.0.0:80->80/tcp, [::]:443->443/tcp\ncontainer\ths\tmatrixdotorg/synapse:latest\t\n")})
	if len(n.Managers) != 1 || len(n.Containers) != 3 {
		t.Fatalf("got %+v", n)
	}
}
