package steps

import (
	"context"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// SourceAddress finds the address with which a proxy's host reaches an SFU on
// another host, so that the firewall there opens to it alone.
func SourceAddress(site Site) Step {
	type found struct{ host, source string }
	probe := func(ctx context.Context, o host.Observer) (found, error) {
		res, err := o.Query(ctx, host.Cmd{Argv: []string{"ip", "-o", "route", "get", site.SFU.Bind}})
		if err != nil {
			return found{}, err
		}
		return found{o.Name(), parseRoute(res[0]).IP}, nil
	}
	share := func(f found, s *Shared) { s.Sources[f.host] = f.source }
	diff := func(f found, _ Shared) (Decision, error) {
		if f.source == "" {
			return Decision{Findings: []Finding{{Error, f.host + " has no route to " + site.SFU.Bind + ", where the SFU is to listen for it", "correct bind in sfu {}"}}}, nil
		}
		return Decision{}, nil
	}
	return Define("source-address", probe, share, diff)
}
