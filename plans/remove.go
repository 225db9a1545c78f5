package plans

import (
	"context"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

// MakeRemoval plans to take a site away from its hosts again.
func MakeRemoval(ctx context.Context, f *File, site Site, hosts map[string]host.Observer) (SitePlan, error) {
	p, err := makePlan(ctx, site, placeRemoval(f, site), hosts, func(found credentials.Found) (livekit.Keys, error) { return found.Keys, nil })
	p.Destroys = true
	return p, err
}
