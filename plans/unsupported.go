package plans

import (
	"fmt"
	"slices"
	"strings"
)

// notBuilt are blocks that are planned, by their names.
var notBuilt = map[string]struct{ what, wayOut string }{
	"web":    {"the Element Call app (web {})", "remove the block; people can call from Element, or from an Element Call app that you set up yourself"},
	"docker": {"installing Docker (docker {})", "remove the block and install Docker 20.10 or newer on the host yourself"},
}

// otherVariants are things that exist and have no variant here, by the kind
// of block that names them.
var otherVariants = map[string][]string{
	"synapse":  {"docker", "podman", "compose", "kubernetes", "helm", "ess-helm", "ess", "mdad", "ansible", "pip", "venv", "nix", "nixos", "workers", "source"},
	"proxy":    {"caddy", "traefik", "apache", "apache2", "haproxy", "docker", "nginx-docker", "nginx-proxy-manager", "npm", "cloudflare", "envoy", "lighttpd"},
	"firewall": {"firewalld", "nftables", "nft", "iptables", "hetzner", "cloud", "shorewall", "ferm"},
	"well_known": {
		"nginx", "caddy", "traefik", "apache", "synapse", "docker", "s3", "pages",
	},
}

// wayOut is the variant of a kind of block that leaves a thing to its owner.
var wayOut = map[string]string{
	"synapse":    `write synapse "external" { url = "https://..." }: ecdeploy then says which settings it needs, and checks them`,
	"proxy":      `write proxy "external" {}: ecdeploy then prints what it has to serve, and checks it`,
	"firewall":   `write firewall "none" {}: ecdeploy then says what must be open`,
	"well_known": `write well_known "external" {}: ecdeploy then prints what it has to say, and checks it`,
}

// unsupported notes a label that names no variant.
func (l *loader) unsupported(n *node, names []string) {
	near := nearest(n.label, names)
	switch {
	case slices.Contains(otherVariants[n.kind], strings.ToLower(n.label)) || near == "":
		l.fail(n.name, fmt.Sprintf("%s %q is not supported; supported are %s", n.kind, n.label, strings.Join(names, ", ")), wayOut[n.kind])
	default:
		l.fail(n.name, fmt.Sprintf("there is no %s %q", n.kind, n.label), fmt.Sprintf("did you mean %s %q?", n.kind, near))
	}
}
