package steps

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The layers of a site as a real shell finds them, oldest first.
func TestQueryOrigins(t *testing.T) {
	root := t.TempDir()
	put := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(id string, marks ...string) {
		dir := "runs/" + id + ".example.org/"
		put(dir+"run", id+"\n")
		put(dir+"changes/0002/0.foreign", "nginx\n/etc/nginx/a b\n")
		put(dir+"changes/0003/1.foreign", "Synapse\n/etc/s.yaml\n")
		put(dir+"changes/0004/0.foreign", "Synapse\nnever touched\n")
		marks = append(marks, "changes/0002/0.saved", "changes/0002/touched", "changes/0003/1.saved", "changes/0003/touched")
		for _, m := range marks {
			put(dir+m, "")
		}
	}
	list := func() string {
		t.Helper()
		argv := QueryOrigins(&Site{Name: "example.org"}).Argv
		for i, a := range argv {
			if a == Root {
				argv[i] = root
			}
		}
		out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return strings.ReplaceAll(string(out), root+"/", "")
	}
	if got := strings.TrimSpace(list()); got != "" {
		t.Error(got)
	}
	put("origins/example.org/000002.R9.0001.0/about", "nginx\n/etc/nginx/a b\n")
	put("origins/example.org/000010.R1.0001.0/about", "nginx\n/etc/nginx/a b\n")
	put("origins/other.org/000001.R1.0001.0/about", "nginx\n/etc/nginx/other\n")
	run("R1", "committed") // its layers moved already; interrupted before its folder went
	run("R2", "reverted")
	run("R3", "reverted", "conflict", "changes/0002/restored")
	run("R3a", "committed", "layered") // its folder could not be removed
	run("R3b", "reverted", "conflict", "destroys")
	run("R4", "committed")
	put("runs/R4.staging.example.org/run", "R4\n")
	put("runs/R4.staging.example.org/committed", "")
	put("runs/R4.staging.example.org/destroys", "")
	put("runs/R4.staging.example.org/changes/0001/0.foreign", "nginx\nstaging\n")
	put("runs/R4.staging.example.org/changes/0001/0.saved", "")
	put("runs/R4.staging.example.org/changes/0001/touched", "")
	layer := func(dir, title, path string) string {
		return "runs/" + dir + ".old\truns/" + dir + ".new\t" + title + "\t" + path + "\n"
	}
	want := "origins/example.org/000002.R9.0001.0/before\torigins/example.org/000002.R9.0001.0/after\tnginx\t/etc/nginx/a b\n" +
		"origins/example.org/000010.R1.0001.0/before\torigins/example.org/000010.R1.0001.0/after\tnginx\t/etc/nginx/a b\n" +
		layer("R3.example.org/changes/0003/1", "Synapse", "/etc/s.yaml") +
		layer("R4.example.org/changes/0002/0", "nginx", "/etc/nginx/a b") +
		layer("R4.example.org/changes/0003/1", "Synapse", "/etc/s.yaml")
	if diff := cmp.Diff(want, list()); diff != "" {
		t.Error(diff)
	}
	run("R5", "committed", "destroys")
	if got := strings.TrimSpace(list()); got != "" {
		t.Errorf("a site that was taken away has layers:\n%s", got)
	}
	// Deployed again.
	run("R6", "committed")
	want = layer("R6.example.org/changes/0002/0", "nginx", "/etc/nginx/a b") + layer("R6.example.org/changes/0003/1", "Synapse", "/etc/s.yaml")
	if diff := cmp.Diff(want, strings.TrimLeft(list(), "\n")); diff != "" {
		t.Error(diff)
	}
}
