package steps_test

import (
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/google/go-cmp/cmp"
)

// Only what nothing wants any more is unwanted: neither what shall stand nor what a
// change touches, and never another site's.
func TestUnwanted(t *testing.T) {
	s := newStood()
	for _, e := range []steps.Entry{
		{Kind: steps.EntryFile, Name: "/etc/f"}, {Kind: steps.EntryLines, Name: "/etc/f"}, {Kind: steps.EntryContainer, Name: "c"},
		{Kind: steps.EntryEffect, Name: "ufw 7881/tcp"}, {Kind: steps.EntryEffect, Name: "ufw 7880/tcp"}, {Kind: steps.EntryEffect, Name: "ports reserved"},
		{Kind: steps.EntryAside, Name: "c"}, {Kind: steps.EntryFolder, Name: "/etc/d"}, {Kind: steps.EntryHost, Name: "m2"}, {Kind: "toy", Name: "x"},
	} {
		s.enter(e)
	}
	s.ledger.Entries = append(s.ledger.Entries, steps.Entry{ID: "file-1", Site: "other.org", Kind: steps.EntryFile, Name: "/etc/other"})
	foreign, err := steps.ForeignFile("/etc/f", []byte("a\n"), []splice.Edit{{Text: "b\n"}})
	if err != nil {
		t.Fatal(err)
	}
	own := steps.FileEdit{Path: "/etc/f", Text: steps.Lit("x")}
	container := &steps.Container{Spec: host.ContainerSpec{Name: "c"}, Edits: []steps.FileEdit{own}}
	const all = "aside c, container c, effect ufw 7881/tcp, effect ufw 7880/tcp, effect ports reserved, file /etc/f, lines /etc/f, toy x"
	for _, c := range []struct {
		name    string
		stands  []steps.Ref
		changes []steps.Change
		without string // of all
	}{
		{"nothing is wanted", nil, nil, ""},
		{"a file stands", steps.Refs(steps.EntryFile, "/etc/f"), nil, "file /etc/f"},
		{"lines stand", steps.Refs(steps.EntryLines, "/etc/f"), nil, "lines /etc/f"},
		{"a container stands, and so does what gave it its name", steps.Refs(steps.EntryContainer, "c"), nil, "aside c, container c"},
		{"a variant's effects are one", steps.Refs(steps.EntryEffect, "ufw"), nil, "effect ufw 7881/tcp, effect ufw 7880/tcp"},
		{"an effect's name is not its word", steps.Refs(steps.EntryEffect, "ufw 7881/tcp"), nil, ""},
		{"another one stands", steps.Refs(steps.EntryFile, "/etc/f/g", "c"), nil, ""},
		{"a file is written", nil, []steps.Change{&steps.Files{Edits: []steps.FileEdit{own}}}, "file /etc/f"},
		{"a file is removed", nil, []steps.Change{&steps.Files{Edits: []steps.FileEdit{{Path: "/etc/f", Remove: true}}}}, "file /etc/f"},
		{"lines are written", nil, []steps.Change{&steps.Files{Edits: []steps.FileEdit{foreign}}}, "lines /etc/f"},
		{"a container is made with its file", nil, []steps.Change{container}, "container c, file /etc/f"},
		{"an effect is made", nil, []steps.Change{&steps.Exec{Effects: steps.Effects{Makes: []string{"ufw 1/tcp"}}}}, "effect ufw 7881/tcp, effect ufw 7880/tcp"},
		{"an effect ends", nil, []steps.Change{&steps.Files{Effects: steps.Effects{Ends: []string{"ports reserved"}}}}, "effect ports reserved"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got, want []string
			for _, e := range s.ledger.Unwanted(suite.Slug, c.stands, []steps.StepPlan{{}, {Changes: c.changes}}) {
				got = append(got, string(e.Kind)+" "+e.Name)
			}
			for _, e := range strings.Split(all, ", ") {
				if !strings.Contains(", "+c.without+",", ", "+e+",") {
					want = append(want, e)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Folders of ours go with the last file in them, the inner ones first, and only where
// nothing of ours is left; their entries go then, too.
func TestFolders(t *testing.T) {
	const top, site, sfu, auth = "/etc/ecdeploy", "/etc/ecdeploy/example.org", "/etc/ecdeploy/example.org/sfu", "/etc/ecdeploy/example.org/auth"
	remove := func(paths ...string) []steps.FileEdit {
		var out []steps.FileEdit
		for _, p := range paths {
			out = append(out, steps.FileEdit{Path: p, Before: "b", Remove: true})
		}
		return out
	}
	files := func(edits ...steps.FileEdit) *steps.Files { return &steps.Files{Edits: edits} }
	for _, c := range []struct {
		name    string
		stands  []string // files of ours
		others  []string // folders that another site made, too
		changes []steps.Change
		want    []string // folders that go with each change
		leave   []string // entries that go with each change
	}{
		{"all goes", []string{sfu + "/a", auth + "/a"}, nil,
			[]steps.Change{&steps.Container{Gone: true, Edits: remove(auth + "/a")}, files(remove(sfu + "/a")...)},
			[]string{auth, sfu + " " + site + " " + top}, []string{"folder-3", "folder-2 folder-1 folder-0"}},
		{"one folder goes", []string{sfu + "/a", auth + "/a"}, nil, []steps.Change{files(remove(sfu + "/a")...)}, []string{sfu}, []string{"folder-2"}},
		{"a file stays in it", []string{sfu + "/a", sfu + "/b"}, nil, []steps.Change{files(remove(sfu + "/a")...)}, []string{""}, []string{""}},
		{"a file comes into it", []string{sfu + "/a"}, nil, []steps.Change{files(remove(sfu + "/a")...), files(steps.FileEdit{Path: sfu + "/b"})},
			[]string{"", ""}, []string{"", ""}},
		{"a file comes again", []string{sfu + "/a"}, nil, []steps.Change{files(remove(sfu + "/a")...), files(steps.FileEdit{Path: sfu + "/a"})},
			[]string{"", ""}, []string{"", ""}},
		{"nothing is removed", []string{sfu + "/a"}, nil, []steps.Change{files(steps.FileEdit{Path: sfu + "/a"})}, []string{""}, []string{""}},
		{"another site has it, too: its removal finds it not empty", []string{sfu + "/a"}, []string{top}, []steps.Change{files(remove(sfu + "/a")...)},
			[]string{sfu + " " + auth + " " + site + " " + top}, []string{"folder-2 folder-3 folder-1 folder-0"}},
		{"another site made it alone", []string{"/srv/x/a"}, []string{"/srv/x"}, []steps.Change{files(remove("/srv/x/a")...)},
			[]string{"/srv/x " + sfu + " " + auth + " " + site + " " + top}, []string{"folder-2 folder-3 folder-1 folder-0"}},
		{"a name that begins alike", []string{sfu + "-old/a"}, nil, []steps.Change{files(remove(sfu + "-old/a")...)},
			[]string{sfu + "-old " + sfu + " " + auth + " " + site + " " + top}, []string{"folder-2 folder-3 folder-1 folder-0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStood()
			for _, p := range []string{top, site, sfu, auth} {
				s.enter(steps.Entry{Kind: steps.EntryFolder, Name: p})
			}
			for _, p := range c.stands {
				s.enter(steps.Entry{Kind: steps.EntryFile, Name: p})
			}
			for _, p := range c.others {
				s.ledger.Entries = append(s.ledger.Entries, steps.Entry{ID: "folder-x", Site: "other.org", Kind: steps.EntryFolder, Name: p})
			}
			var plans []steps.StepPlan
			for _, change := range c.changes {
				plans = append(plans, steps.StepPlan{Changes: []steps.Change{change}})
			}
			s.ledger.Folders(suite.Slug, plans)
			var got, leaves []string
			for _, change := range c.changes {
				leaves = append(leaves, strings.Join(leave(change), " "))
				switch change := change.(type) {
				case *steps.Files:
					got = append(got, strings.Join(change.Rmdirs, " "))
				case *steps.Container:
					got = append(got, strings.Join(change.Rmdirs, " "))
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("folders: %s", diff)
			}
			if diff := cmp.Diff(c.leave, leaves); diff != "" {
				t.Errorf("entries: %s", diff)
			}
		})
	}
}

// An edit that takes lines back where none shall stand any more drops their entries;
// any other one is an entry of its own.
func TestTakesBack(t *testing.T) {
	for _, stands := range []bool{false, true} {
		s := newStood()
		s.enter(steps.Entry{Kind: steps.EntryLines, Name: "/etc/f"})
		s.enter(steps.Entry{Kind: steps.EntryLines, Name: "/etc/other"})
		foreign, err := steps.ForeignFile("/etc/f", []byte("a\nb\n"), []splice.Edit{{Off: 2, Len: 2}})
		if err != nil {
			t.Fatal(err)
		}
		var refs []steps.Ref
		want := []string{"lines-0"}
		if stands {
			refs, want = steps.Refs(steps.EntryLines, "/etc/f"), nil
		}
		f := &steps.Files{Edits: []steps.FileEdit{foreign}}
		s.ledger.TakesBack(suite.Slug, refs, []steps.StepPlan{{Changes: []steps.Change{f}}})
		if diff := cmp.Diff(want, f.Edits[0].Undoes); diff != "" {
			t.Errorf("stands %v: %s", stands, diff)
		}
	}
}

// What is left is what no step takes away; what other hosts have is not on this one.
func TestRemaining(t *testing.T) {
	s := newStood()
	s.file("/etc/a", "a")
	s.file("/etc/b", "b")
	s.file("/etc/c", "c")
	s.enter(steps.Entry{Kind: steps.EntryHost, Name: "m2"})
	plans := []steps.StepPlan{{Changes: []steps.Change{&steps.Files{Leave: []string{"file-0"}}}},
		{Changes: []steps.Change{&steps.Container{Gone: true, Leave: []string{"file-2"}}}}}
	var got []string
	for _, e := range s.ledger.Remaining(suite.Slug, plans) {
		got = append(got, e.Name)
	}
	if diff := cmp.Diff([]string{"/etc/b"}, got); diff != "" {
		t.Error(diff)
	}
}
