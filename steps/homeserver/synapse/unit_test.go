package synapse

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
)

// unitStarting is what systemd says of a unit that runs with this command line, and what
// else is said of it.
func unitStarting(argv string, more ...string) string {
	return "LoadState=loaded\nActiveState=active\nUser=synapse\nExecStart={ path=/p ; argv[]=" + argv +
		" ; ignore_errors=no ; start_time=[Tue 2026-11-24 03:16:58 UTC] ; stop_time=[n/a] ; pid=527 ; code=(null) ; status=0/0 }\n" + strings.Join(more, "\n") + "\n"
}

func TestParseUnit(t *testing.T) {
	const venv = "/opt/synapse/venv/bin/"
	configs := []string{"/etc/synapse/homeserver.yaml", "/etc/synapse/conf.d"}
	for _, c := range []struct {
		name, out string
		want      unitFacts
	}{
		{name: "Debian's",
			out:  unitStarting("/usr/bin/python3 -m synapse.app.homeserver --config-path=/etc/synapse/homeserver.yaml --config-path=/etc/synapse/conf.d/"),
			want: unitFacts{Interpreter: "/usr/bin/python3", Configs: configs}},
		{name: "parted arguments", out: unitStarting(venv + "python -B -m synapse.app.homeserver -c /etc/synapse/homeserver.yaml --config-path /etc/synapse/conf.d/"),
			want: unitFacts{Interpreter: venv + "python", Configs: configs}},
		{name: "a virtualenv",
			out:  unitStarting(venv+"python -m synapse.app.homeserver -c /etc/synapse/homeserver.yaml", "Python="+venv+"python", "Virtualenv=/opt/synapse/venv"),
			want: unitFacts{Interpreter: venv + "python", Configs: configs[:1], Venv: "/opt/synapse/venv"}},
		{name: "a script", out: unitStarting(venv+"synapse_homeserver -c /etc/synapse/homeserver.yaml", "Python="+venv+"python3", "Virtualenv=/opt/synapse/venv"),
			want: unitFacts{Interpreter: venv + "python3", Configs: configs[:1], Venv: "/opt/synapse/venv"}},
		{name: "a script behind its Python", out: unitStarting(venv + "python -u " + venv + "synapse_homeserver -c /etc/synapse/homeserver.yaml"),
			want: unitFacts{Interpreter: venv + "python", Configs: configs[:1]}},
		{name: "relative to its folder",
			out:  unitStarting(venv+"python -m synapse.app.homeserver -c homeserver.yaml -c ../conf.d", "WorkingDirectory=!/etc/synapse"),
			want: unitFacts{Interpreter: venv + "python", Dir: "/etc/synapse", Configs: []string{"/etc/synapse/homeserver.yaml", "/etc/conf.d"}}},
		{name: "relative to a home", out: unitStarting(venv+"python -m synapse.app.homeserver -c homeserver.yaml", "WorkingDirectory=~"),
			want: unitFacts{Interpreter: venv + "python", Dir: "~", Configs: []string{"homeserver.yaml"}}},
		{name: "another program with such arguments",
			out:  unitStarting("/usr/bin/env sh -c docker start --attach matrix-synapse", "Python=/usr/bin/python", "Virtualenv=/usr"),
			want: unitFacts{Program: "/usr/bin/env"}},
		{name: "a wrapper", out: unitStarting("/usr/local/sbin/start-synapse -c /etc/synapse/homeserver.yaml -m synapse.app.homeserver"),
			want: unitFacts{Program: "/usr/local/sbin/start-synapse"}},
		{name: "a wrapper of Python", out: unitStarting("/usr/bin/env python3 -m synapse.app.homeserver -c /x.yaml"), want: unitFacts{Program: "/usr/bin/env"}},
		{name: "another module", out: unitStarting(venv + "python -m http.server -c /x.yaml"), want: unitFacts{Program: venv + "python"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.Found, c.want.Active, c.want.User = true, true, "synapse"
			if c.want.Dir == "" {
				c.want.Dir = "/"
			}
			got := parseUnit(host.Result{Stdout: []byte(c.out)})
			got.Argv = nil
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := parseUnit(host.Result{Stdout: []byte("LoadState=not-found\nActiveState=inactive\nPython=\n")}); !cmp.Equal(got, unitFacts{User: "root", Dir: "/"}) {
		t.Errorf("of no unit it reads %+v", got)
	}
}

// The variables of a command line come from the unit and its files, the files last.
func TestUnitEnvironment(t *testing.T) {
	const text = "# CONFIG=/no.yaml\n; CONFIG=/no.yaml\nCONFIG=\"/srv/hs/homeserver.yaml\"\nOPTIONS='-c /srv/a.yaml -c b.yaml'\n"
	o := suite.Fake{Files: map[string]string{"/etc/default/synapse": text}}
	const files = "EnvironmentFiles=/etc/default/none (ignore_errors=yes)\nEnvironmentFiles=/etc/default/synapse (ignore_errors=no)"
	for argv, want := range map[string]struct {
		configs []string
		problem string
	}{
		"-c ${CONFIG}":               {configs: []string{"/srv/hs/homeserver.yaml"}},
		"--config-path=${DIR}/x.yml": {configs: []string{"/srv/hs/x.yml"}},
		"$OPTIONS":                   {configs: []string{"/srv/a.yaml", "/srv/hs/b.yaml"}},
		"-c $OTHER":                  {configs: []string{"$OTHER"}, problem: "$OTHER is not a full path"},
		"-c /srv/${OTHER}.yaml":      {configs: []string{"/srv/${OTHER}.yaml"}, problem: "/srv/${OTHER}.yaml is not a full path"},
	} {
		said := unitStarting("/v/bin/python -m synapse.app.homeserver "+argv, "WorkingDirectory=/srv/hs", "Environment=CONFIG=/old.yaml \"DIR=/srv/hs\" X", files)
		u := parseUnit(host.Result{Stdout: []byte(said)})
		if err := u.readEnvironment(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.configs, u.Configs); diff != "" || !strings.HasPrefix(u.incomplete(), want.problem) || want.problem == "" && u.incomplete() != "" {
			t.Errorf("%s: %s %q", argv, diff, u.incomplete())
		}
	}
}

// The Python of a unit is found by the real sh, in real files; only what systemd says
// is not real.
func TestFindPython(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return p
	}
	python := write("venv/bin/python", "\x7fELF\x00\xff\n")
	write("venv/pyvenv.cfg", "")
	packaged := write("pkg/bin/python3", "")
	write("pkg/pyvenv.cfg", "")
	bare := write("usr/bin/python3.13", "")
	short := write("venv/bin/synapse_homeserver", "#!"+python+"\nimport sys\n")
	long := write("venv/bin/long", "#!/bin/sh\n'''exec' \"/a long/path/python\" \"$0\" \"$@\"\n")
	moved := write("usr/local/bin/synapse_homeserver", "#! "+bare+"\n")
	link := filepath.Join(dir, "usr/bin/linked")
	if err := os.Symlink(long, link); err != nil {
		t.Fatal(err)
	}
	write("tools/systemctl", "#!/bin/sh\nprintf '%s\\n' \"ExecStart={ path=$PROGRAM ; argv[]=$PROGRAM -c x ; ignore_errors=no }\" User=synapse\n")
	write("tools/dpkg-query", "#!/bin/sh\n[ \"$*\" != '-L matrix-synapse-py3' ] || echo '"+packaged+"'\n")
	venv := filepath.Dir(filepath.Dir(python))
	for program, want := range map[string]string{
		python:   python + " " + venv,
		packaged: packaged + " ",
		bare:     bare + " ",
		short:    python + " " + venv,
		long:     python + " " + venv,
		link:     python + " " + venv,
		moved:    bare + " ",
		"":       " ",
	} {
		cmd := exec.CommandContext(t.Context(), "sh", queryUnit("synapse.service").Argv[1:]...)
		cmd.Env = []string{"PATH=" + filepath.Join(dir, "tools") + ":" + os.Getenv("PATH"), "PROGRAM=" + program, "LC_ALL=C"}
		out, err := cmd.Output()
		var got [2]string
		for line := range strings.Lines(string(out)) {
			line = strings.TrimSuffix(line, "\n")
			if v, ok := strings.CutPrefix(line, "Python="); ok {
				got[0] = v
			}
			if v, ok := strings.CutPrefix(line, "Virtualenv="); ok {
				got[1] = v
			}
		}
		if strings.Join(got[:], " ") != want {
			t.Errorf("%s: %q, want %q (%v)", program, got, want, err)
		}
	}
}
