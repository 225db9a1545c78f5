package synapse

import (
	"strings"

	"al.essio.dev/pkg/shellescape"
	"golang.org/x/mod/semver"
)

// Origin is how a Synapse came to its host: the label of its variant.
type Origin string

// The origins of a Synapse that runs in a unit of its host.
const (
	Package Origin = "debian" // Debian's or matrix.org's package
	Venv    Origin = "venv"   // PyPI, in a virtualenv
)

const (
	debianUnit = "matrix-synapse.service"
	venvUnit   = "synapse.service"
)

// traits are what the origins differ in; all else is the same for each.
type traits struct {
	unit    string                   // the usual one
	configs []string                 // what its unit usually reads, asked for along with the unit; none where there is no usual place
	version func(unit string) string // sh text that prints the version; nothing where it is not there
	install string                   // what to do where there is no unit
	upgrade string                   // what to do where it is too old
	unknown string                   // why its version may be unknown
}

func (o Origin) traits() traits {
	if o == Venv {
		return traits{
			unit: venvUnit, version: askPython,
			install: `name the unit with unit = "..." in synapse "venv" {}`,
			upgrade: "upgrade it with `pip install --upgrade matrix-synapse` in its virtualenv, and restart it",
			unknown: "is unknown: the Python of its unit does not report one",
		}
	}
	return traits{
		unit: debianUnit, configs: []string{synapseDir + "/homeserver.yaml", synapseDir + "/conf.d"},
		version: func(string) string { return packageVersion },
		install: `apt install matrix-synapse, or name the unit with unit = "..." in synapse "debian" {}`,
		upgrade: "upgrade it, from Debian's backports or https://packages.matrix.org/debian/",
		unknown: "is unknown: it is of no Debian package",
	}
}

// packageVersion leaves out packages that were removed and left their
// configuration behind.
const packageVersion = `dpkg-query -W -f '${db:Status-Status} ${Version}\n' matrix-synapse-py3 matrix-synapse 2>/dev/null |
sed -n 's/^installed //p' | head -n 1`

// askPython asks the Python of a unit, as the unit's user: others than root may be
// able to write to a virtualenv. -B writes no bytecode.
func askPython(unit string) string {
	return "set -- " + shellescape.Quote(unit) + "\n" + findPython + `
user=$(printf '%s\n' "$show" | sed -n 's/^User=//p')
user=${user:-root}
cd / && timeout 10 setpriv --reuid="$user" --regid="$(id -g -- "$user")" --init-groups -- \
	"$python" -B -c 'import importlib.metadata as m; print(m.version("matrix-synapse"))' 2>/dev/null`
}

// upstreamVersion is "1.160.0" of "1.160.0-1~bpo12+1", "1:1.160.0" and "1.160.0rc1".
func upstreamVersion(s string) string {
	for line := range strings.Lines(s) {
		v := strings.TrimSpace(line)
		if _, after, ok := strings.Cut(v, ":"); ok {
			v = after
		}
		if i := strings.IndexFunc(v, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); i >= 0 {
			v = v[:i]
		}
		if v = strings.TrimRight(v, "."); semver.IsValid("v" + v) {
			return v
		}
	}
	return ""
}
