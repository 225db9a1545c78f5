package caddy

import (
	"path"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// unitFacts are what systemd says of Caddy.
type unitFacts struct {
	found   bool
	active  bool
	api     bool   // caddy-api.service runs, which keeps what its API is told
	program string // that the unit starts
	config  string // path of the Caddyfile
	envFile string // --envfile; "" for none
	problem string // what of the unit's start ecdeploy does not support
}

var queryUnits = host.Cmd{Argv: []string{"systemctl", "show", "--property=Id,LoadState,ActiveState,ExecStart", "--", unit, "caddy-api.service"}}

// parseUnits reads `systemctl show`: a block for each unit, with an empty line in
// between. ExecStart is one line: "{ path=... ; argv[]=/usr/bin/caddy run ... ; ... }".
func parseUnits(r host.Result) unitFacts {
	u := unitFacts{config: usualMain, program: "caddy"}
	for block := range strings.SplitSeq(string(r.Stdout), "\n\n") {
		values := map[string]string{}
		for line := range strings.Lines(block) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
			values[k] = v
		}
		active := values["ActiveState"] == "active"
		if values["Id"] != unit {
			u.api = u.api || values["Id"] == "caddy-api.service" && active
			continue
		}
		if u.found = values["LoadState"] == "loaded"; !u.found {
			continue
		}
		u.active = active
		_, argv, _ := strings.Cut(values["ExecStart"], "argv[]=")
		argv, _, _ = strings.Cut(argv, " ;")
		u.parseArgv(strings.Fields(argv))
	}
	return u
}

// parseArgv reads `caddy run --config PATH ...`.
func (u *unitFacts) parseArgv(argv []string) {
	if len(argv) < 2 || argv[1] != "run" || !strings.HasPrefix(path.Base(argv[0]), "caddy") {
		u.problem = unit + " does not start `caddy run`"
		return
	}
	u.program = argv[0]
	config, adapter := "", ""
	for i := 2; i < len(argv); i++ {
		flag, value, given := strings.Cut(strings.TrimLeft(argv[i], "-"), "=")
		if !given && i+1 < len(argv) {
			value = argv[i+1]
		}
		switch flag {
		case "config", "c":
			config = value
		case "adapter", "a":
			adapter = value
		case "envfile":
			u.envFile = value
		case "resume", "r":
			u.problem = unit + " runs Caddy with --resume: its configuration is what its API was told, not a Caddyfile"
			return
		}
	}
	name := path.Base(config)
	isCaddyfile := strings.HasPrefix(name, "Caddyfile") && path.Ext(name) != ".json" || path.Ext(name) == ".caddyfile"
	switch {
	case config == "":
		u.problem = unit + " names no --config"
	case !path.IsAbs(config):
		u.problem = unit + " names a --config that is not an absolute path: " + config
	case adapter != "" && adapter != "caddyfile", adapter == "" && !isCaddyfile:
		u.problem = config + ", which " + unit + " names with --config, is no Caddyfile"
	default:
		u.config = path.Clean(config)
	}
}

// checker is Caddy's own check. It opens log files and makes certificates of Caddy's
// own authority as a start does; made by root they would keep Caddy out.
func (u unitFacts) checker() *steps.Validator {
	argv := []string{u.program, "validate", "--config", u.config, "--adapter", "caddyfile"}
	if u.envFile != "" {
		argv = append(argv, "--envfile", u.envFile)
	}
	return &steps.Validator{Argv: argv, Unit: unit, Last: true}
}

// queryEnviron is the environment of Caddy's process, which fills {$NAME} in.
var queryEnviron = host.Sh(`p=$(systemctl show -p MainPID --value ` + unit + ` 2>/dev/null)
[ "${p:-0}" = 0 ] || cat "/proc/$p/environ"`)

func parseEnviron(r host.Result) map[string]string {
	if !r.OK() || len(r.Stdout) == 0 {
		return nil
	}
	out := map[string]string{}
	for v := range strings.SplitSeq(string(r.Stdout), "\x00") {
		if name, value, ok := strings.Cut(v, "="); ok {
			out[name] = value
		}
	}
	return out
}

// queryRunning prints "refused" and Caddy's words where Caddy does not take the
// Caddyfile, and "other" where it last loaded something else than what the Caddyfile
// says now: it was edited since, or the API was used. Caddy keeps what it loaded as
// JSON, with its keys in another order.
func queryRunning(u unitFacts) host.Cmd {
	return host.Sh(steps.AsUnit(unit)+`sum() { tr '{}[],:' '\n\n\n\n\n\n' | LC_ALL=C sort | cksum; }
[ -e "$2" ] && ec_as_unit true || exit 0
new=$(ec_as_unit "$1" adapt --config "$2" --adapter caddyfile 2>/dev/null) || {
	why=$(ec_as_unit "$1" adapt --config "$2" --adapter caddyfile 2>&1 >/dev/null | tail -n 1)
	printf 'refused %s\n' "${why#Error: }"
	exit
}
old=$(ec_as_unit sh -c 'cat "${XDG_CONFIG_HOME:-$HOME/.config}/caddy/autosave.json"' 2>/dev/null) && [ -n "$old" ] || exit 0
[ "$(printf %s "$old" | sum)" = "$(printf %s "$new" | sum)" ] || echo other`, u.program, u.config)
}

// queryClosed lists files that Caddy cannot read: "missing" or "closed", a tab, PATH.
func queryClosed(paths ...string) host.Cmd {
	return host.Sh(steps.AsUnit(unit)+`for f; do
	if [ ! -e "$f" ]; then printf 'missing\t%s\n' "$f"; elif ! ec_as_unit test -r "$f"; then printf 'closed\t%s\n' "$f"; fi
done`, paths...)
}

// version is "2.11.4" of "2.11.4" or "v2.6.2 h1:..."; "" where it is not known.
func version(r host.Result) string {
	word, _, _ := strings.Cut(strings.TrimSpace(string(r.Stdout)), " ")
	if v := "v" + strings.TrimPrefix(word, "v"); semver.IsValid(v) {
		return v[1:]
	}
	return ""
}

func olderThan(version, than string) bool {
	return version != "" && semver.Compare("v"+version, "v"+than) < 0
}
