package auth

import (
	"context"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// paths checks, from the JWT service's own host and by public names, the two
// connections that the service makes for each join. It changes nothing. Without
// them every part answers for itself and yet nobody gets into a call.
func (c *Config) paths(site *steps.Site) steps.Step {
	// The container trusts its image's CAs, unless a file of CAs is given.
	public := c.CAFile == ""
	signalling, _ := site.Route(steps.Signalling)
	ca := ""
	if public {
		ca = "; for a private CA set auth.ca_file"
	}
	return steps.Define("ways",
		func(context.Context, host.Observer) (struct{}, error) { return struct{}{}, nil },
		nil,
		func(struct{}, steps.Shared) (steps.Decision, error) {
			return steps.Decision{Checks: []steps.Check{
				{
					Name: "the JWT service's host reaches LiveKit at " + signalling.URL, Timeout: 20 * time.Second,
					HTTP: &steps.HTTPCheck{URL: signalling.URL + "/", Status: 200, Body: "OK", Public: public},
					Hint: "from that host the name must lead to the proxy: where the router does not send its own public address " +
						"back (hairpin NAT), put the name into the host's /etc/hosts" + ca,
				},
				{
					Name: "the JWT service's host can ask the homeserver of " + site.Name + " who a user is", Timeout: 20 * time.Second,
					Identity: &steps.IdentityCheck{ServerName: site.Name, Public: public},
					Hint: "serve https://" + site.Domain() + `/.well-known/matrix/server as {"m.server": "matrix.` + site.Domain() +
						`:443"}, or federation on port 8448` + ca,
				},
			}}, nil
		})
}
