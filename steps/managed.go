package steps

import (
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// Neighbours are who else on a host may own nginx, Synapse and their files.
type Neighbours struct {
	Managers   []string // "matrix-docker-ansible-deploy (/matrix/synapse)"
	Containers []RunningContainer
}

// RunningContainer is a line of `docker ps`.
type RunningContainer struct {
	Name  string
	Image string
	Ports string // as `docker ps` writes them; "" with the host's network
}

// QueryNeighbours asks who else is on a host; its answer goes to ParseNeighbours.
var QueryNeighbours = host.Sh(`[ ! -d /matrix/synapse ] || echo 'manager	matrix-docker-ansible-deploy (/matrix/synapse)'
for d in /var/lib/rancher/k3s /etc/kubernetes/manifests /var/snap/microk8s; do
	[ ! -d $d ] || printf 'manager	a Kubernetes cluster as for ess-helm (%s)\n' $d
done
docker ps --format 'container	{{.Names}}	{{.Image}}	{{.Ports}}' 2>/dev/null
true`)

// ParseNeighbours reads the answer, passing over what it does not know.
func ParseNeighbours(r host.Result) Neighbours {
	var n Neighbours
	for line := range strings.Lines(string(r.Stdout)) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		switch {
		case f[0] == "manager" && len(f) == 2:
			n.Managers = append(n.Managers, f[1])
		case f[0] == "container" && len(f) == 4:
			n.Containers = append(n.Containers, RunningContainer{f[1], f[2], f[3]})
		}
	}
	return n
}

// Find names the first container that is what is asked for.
func (n Neighbours) Find(is func(RunningContainer) bool) (string, bool) {
	i := slices.IndexFunc(n.Containers, is)
	if i < 0 {
		return "", false
	}
	c := n.Containers[i]
	return "container " + c.Name + " (" + c.Image + ")", true
}

// Warn names who would overwrite what ecdeploy edits.
func (n Neighbours) Warn(on, what, wayOut string) []Finding {
	var out []Finding
	for _, m := range n.Managers {
		out = append(out, Warning.Finding(m+" is on "+on+": it would overwrite edits of "+what+" that are its own, and ecdeploy does not support it yet", wayOut))
	}
	return out
}
