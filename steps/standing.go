package steps

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// Unwanted are the entries of a site on a host that nothing in a plan names: neither
// stands nor a change of steps, which are the host's. Folders come with what is in them.
func (l Ledger) Unwanted(slug string, stands []Ref, steps []StepPlan) []Entry {
	touched := map[Ref]bool{}
	for _, r := range stands {
		touched[r] = true
	}
	for _, st := range steps {
		for _, c := range st.Changes {
			for _, r := range Touches(c) {
				touched[r] = true
			}
		}
	}
	return slices.DeleteFunc(l.Of(slug), func(e Entry) bool {
		switch e.Kind {
		case EntryHost, EntryFolder:
			return true
		case EntryAside: // it comes back with the end of the one that took its name
			return slices.Contains(stands, Ref{EntryContainer, e.Name})
		}
		return touched[e.Ref()]
	})
}

// Touches are the things that a change makes or ends.
func Touches(c Change) []Ref {
	var edits []FileEdit
	var out []Ref
	effects := func(e Effects) {
		for _, name := range slices.Concat(e.Makes, e.Ends) {
			out = append(out, Entry{Kind: EntryEffect, Name: name}.Ref())
		}
	}
	switch c := c.(type) {
	case *Files:
		edits = c.Edits
		effects(c.Effects)
	case *Container:
		edits = c.Edits
		out = append(out, Ref{EntryContainer, c.Spec.Name})
	case *Exec:
		effects(c.Effects)
	}
	for _, e := range edits {
		kind := EntryFile
		if e.foreign() {
			kind = EntryLines
		}
		out = append(out, Ref{kind, e.Path})
	}
	return out
}

// TakesBack says of the edits of files of somebody else's that a plan makes on a host,
// where nothing of the site shall stand there, that they take back what the ledger has.
func (l Ledger) TakesBack(slug string, stands []Ref, steps []StepPlan) {
	for _, st := range steps {
		for _, c := range st.Changes {
			files, ok := c.(*Files)
			if !ok {
				continue
			}
			for i, e := range files.Edits {
				if !e.foreign() || slices.Contains(stands, Ref{EntryLines, e.Path}) {
					continue
				}
				for _, entry := range l.Of(slug) {
					if entry.Kind == EntryLines && entry.Name == e.Path {
						files.Edits[i].Undoes = append(files.Edits[i].Undoes, entry.ID)
					}
				}
			}
		}
	}
}

// Folders adds to the changes of a host, in the order in which they come, the folders
// of ours that they leave empty, the inner ones first, and lets their entries go with
// the last file.
func (l Ledger) Folders(slug string, steps []StepPlan) {
	removed, written := map[string]bool{}, map[string]bool{}
	var changes []Change
	for _, st := range steps {
		changes = append(changes, st.Changes...)
	}
	for _, c := range changes {
		if edits, _, _ := parts(c); edits != nil {
			for _, e := range *edits {
				removed[e.Path], written[e.Path] = e.Remove, !e.Remove
			}
		}
	}
	mine := map[string]string{}
	for _, e := range l.Entries {
		switch {
		case e.Kind == EntryFolder && (e.Site == slug || mine[e.Name] == ""):
			mine[e.Name] = ""
			if e.Site == slug {
				mine[e.Name] = e.ID
			}
		case e.Kind == EntryFile && e.Site == slug && !removed[e.Name]:
			written[e.Name] = true // it stays
		}
	}
	for p, gone := range removed {
		if gone {
			for _, dir := range ourFolders(p) {
				if _, known := mine[dir]; !known {
					mine[dir] = ""
				}
			}
		}
	}
	for _, dir := range slices.Backward(slices.Sorted(maps.Keys(mine))) {
		inside := func(p string) bool { return strings.HasPrefix(p, dir+"/") }
		last := -1
		for i, c := range changes {
			if edits, _, _ := parts(c); edits != nil && slices.ContainsFunc(*edits, func(e FileEdit) bool { return e.Remove && inside(e.Path) }) {
				last = i
			}
		}
		if last < 0 && mine[dir] != "" && !slices.Contains(slices.Collect(maps.Values(written)), true) { // what was in it is not there any more
			last = slices.IndexFunc(changes, func(c Change) bool { edits, _, _ := parts(c); return edits != nil && takesAway(c) })
		}
		if last < 0 || slices.ContainsFunc(slices.Sorted(maps.Keys(written)), func(p string) bool { return written[p] && inside(p) }) {
			continue
		}
		_, rmdirs, leave := parts(changes[last])
		*rmdirs = append(*rmdirs, dir)
		if id := mine[dir]; id != "" {
			*leave = append(*leave, id)
		}
	}
}

// takesAway reports whether a change lets entries go.
func takesAway(c Change) bool { return len(leaves(c)) > 0 }

// ourFolders are those above a path that are ours by their name.
func ourFolders(p string) []string {
	var out []string
	for dir := path.Dir(p); len(dir) > 1; dir = path.Dir(dir) {
		if dir == "/etc/ecdeploy" || strings.HasPrefix(dir, "/etc/ecdeploy/") || path.Base(dir) == "ecdeploy" {
			out = append(out, dir)
		}
	}
	return out
}

// parts are what changes of files and containers have in common.
func parts(c Change) (edits *[]FileEdit, rmdirs, leave *[]string) {
	switch c := c.(type) {
	case *Files:
		return &c.Edits, &c.Rmdirs, &c.Leave
	case *Container:
		return &c.Edits, &c.Rmdirs, &c.Leave
	}
	return nil, nil, nil
}

// Ends reports whether a change ends an effect of that name.
func Ends(c Change, name string) bool {
	switch c := c.(type) {
	case *Files:
		return slices.Contains(c.Ends, name)
	case *Exec:
		return slices.Contains(c.Ends, name)
	}
	return false
}

// Remaining are the entries of a site that are left once a host's steps are carried
// out.
func (l Ledger) Remaining(slug string, steps []StepPlan) []Entry {
	gone := map[string]bool{}
	for _, st := range steps {
		for _, c := range st.Changes {
			for _, id := range leaves(c) {
				gone[id] = true
			}
		}
	}
	return slices.DeleteFunc(l.Of(slug), func(e Entry) bool { return e.Kind == EntryHost || gone[e.ID] })
}

// leaves are the entries that go with a change and that none comes in the place of.
func leaves(c Change) []string {
	var m LedgerMoves
	switch c := c.(type) {
	case *Files:
		m = c.moves(Env{})
	case *Container:
		m = c.moves(Env{})
	case *Exec:
		m = c.moves()
	}
	return slices.DeleteFunc(m.Leave, func(id string) bool {
		return slices.ContainsFunc(m.Enter, func(in Entered) bool { return in.Entry.ID == id })
	})
}

// OtherHost is the entry for another host of a site, which has that machine-id.
func OtherHost(machine, name string) Entered {
	return Entered{Entry{ID: entryID(EntryHost, machine), Kind: EntryHost, Name: machine, Title: name}, -1}
}

// LeavingAlone is the ledger without what is left alone.
func (l Ledger) LeavingAlone(stages map[Stage]bool) Ledger {
	l.Entries = slices.DeleteFunc(slices.Clone(l.Entries), func(e Entry) bool { return stages[e.Stage] && e.Kind != EntryFolder && e.Kind != EntryHost })
	return l
}
