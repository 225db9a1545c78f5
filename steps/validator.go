package steps

import (
	"fmt"
	"strings"

	"al.essio.dev/pkg/shellescape"
)

// Validator is a program that looks at configuration files and fails where they are
// not good, as data.
type Validator struct {
	Argv []string `json:"argv"`
	Dir  string   `json:"dir,omitempty"`  // where it runs; default /
	User string   `json:"user,omitempty"` // who runs it; default root
	// Unit is a service that runs now, as which it runs: its user, its groups and its
	// environment, which stands in no argument. It goes before User.
	Unit string `json:"unit,omitempty"`
	Last bool   `json:"last,omitempty"` // only the last line of what it says is worth showing
}

// Text is the sh text that runs it, quiet where all is well.
func (v Validator) Text() string {
	cmd, before := shellescape.QuoteCommand(v.Argv), ""
	switch {
	case v.Unit != "":
		before, cmd = AsUnit(v.Unit), "ec_as_unit "+cmd
	case v.User != "" && v.User != "root":
		user := shellescape.Quote(v.User)
		cmd = "setpriv --reuid=" + user + ` --regid="$(id -g ` + user + `)" --init-groups -- ` + cmd
	}
	dir, show := "/", ""
	if v.Dir != "" {
		dir = v.Dir
	}
	if v.Last {
		show = " | tail -n 1"
	}
	return before + "cd " + shellescape.Quote(dir) + " && out=$(" + cmd + ` 2>&1) || { printf '%s\n' "$out"` + show + " >&2; exit 1; }"
}

// AsUnit is sh text that defines ec_as_unit ARG..., which runs a program as what a
// service runs as.
func AsUnit(unit string) string {
	return fmt.Sprintf(strings.TrimPrefix(asUnit, "\n"), shellescape.Quote(unit))
}

const asUnit = `
ec_as_unit() (
	p=$(systemctl show -p MainPID --value %s)
	is() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$p/status"; }
	[ -r "/proc/$p/environ" ] || exit 1
	g=$(is Groups | tr -s ' \t' ',,' | sed 's/,$//')
	set -- setpriv --reuid="$(is Uid | cut -f 1)" --regid="$(is Gid | cut -f 1)" ${g:+--groups="$g"} $([ -n "$g" ] || echo --clear-groups) -- "$@"
	while IFS= read -r e; do
		case ${e%%%%=*} in
		"$e" | '' | [0-9]* | *[!A-Za-z0-9_]* | IFS | UID | EUID | PPID | SHELLOPTS | BASHOPTS) ;;
		*) export "$e" ;;
		esac
	done <<END
$(tr '\0' '\n' <"/proc/$p/environ")
END
	exec "$@"
)
`
