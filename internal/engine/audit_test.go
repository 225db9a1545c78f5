package engine

import (
	"os"
	"strings"
	"testing"
)

// What the shells write, the laptop can check; what somebody does to it shows.
func TestAudit(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			d := newOnDisk(t, shell)
			log := d.dir + "/audit.log"
			write := func(event, text string) {
				t.Helper()
				if out, err := d.lib(audited(event, text)); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			write("begun", "it's $(touch /tmp/x) `x` =0000")
			write("done", "two\nlines\x1b[31m")
			write("committed", "")
			whole := get(t, log)
			a := checkAudit(whole, AuditHead{}, AuditHead{}, true)
			if len(a.Flaws) > 0 || a.Torn > 0 || len(a.Entries) != 3 {
				t.Fatalf("%+v\n%s", a, whole)
			}
			if e := a.Entries[0]; e.N != 1 || e.Run != "R" || e.Event != "begun" || e.Text != "it's $(touch /tmp/x) `x` =0000" || e.Time.IsZero() {
				t.Errorf("%+v", e)
			}
			if e := a.Entries[1]; e.Text != "two lines [31m" {
				t.Errorf("%q", e.Text)
			}
			if st, err := os.Stat(log); err != nil || st.Mode().Perm() != 0o600 {
				t.Error(st.Mode(), err)
			}
			// Torn by a full disk, and by a power failure; the next line is whole all the same.
			put(t, log, whole+"4 2026-01-01T00:00:00Z R done + cont")
			write("done", "after the torn one")
			put(t, log, get(t, log)+"\x00\x00\x00")
			write("done", "after zeros")
			torn := get(t, log)
			if b := checkAudit(torn, a.Entries[2].AuditHead, AuditHead{}, true); len(b.Flaws) > 0 || b.Torn != 2 || len(b.Entries) != 5 || b.Entries[4].N != 5 {
				t.Errorf("%+v\n%q", b, torn)
			}
			entries := checkAudit(torn, AuditHead{}, AuditHead{}, true).Entries
			head := entries[4].AuditHead
			since := func(seen AuditHead) (AuditHead, bool) {
				out, err := d.lib("echo other; " + askAudit(seen))
				if err != nil {
					t.Fatal(err, out)
				}
				if got := withoutAudit([]byte(out)); got != "other\n" {
					t.Errorf("%q", got)
				}
				return auditSince([]byte(out), seen)
			}
			for _, seen := range []AuditHead{{}, entries[0].AuditHead, entries[3].AuditHead, head} {
				if got, truncated := since(seen); got != head || truncated {
					t.Errorf("since %v: %v, %v", seen, got, truncated)
				}
			}
			if got, truncated := since(AuditHead{5, strings.Repeat("0", 64)}); !got.IsZero() || !truncated {
				t.Errorf("%v, %v", got, truncated)
			}
			// Whoever did not get so far as to look says nothing of the log.
			if got, truncated := auditSince([]byte("freed\n"), head); !got.IsZero() || truncated {
				t.Errorf("nobody looked: %v, %v", got, truncated)
			}
			// Who rewrites the log and brings in the hash that the laptop knows.
			put(t, log, "x ="+entries[2].Hash+"\n"+strings.Replace(torn, "after zeros", "nothing at all", 1))
			if got, truncated := since(entries[2].AuditHead); !got.IsZero() || !truncated {
				t.Errorf("a log that was rewritten: %v, %v", got, truncated)
			}
			put(t, log, torn)
			lines := strings.SplitAfter(torn, "\n")
			for name, c := range map[string]struct {
				text string
				seen AuditHead
				want string
			}{
				"changed":           {strings.Replace(torn, "begun", "ended", 1), AuditHead{}, "line 1 is not what was written"},
				"one taken out":     {lines[0] + strings.Join(lines[2:], ""), AuditHead{}, "line 3 follows line 1"},
				"swapped":           {lines[1] + lines[0] + strings.Join(lines[2:], ""), AuditHead{}, "line 2 follows line 0"},
				"end missing":       {strings.Join(lines[:3], ""), head, "line 5, which this laptop has seen, is not there"},
				"beginning missing": {strings.Join(lines[1:], ""), AuditHead{}, "line 2 follows line 0"},
				"gone":              {"", head, "line 5, which this laptop has seen, is not there"},
				"rewritten":         {strings.Replace(lines[0], "begun", "other", 1), head, "line 5, which this laptop has seen"},
			} {
				if got := strings.Join(checkAudit(c.text, c.seen, AuditHead{}, true).Flaws, "; "); !strings.Contains(got, c.want) {
					t.Errorf("%s: %q", name, got)
				}
			}
			// What a person has accepted is not said again.
			b := checkAudit(strings.Replace(torn, "begun", "ended", 1), AuditHead{}, entries[1].AuditHead, true)
			if len(b.Flaws) > 0 || b.Taken != 1 {
				t.Errorf("%+v", b)
			}
			// A part of a long log, from somewhere on.
			if b := checkAudit(strings.Join(lines[1:], ""), AuditHead{N: 1, Hash: "older than the part"}, AuditHead{}, false); len(b.Flaws) > 0 {
				t.Errorf("%+v", b)
			}
		})
	}
}

// A rollback and a commit say so, each once, however often they are run.
func TestAuditOfEndings(t *testing.T) {
	events := func(t *testing.T, d *onDisk) string {
		t.Helper()
		a := checkAudit(get(t, d.dir+"/audit.log"), AuditHead{}, AuditHead{}, true)
		if len(a.Flaws) > 0 || a.Torn > 0 {
			t.Errorf("%+v", a)
		}
		var out []string
		for _, e := range a.Entries {
			text, _, _ := strings.Cut(e.Text, "by the host itself") // or, where an SSH login runs this test, from where
			text, _, _ = strings.Cut(text, "from ")
			out = append(out, strings.TrimSpace(e.Event+" "+text))
		}
		return strings.Join(out, "\n")
	}
	d := newOnDisk(t, shells[0])
	d.placed(t, 1)
	put(t, d.run+"/changes/0001/title", "nginx\n")
	gate := t.TempDir() + "/gate"
	undo := get(t, d.run+"/changes/0001/undo.sh")
	put(t, d.run+"/changes/0001/undo.sh", "[ -e "+gate+" ] || exit 1\n"+undo)
	for range 2 {
		if _, code := d.rollback(t); code != 1 {
			t.Fatal(code)
		}
	}
	put(t, gate, "")
	for range 2 {
		if out, code := d.rollback(t); code != 0 {
			t.Fatal(code, out)
		}
	}
	if got := events(t, d); got != "taken-back\nnot-undone nginx, at the first try\nundone nginx\nrolled-back whole" {
		t.Error(got)
	}
	d = newOnDisk(t, shells[0])
	for range 2 {
		if out, err := d.sh("sh " + d.run + "/commit.sh"); err != nil {
			t.Fatal(err, out)
		}
	}
	if _, code := d.rollback(t, "--committed"); code != 0 {
		t.Fatal(code)
	}
	if got := events(t, d); got != "committed\ntaken-back after its end,\nrolled-back whole" {
		t.Error(got)
	}
}
