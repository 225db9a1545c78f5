package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// committed adds a finished run of example.org that has edited files of others.
func (d *onDisk) committed(t *testing.T, run string, n int, pairs ...string) string {
	t.Helper()
	dir := fmt.Sprintf("%s/runs/%s.example.org", d.dir, run)
	for i := 0; i+1 < len(pairs); i += 2 {
		j := fmt.Sprintf("%s/changes/%04d", dir, n+i/2)
		if err := os.MkdirAll(j, 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, j+"/touched", "")
		put(t, j+"/0.saved", "")
		put(t, j+"/0.foreign", "nginx\n/etc/nginx/site with blanks\n")
		put(t, j+"/0.old", pairs[i])
		put(t, j+"/0.new", pairs[i+1])
		put(t, j+"/1.old", "a file of our own, and its secret")
		put(t, j+"/1.new", "likewise")
	}
	put(t, dir+"/run", run+"\n")
	put(t, dir+"/committed", "")
	return dir
}

// What runs did to files of others outlives them, in their order, each once, until
// the site is taken away.
func TestOriginsOutliveRuns(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			d := newOnDisk(t, shell)
			kept := func() string {
				t.Helper()
				var out []string
				all, err := filepath.Glob(d.dir + "/origins/example.org/*/*")
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range all {
					rel, _ := strings.CutPrefix(p, d.dir+"/origins/example.org/")
					out = append(out, rel+": "+strings.TrimSpace(get(t, p)))
				}
				return strings.Join(out, "\n")
			}
			forget := func(dir string) {
				t.Helper()
				if out, err := d.lib("ec_forget " + dir); err != nil || exists(dir) {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			// The laptop of the second run had a clock that was slow.
			first := d.committed(t, "2026B", 3, "one", "two", "x", "y")
			if out, err := d.lib("ec_origins " + first); err != nil { // interrupted here, and begun again
				t.Fatalf("%v\n%s", err, out)
			}
			forget(first)
			forget(d.committed(t, "2026A", 1, "two", "three"))
			about := "nginx\n/etc/nginx/site with blanks"
			want := strings.Join([]string{
				"000001.2026B.0003.0/about: " + about, "000001.2026B.0003.0/after: two", "000001.2026B.0003.0/before: one",
				"000001.2026B.0004.0/about: " + about, "000001.2026B.0004.0/after: y", "000001.2026B.0004.0/before: x",
				"000002.2026A.0001.0/about: " + about, "000002.2026A.0001.0/after: three", "000002.2026A.0001.0/before: two"}, "\n")
			if got := kept(); got != want {
				t.Errorf("kept:\n%s", got)
			}
			// A run that was rolled back has done nothing.
			back := d.committed(t, "2026C", 1, "three", "four")
			if err := os.Rename(back+"/committed", back+"/reverted"); err != nil {
				t.Fatal(err)
			}
			forget(back)
			if got := kept(); got != want {
				t.Errorf("kept of a run that was rolled back:\n%s", got)
			}
			// One that was rolled back but for what somebody had edited still stands there.
			left := d.committed(t, "2026C", 1, "three", "four", "p", "q", "untouched", "")
			for _, mark := range []string{"conflict", "changes/0002/restored"} {
				put(t, left+"/"+mark, "")
			}
			for _, path := range []string{left + "/changes/0003/touched", left + "/changes/0003/0.saved", left + "/committed"} {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			put(t, left+"/reverted", "")
			forget(left)
			want += "\n" + strings.Join([]string{"000003.2026C.0001.0/about: " + about, "000003.2026C.0001.0/after: four", "000003.2026C.0001.0/before: three"}, "\n")
			if got := kept(); got != want {
				t.Errorf("kept of a run that was rolled back in part:\n%s", got)
			}
			gone := d.committed(t, "2026D", 1, "three", "zero")
			put(t, gone+"/destroys", "")
			forget(gone)
			if got := kept(); got != "" {
				t.Errorf("kept of a site that was taken away:\n%s", got)
			}
		})
	}
}

// A commit tidies up after the runs of its own site alone, though the name of another
// one ends alike.
func TestCommitLeavesOtherSitesAlone(t *testing.T) {
	d := newOnDisk(t, []string{"sh"})
	own := d.committed(t, "2026A", 1, "one", "two")
	other := d.dir + "/runs/2026A.staging.example.org"
	if err := os.MkdirAll(other, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, other+"/run", "2026A\n")
	put(t, other+"/committed", "")
	put(t, other+"/closed", "")
	if out, err := d.sh("sh " + d.run + "/commit.sh"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if exists(own) || !exists(other) {
		t.Errorf("its own earlier run is there: %v; the other site's: %v", exists(own), exists(other))
	}
}
