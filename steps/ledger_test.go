package steps

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// ledgerHost is a folder that stands for a host's, in which a real shell asks.
type ledgerHost struct {
	t    *testing.T
	root string
}

func (h ledgerHost) put(path, text string) {
	h.t.Helper()
	path = filepath.Join(h.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// ask is what QueryLedger answers, without the machine.
func (h ledgerHost) ask() string {
	h.t.Helper()
	argv := slices.Clone(QueryLedger.Argv)
	for i, a := range argv {
		argv[i] = strings.ReplaceAll(a, "/etc/ecdeploy", h.root+"/etc")
		if a == Root {
			argv[i] = h.root
		}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+h.root+"/bin:"+os.Getenv("PATH"))
	out, err := cmd.Output()
	if err != nil {
		h.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(out), "\n")
	return strings.ReplaceAll(rest, h.root+"/etc", "/etc/ecdeploy")
}

func (h ledgerHost) ledger() Ledger { return ParseLedger(host.Result{Stdout: []byte(h.ask())}) }

// The ledger as a real shell reads it, of all sites.
func TestQueryLedger(t *testing.T) {
	h := ledgerHost{t, t.TempDir()}
	if got := h.ask(); got != "" {
		t.Errorf("where there is none: %s", got)
	}
	h.put("ledger/example.org/file-1/entry", `{"format":1,"kind":"file","name":"/etc/a b","stage":"sfu","step":"livekit","later":"unknown"}`+"\n")
	h.put("ledger/example.org/file-1/sum", "aa\n")
	h.put("ledger/example.org/lines-R-0001-0/entry", `{"format":1,"kind":"lines","name":"/etc/f","reader":{"unit":"nginx.service","action":"reload"}}`+"\n")
	h.put("ledger/example.org/.new.file-2/entry", "{")
	h.put("ledger/other.org/container-1/entry", `{"format":1,"kind":"container","name":"c","stop":{"grace":30}}`+"\n")
	want := Ledger{Entries: []Entry{
		{ID: "file-1", Site: "example.org", Format: 1, Kind: EntryFile, Name: "/etc/a b", Stage: StageSFU, Step: "livekit"},
		{ID: "lines-R-0001-0", Site: "example.org", Format: 1, Kind: EntryLines, Name: "/etc/f", Reader: &Reader{Unit: "nginx.service", Action: "reload"}},
		{ID: "container-1", Site: "other.org", Format: 1, Kind: EntryContainer, Name: "c", Stop: &Stop{Grace: 30}},
	}}
	got := h.ledger()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Entry{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want.Entries[:2], got.Of("example.org"), cmp.AllowUnexported(Entry{})); diff != "" {
		t.Error(diff)
	}
}

// Our files and containers that the ledger does not have are found by their places and
// labels.
func TestQueryLost(t *testing.T) {
	h := ledgerHost{t, t.TempDir()}
	h.put("ledger/example.org/file-1/entry", `{"format":1,"kind":"file","name":"`+h.root+`/etc/example.org/auth/key"}`+"\n")
	h.put("etc/example.org/auth/key", "k")
	h.put("bin/docker", "#!/bin/sh\nprintf 'ours\\texample.org\\tlivekit-sfu\\nours\\texample.org\\tlivekit-sfu.ecdeploy-R\\nours\\tother.org\\tc\\n'\n")
	if err := os.Chmod(h.root+"/bin/docker", 0o700); err != nil {
		t.Fatal(err)
	}
	if got := h.ask(); strings.Contains(got, "lost") || strings.Contains(got, "ours") {
		t.Errorf("nothing was lost: %s", got)
	}
	h.put("etc/example.org/sfu/keys.yaml", "k")
	var got []string
	for _, e := range h.ledger().Entries {
		if e.Lost {
			got = append(got, e.Site+" "+string(e.Kind)+" "+e.Name+" of "+string(e.Stage)+" "+e.Step)
		}
	}
	want := []string{"example.org file /etc/ecdeploy/example.org/sfu/keys.yaml of sfu sfu", "example.org container livekit-sfu of auth container", "other.org container c of auth container"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The layers of runs before the ledger, as a real shell finds them, oldest first, each
// site's own.
func TestQueryLayers(t *testing.T) {
	h := ledgerHost{t, t.TempDir()}
	run := func(id string, marks ...string) {
		dir := "runs/" + id + ".example.org/"
		h.put(dir+"run", id+"\n")
		h.put(dir+"changes/0002/0.foreign", "nginx\n/etc/nginx/a b\n")
		h.put(dir+"changes/0003/1.foreign", "Synapse\n/etc/s.yaml\n")
		h.put(dir+"changes/0004/0.foreign", "Synapse\nnever touched\n")
		marks = append(marks, "changes/0002/0.saved", "changes/0002/touched", "changes/0003/1.saved", "changes/0003/touched")
		for _, m := range marks {
			h.put(dir+m, "")
		}
	}
	list := func() string {
		t.Helper()
		var out []string
		l := h.ledger()
		if l.Problem != "" {
			t.Error(l.Problem)
		}
		for _, e := range l.Of("example.org") {
			before, after := e.imagePaths()
			out = append(out, strings.TrimPrefix(before, Root+"/")+" "+path.Base(after)+": "+e.Title+" "+e.Name)
		}
		return strings.Join(out, "\n")
	}
	h.put("origins/example.org/000002.R9.0001.0/about", "nginx\n/etc/nginx/a b\n")
	h.put("origins/example.org/000010.R1.0001.0/about", "nginx\n/etc/nginx/a b\n")
	h.put("origins/example.org/000011.R1.0001.0/about", "nginx\n/etc/nginx/taken back\n")
	h.put("origins/example.org/000011.R1.0001.0/taken", "")
	h.put("origins/other.org/000001.R1.0001.0/about", "nginx\n/etc/nginx/other\n")
	run("R1", "committed", "layered") // its layers moved already
	run("R2", "reverted")
	run("R3", "reverted", "conflict", "changes/0002/restored")
	run("R3b", "reverted", "conflict", "destroys")
	run("R4", "committed")
	h.put("runs/R4.staging.example.org/run", "R4\n")
	h.put("runs/R4.staging.example.org/committed", "")
	h.put("runs/R4.staging.example.org/destroys", "")
	h.put("runs/R4.staging.example.org/changes/0001/0.foreign", "nginx\nstaging\n")
	h.put("runs/R4.staging.example.org/changes/0001/0.saved", "")
	h.put("runs/R4.staging.example.org/changes/0001/touched", "")
	const origins = "origins/example.org/000002.R9.0001.0/before after: nginx /etc/nginx/a b\norigins/example.org/000010.R1.0001.0/before after: nginx /etc/nginx/a b\n"
	layer := func(dir, what string) string {
		return "runs/" + dir + ".old " + path.Base(dir) + ".new: " + what + "\n"
	}
	want := origins + layer("R3.example.org/changes/0003/1", "Synapse /etc/s.yaml") +
		layer("R4.example.org/changes/0002/0", "nginx /etc/nginx/a b") + layer("R4.example.org/changes/0003/1", "Synapse /etc/s.yaml")
	if diff := cmp.Diff(want, list()+"\n"); diff != "" {
		t.Error(diff)
	}
	run("R5", "committed", "destroys") // what these runs did is gone since
	run("R6", "committed")             // deployed again
	h.put("runs/R6.example.org/changes/0003/1.taken", "")
	if diff := cmp.Diff(origins+layer("R6.example.org/changes/0002/0", "nginx /etc/nginx/a b"), list()+"\n"); diff != "" {
		t.Error(diff)
	}
}

// What is not all known is a problem; what can be read of it is there.
func TestParseLedger(t *testing.T) {
	const right = "entry\texample.org/file-1\t0\t" + `{"format":1,"kind":"file","name":"/f"}` + "\n"
	for _, c := range []struct {
		name    string
		result  host.Result
		machine string
		entries int
		problem string
	}{
		{"nothing", host.Result{}, "", 0, ""},
		{"one", host.Result{Stdout: []byte("machine\tm1\n" + right)}, "m1", 1, ""},
		{"a newer one", host.Result{Stdout: []byte("machine\tm1\nentry\texample.org/x\t0\t" + `{"format":2,"kind":"file","name":"/g"}` + "\n" + right)},
			"m1", 1, "its ledger was written by a newer ecdeploy (format 2; this one knows 1)"},
		{"of a kind that nobody knows", host.Result{Stdout: []byte("entry\texample.org/x\t0\t" + `{"format":1,"kind":"toy","name":"x"}` + "\n")}, "", 1, ""},
		{"junk", host.Result{Stdout: []byte(right + "entry\texample.org/file-2\t0\t{\n")}, "", 1, "its ledger cannot be read: /var/lib/ecdeploy/ledger/example.org/file-2"},
		{"without a name", host.Result{Stdout: []byte("entry\texample.org/x\t0\t" + `{"format":1,"kind":"file"}` + "\n")}, "", 0, "its ledger cannot be read"},
		{"a name that writes to terminals", host.Result{Stdout: []byte("entry\texample.org/x\t0\t" + `{"format":1,"kind":"file","name":"/\u001b[1m"}` + "\n")}, "", 0,
			"its ledger cannot be read"},
		{"of no site", host.Result{Stdout: []byte("entry\tx\t0\t" + `{"format":1,"kind":"file","name":"/f"}` + "\n")}, "", 0, "its ledger cannot be read"},
		{"a lost file", host.Result{Stdout: []byte("lost\texample.org\t/f\n")}, "", 1, ""},
		{"a file that is only said to be lost", host.Result{Stdout: []byte(right + "lost\texample.org\t/f\n")}, "", 1, ""},
		{"another site's lost file of that name", host.Result{Stdout: []byte(right + "lost\tother.org\t/f\n")}, "", 2, ""},
		{"a lost file whose name writes to terminals", host.Result{Stdout: []byte("lost\texample.org\t/f\x1b[1m\n")}, "", 0, ""},
		{"a layer that is cut off", host.Result{Stdout: []byte("layer\texample.org\torigins/x\n")}, "", 0, ""},
		{"cut off", host.Result{Stdout: []byte(right), Truncated: true}, "", 0, "its ledger cannot be read"},
		{"it fails", host.Result{Code: 1, Stderr: []byte("cat: Permission denied\n")}, "", 0, "cat: Permission denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := ParseLedger(c.result)
			if l.Machine != c.machine || len(l.Entries) != c.entries || !strings.HasPrefix(l.Problem, c.problem) || (c.problem == "") != (l.Problem == "") {
				t.Errorf("%+v", l)
			}
		})
	}
}
