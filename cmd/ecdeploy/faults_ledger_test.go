package main

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
	"github.com/emdecloud/ecdeploy/steps"
)

// lookAtLedger prints, behind a snapshot, what the host's ledger has: "ledger SITE/ID/FILE"
// with its text, or of images the digest. What an interrupted entry left is residue.
const lookAtLedger = `
echo '== ledger'
cd /var/lib/ecdeploy/ledger 2>/dev/null && find . -mindepth 1 ! -path '*/.new.*' | while IFS= read -r f; do
	case $f in
	*/entry | */run | */sum) IFS= read -r v <"$f" ;;
	*) if [ -d "$f" ]; then v=folder; else v=$(sha256sum <"$f"); fi ;;
	esac
	printf '%s\t%s\n' "${f#./}" "$v"
done
echo '== residue'
find /var/lib/ecdeploy/ledger -name '.new.*' 2>/dev/null
true
`

// ledgerEntries are the entries in a snapshot, by SITE/ID.
func ledgerEntries(s lab.Snapshot) (map[string]steps.Entry, error) {
	out := map[string]steps.Entry{}
	for k, v := range s {
		key, ok := strings.CutPrefix(k, "ledger ")
		if !ok || path.Base(key) != "entry" {
			continue
		}
		var e steps.Entry
		for line := range strings.Lines(v) { // several where a snapshot is normalized: they are alike
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				return nil, fmt.Errorf("ledger/%s: %w: %s", key, err, line)
			}
		}
		out[path.Dir(key)] = e
	}
	return out, nil
}

// inLedgerOf reports whether k is of an entry about that file in one of these snapshots.
func inLedgerOf(file, k string, snapshots ...lab.Snapshot) bool {
	key, ok := strings.CutPrefix(k, "ledger ")
	if !ok {
		return false
	}
	for _, s := range snapshots {
		entries, err := ledgerEntries(s)
		if err != nil {
			return false
		}
		for id, e := range entries {
			if e.Name == file && (key == id || strings.HasPrefix(key, id+"/")) {
				return true
			}
		}
	}
	return false
}

// ledgerProblems says, a line for each, where the hosts' ledgers and what stands there
// differ; edited is a file that a human has changed.
func ledgerProblems(hosts []lab.Snapshot, edited string) string {
	var out strings.Builder
	for i, s := range hosts {
		entries, err := ledgerEntries(s)
		if err != nil {
			fmt.Fprintf(&out, "h%d: %v\n", i, err)
			continue
		}
		for _, id := range sorted(entries) {
			if wrong := missing(s, id, entries[id], edited); wrong != "" {
				fmt.Fprintf(&out, "h%d: entry %s: %s\n", i, id, wrong)
			}
		}
		for _, thing := range unwritten(s, entries) {
			fmt.Fprintf(&out, "h%d: no entry: %s\n", i, thing)
		}
	}
	return out.String()
}

// missing says what an entry names that is not there.
func missing(s lab.Snapshot, id string, e steps.Entry, edited string) string {
	has := func(k string) bool { _, ok := s[k]; return ok }
	switch e.Kind {
	case steps.EntryFile:
		if sum := s["bytes "+e.Name]; sum == "" || sum != s["ledger "+id+"/sum"] && e.Name != edited {
			return fmt.Sprintf("%s is %q", e.Name, sum)
		}
	case steps.EntryLines:
		if !has("bytes "+e.Name) || !has("ledger "+id+"/before") || !has("ledger "+id+"/after") {
			return e.Name + ", or an image of it, is not there"
		}
	case steps.EntryFolder:
		if !has("mode " + e.Name) {
			return e.Name + " is not there"
		}
	case steps.EntryContainer:
		if !strings.Contains(s["container /"+e.Name], `"`+steps.LabelSite+`":"`+path.Dir(id)+`"`) {
			return "container " + e.Name + " is not there"
		}
	case steps.EntryEffect:
		rule, ok := strings.CutPrefix(strings.ReplaceAll(e.Name, "-", ":"), "ufw ")
		if ok && !strings.Contains(s["ufw"], rule) {
			return "ufw has no " + rule
		}
	}
	if !has("ledger " + id + "/run") {
		return "nobody made it"
	}
	return ""
}

// unwritten are files and containers of our own that no entry names.
func unwritten(s lab.Snapshot, entries map[string]steps.Entry) []string {
	named, sites := map[steps.Ref]bool{}, map[string]bool{}
	for id, e := range entries {
		named[e.Ref()] = true
		sites[path.Dir(id)] = true
	}
	var out []string
	for _, k := range sorted(s) {
		kind, name, _ := strings.Cut(k, " ")
		switch kind {
		case "bytes":
			ours := strings.HasPrefix(name, "/etc/ecdeploy/")
			for site := range sites {
				ours = ours || strings.HasPrefix(path.Base(name), "ecdeploy-"+site)
			}
			if ours && !named[steps.Ref{Kind: steps.EntryFile, Name: name}] {
				out = append(out, name)
			}
		case "container":
			name = strings.TrimPrefix(name, "/")
			ours := strings.Contains(s[k], `"`+steps.LabelSite+`":`) && !strings.Contains(name, ".ecdeploy-")
			if ours && !named[steps.Ref{Kind: steps.EntryContainer, Name: name}] {
				out = append(out, "container "+name)
			}
		}
	}
	return out
}
