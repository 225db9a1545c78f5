package synapse

import (
	"context"
	"regexp"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// detectPackage finds the package's unit, unless somebody made it start a Synapse
// from a virtualenv.
func detectPackage(ctx context.Context, o host.Observer) ([]steps.Found, error) {
	res, err := o.Query(ctx, queryVersion(Package, debianUnit), queryUnit(debianUnit))
	if err != nil {
		return nil, err
	}
	version, unit := upstreamVersion(string(res[0].Stdout)), parseUnit(res[1])
	if version == "" || !unit.Found || unit.Venv != "" {
		return nil, nil
	}
	return []steps.Found{{Config: newService(Package, o.Name(), debianUnit), Sure: unit.Active,
		Why: "the package matrix-synapse " + version + " is installed on " + o.Name()}}, nil
}

// queryUnits lists units that may start Synapse's main process, whatever their names.
var queryUnits = host.Sh(`systemctl show --property=Id,ExecStart -- '*.service' 2>/dev/null |
awk 'BEGIN { RS = ""; FS = "\n" } /synapse[._](app[.])?homeserver/ { for (i = 1; i <= NF; i++) if (sub(/^Id=/, "", $i)) print $i }'`)

// serviceName is a name that a plan file can have for a unit.
var serviceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:_.@-]*\.service$`)

// maxUnits is how many of them are asked about.
const maxUnits = 8

// detectVenv finds the units that start a Synapse from a virtualenv of no package.
func detectVenv(ctx context.Context, o host.Observer) ([]steps.Found, error) {
	res, err := o.Query(ctx, queryUnits)
	if err != nil {
		return nil, err
	}
	var units []string
	var cmds []host.Cmd
	for u := range strings.FieldsSeq(string(res[0].Stdout)) {
		if !serviceName.MatchString(u) || len(units) == maxUnits {
			continue
		}
		units = append(units, u)
		cmds = append(cmds, queryUnit(u), queryVersion(Venv, u))
	}
	if len(cmds) == 0 {
		return nil, nil
	}
	if res, err = o.Query(ctx, cmds...); err != nil {
		return nil, err
	}
	var out []steps.Found
	for i, name := range units {
		unit, version := parseUnit(res[2*i]), upstreamVersion(string(res[2*i+1].Stdout))
		if !unit.Found || unit.Venv == "" || version == "" {
			continue
		}
		out = append(out, steps.Found{Config: newService(Venv, o.Name(), name), Sure: unit.Active,
			Why: name + " on " + o.Name() + " runs Synapse " + version + " from the virtualenv " + unit.Venv})
	}
	return out, nil
}

func queryVersion(from Origin, unit string) host.Cmd {
	return host.Sh(from.traits().version(unit))
}
