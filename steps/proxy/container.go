package proxy

import (
	"regexp"

	"github.com/emdecloud/ecdeploy/steps"
)

var (
	// proxyImage finds images of proxies by the last part of their name.
	proxyImage = regexp.MustCompile(`(^|/)(nginx[a-z-]*|traefik|caddy[a-z-]*|haproxy|swag|httpd)(:|@|$)`)
	webPort    = regexp.MustCompile(`:(80|443)->`)
)

// InContainer is a container that takes what comes to the host's web ports.
func InContainer(n steps.Neighbours) (string, bool) {
	return n.Find(func(c steps.RunningContainer) bool {
		return proxyImage.MatchString(c.Image) && (c.Ports == "" || webPort.MatchString(c.Ports)) || webPort.MatchString(c.Ports)
	})
}
