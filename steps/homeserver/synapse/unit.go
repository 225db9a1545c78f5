package synapse

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// unitFacts are what systemd says of Synapse's unit.
type unitFacts struct {
	Found       bool
	Active      bool
	User        string
	Dir         string   // where it is started: config paths may be relative to it
	Interpreter string   // the Python that runs it
	Configs     []string // the arguments of --config-path, in order
	Program     string   // what is started, where it is not a program of Synapse's
	Venv        string   // the virtualenv of the Python; "" for none, and for that of a package
	Argv        []string // as systemd has it: variables are not filled in yet
	Environment environment
}

// findPython sets show to what systemd says of the unit $1, and python to the Python
// that runs it. Scripts made by pip name it in their first line, unless its path is
// long; then it is next to the script.
const findPython = `show=$(systemctl show --property=LoadState,ActiveState,User,WorkingDirectory,Environment,EnvironmentFiles,ExecStart -- "$1")
python=$(printf '%s\n' "$show" | sed -n 's/^ExecStart={ path=\(.*\) ; argv\[\]=.*/\1/p' | head -n 1)
case ${python##*/} in
'' | python* | pypy*) ;;
*)
	script=$(readlink -f -- "$python")
	python=$(head -c 512 -- "$script" 2>/dev/null | sed -n '1s/^#! *\(\/[^ ]*\/python[^ ]*\)$/\1/p')
	[ -x "$python" ] || python=${script%/*}/python
	;;
esac`

// queryUnit asks for what parseUnit reads.
func queryUnit(unit string) host.Cmd {
	return host.Sh(findPython+`
printf '%s\nPython=%s\n' "$show" "$python"
venv=${python%/bin/*}
[ ! -f "$venv/pyvenv.cfg" ] || dpkg-query -L matrix-synapse-py3 2>/dev/null | grep -qxF -- "$python" || printf 'Virtualenv=%s\n' "$venv"`, unit)
}

// parseUnit reads the answer. ExecStart is one line: "{ path=... ; argv[]=python -m
// synapse.app.homeserver --config-path=A ... ; ... }".
func parseUnit(r host.Result) unitFacts {
	u := unitFacts{User: "root", Dir: "/"}
	for line := range strings.Lines(string(r.Stdout)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch k {
		case "LoadState":
			u.Found = v == "loaded"
		case "ActiveState":
			u.Active = v == "active"
		case "User":
			u.User = cmp.Or(v, "root")
		case "WorkingDirectory": // "!": it need not be there
			u.Dir = cmp.Or(strings.TrimPrefix(v, "!"), "/")
		case "Environment":
			u.Environment.set(v)
		case "EnvironmentFiles": // "/etc/default/synapse (ignore_errors=yes)"
			file, _, _ := strings.Cut(v, " (")
			u.Environment.Files = append(u.Environment.Files, file)
		case "ExecStart":
			_, argv, _ := strings.Cut(v, "argv[]=")
			argv, _, _ = strings.Cut(argv, " ;")
			u.Argv = strings.Fields(argv)
		case "Python":
			u.Interpreter = v
		case "Virtualenv":
			u.Venv = v
		}
	}
	u.parseArgv(u.Argv)
	return u
}

// parseArgv takes what starts Synapse itself and nothing else: in the unit of a
// Synapse in a container, -c is the shell's.
func (u *unitFacts) parseArgv(argv []string) {
	u.Configs, u.Program = nil, ""
	args, ok := synapseArgs(argv)
	if !ok {
		u.Interpreter, u.Venv = "", ""
		if len(argv) > 0 {
			u.Program = argv[0]
		}
		return
	}
	u.Interpreter = cmp.Or(u.Interpreter, argv[0])
	for i, a := range args {
		p, found := strings.CutPrefix(a, "--config-path=")
		if (a == "--config-path" || a == "-c") && i+1 < len(args) {
			p, found = args[i+1], true
		}
		if !found || p == "" {
			continue
		}
		if !path.IsAbs(p) && path.IsAbs(u.Dir) && !strings.HasPrefix(p, "$") {
			p = path.Join(u.Dir, p)
		}
		u.Configs = append(u.Configs, path.Clean(p))
	}
}

// synapseArgs are the arguments of Synapse's main process, which is started as
// `python -m synapse.app.homeserver` or as a script that pip makes of it.
func synapseArgs(argv []string) ([]string, bool) {
	isScript := func(i int) bool { return i < len(argv) && path.Base(argv[i]) == "synapse_homeserver" }
	if isScript(0) {
		return argv[1:], true
	}
	i := slices.IndexFunc(argv[min(1, len(argv)):], func(a string) bool { return a == "-m" || !strings.HasPrefix(a, "-") }) + 1
	switch {
	case i == 0:
		return nil, false
	case isScript(i):
		return argv[i+1:], true
	case argv[i] == "-m" && i+1 < len(argv) && strings.HasPrefix(argv[i+1], "synapse."):
		return argv[i+2:], true
	}
	return nil, false
}

// readEnvironment fills in the variables of the command line, for which files may have
// to be read.
func (u *unitFacts) readEnvironment(ctx context.Context, o host.Observer) error {
	if !u.Environment.needed(u.Argv) {
		return nil
	}
	if len(u.Environment.Files) > 0 {
		files, err := o.Read(ctx, u.Environment.Files...)
		if err != nil {
			return err
		}
		u.Environment.read(files)
	}
	u.parseArgv(u.Environment.fill(u.Argv))
	return nil
}

// folder is where the unit's programs start; "/" where only systemd knows it.
func (u *unitFacts) folder() string {
	if !path.IsAbs(u.Dir) {
		return "/"
	}
	return u.Dir
}

// incomplete says why a path on the command line is not known; "" where all are.
func (u *unitFacts) incomplete() string {
	for _, p := range u.Configs {
		if !path.IsAbs(p) || strings.Contains(p, "$") {
			return p + " is not a full path, and neither WorkingDirectory= nor Environment= nor EnvironmentFile= of its unit completes it"
		}
	}
	return ""
}
