package steps

import "regexp"

var (
	// proxyImage finds images of proxies by the last part of their name.
	proxyImage = regexp.MustCompile(`(^|/)(nginx[a-z-]*|traefik|caddy[a-z-]*|haproxy|swag|httpd)(:|@|$)`)
	webPort    = regexp.MustCompile(`:(80|443)->`)
)

// proxyContainer is a container that takes what comes to the host's web ports.
func proxyContainer(n neighbours) (string, bool) {
	return n.Find(func(c runningContainer) bool {
		return proxyImage.MatchString(c.Image) && (c.Ports == "" || webPort.MatchString(c.Ports)) || webPort.MatchString(c.Ports)
	})
}
