package steps

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// LedgerFormat is that of the entries that this version writes. It reads no newer ones.
const LedgerFormat = 1

// EntryKind is a kind of thing that stands on a host.
type EntryKind string

// The kinds of entries.
const (
	EntryFile      EntryKind = "file"      // a file of our own; Name is its path
	EntryLines     EntryKind = "lines"     // what one run did to a file of somebody else's; Name is its path
	EntryFolder    EntryKind = "folder"    // a folder that was made; Name is its path
	EntryContainer EntryKind = "container" // Name is the container's
	EntryEffect    EntryKind = "effect"    // what a variant made in a program's own state; Name is the variant's word and what it made: "ufw 7881/tcp"
	EntryAside     EntryKind = "aside"     // a container of somebody else's that gave its name to ours; Name is that name
	EntryHost      EntryKind = "host"      // another host of the site; Name is its machine-id
)

// Entry is a thing that a run made on a host and that stands there, as the host's
// ledger has it (internal/engine/ledger.sh). It is data: what is done to take the thing
// away is for the version to say that does it.
type Entry struct {
	ID     string    `json:"-"` // its folder in the ledger of its site
	Site   string    `json:"-"` // the slug of its site
	Format int       `json:"format"`
	Kind   EntryKind `json:"kind"`
	Name   string    `json:"name"`
	Run    string    `json:"run"`
	Stage  Stage     `json:"stage"`
	Step   string    `json:"step"`
	Title  string    `json:"title"` // of the change
	// Reader is what has to be told when a file is another one.
	Reader *Reader `json:"reader,omitempty"`
	// Stop is how a container is ended.
	Stop *Stop `json:"stop,omitempty"`
	// Lost says that the ledger does not have it, and its place or its label tells that
	// it is the site's.
	Lost bool `json:"-"`
	// order is that of the lines of a site: by no clock.
	order int
	// images are the paths of before- and after-image where they are not in its folder.
	images []string
	// Aside is what a container that was set aside is called now.
	Aside string `json:"aside,omitempty"`
}

// Reader is a program that reads files, as data.
type Reader struct {
	Unit      string     `json:"unit,omitempty"`      // its service
	Action    string     `json:"action,omitempty"`    // "reload" or "restart" of Unit; "daemon-reload" for systemd's own files
	Overlay   string     `json:"overlay,omitempty"`   // the folder of its files, which Validator must see as they will be
	Validator *Validator `json:"validator,omitempty"` // looks at the files before anything changes
	Interrupt string     `json:"interrupt,omitempty"` // what Action interrupts
	Checks    []Check    `json:"checks,omitempty"`    // that it answers
	Timeout   Seconds    `json:"timeout,omitempty"`   // of Action
}

// Stop is how a container is ended.
type Stop struct {
	Grace     Seconds `json:"grace"`               // before it is killed
	Interrupt string  `json:"interrupt,omitempty"` // what stops
}

// Seconds is a time in whole seconds.
type Seconds int

// Ref names a thing that stands, or shall stand, on a host.
type Ref struct {
	Kind EntryKind
	Name string
}

// Ref is what an entry is about. All of a variant's effects are one to it: only the
// variant's own step can tell them apart.
func (e Entry) Ref() Ref {
	if e.Kind == EntryEffect {
		word, _, _ := strings.Cut(e.Name, " ")
		return Ref{e.Kind, word}
	}
	return Ref{e.Kind, e.Name}
}

// Refs name several things of a kind.
func Refs(kind EntryKind, names ...string) []Ref {
	var out []Ref
	for _, name := range names {
		out = append(out, Ref{kind, name})
	}
	return out
}

// entryID is the folder of what there is once of a name; lines have one for each change.
func entryID(kind EntryKind, name string) string {
	sum := sha256.Sum256([]byte(name))
	return string(kind) + "-" + hex.EncodeToString(sum[:12])
}

// LedgerMoves are what a change does to the ledger of its host. The engine carries
// them out before the change itself, and takes them back after its undo.
type LedgerMoves struct {
	Enter []Entered
	Leave []string // IDs; those that are not there are passed over
}

// Entered is an entry that is to be made.
type Entered struct {
	Entry Entry
	// Edit is the edit of the change whose images belong to it; -1 for none.
	Edit int
}

// QueryLedger asks for all that stands on a host, of all sites; its answer goes to
// ParseLedger. Besides the ledger it lists our files below /etc/ecdeploy that the ledger
// does not have, and where there are some our containers; and what runs of the version
// before the ledger did to files of others (internal/engine/origins.sh).
var QueryLedger = host.Sh(`printf 'machine\t%s\t%s\n' "$(cat /etc/machine-id 2>/dev/null)" "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
cd "$1" 2>/dev/null || cd /
for e in ledger/*/*/entry; do
	[ -e "$e" ] || continue
	k=${e#ledger/} n=0
	[ ! -e "${e%/entry}/order" ] || read -r n <"${e%/entry}/order"
	printf 'entry\t%s\t%s\t' "${k%/entry}" "$n" && cat -- "$e" || exit 1
done
lost=$(for d in /etc/ecdeploy/*; do
	[ -d "$d" ] || continue
	find "$d" -type f | while IFS= read -r f; do
		grep -qsF "\"name\":\"$f\"" "ledger/${d##*/}"/*/entry || printf 'lost\t%s\t%s\n' "${d##*/}" "$f"
	done
done)
if [ -n "$lost" ]; then
	printf '%s\n' "$lost"
	docker ps -a --filter label=`+LabelSite+` --format 'ours	{{.Label "`+LabelSite+`"}}	{{.Names}}' 2>/dev/null
fi
layer() { # SLUG ID ABOUT
	{ IFS= read -r title && IFS= read -r path; } <"$3" && printf 'layer\t%s\t%s\t%s\t%s\n' "$1" "$2" "$title" "$path"
}
for o in origins/*/*; do
	s=${o#origins/}
	if [ -e "$o/about" ] && [ ! -e "$o/taken" ]; then layer "${s%/*}" "$o" "$o/about"; fi
done
for f in runs/*/changes/*/*.foreign; do
	k=${f%.foreign} r=${f%%/changes/*}
	if [ ! -e "$k.saved" ] || [ ! -e "${f%/*}/touched" ] || [ -e "${f%/*}/restored" ] || [ -e "$k.taken" ] || [ -e "$r/layered" ] || [ -e "$r/destroys" ]; then continue; fi
	{ [ -e "$r/committed" ] || [ -e "$r/conflict" ]; } && id=$(cat "$r/run") || continue
	s=${r#runs/"$id".}
	for d in runs/*."$s"; do # a later one took the site away
		if [ "$d" = "runs/$(cat "$d/run" 2>/dev/null).$s" ] && [ -e "$d/destroys" ] && [ -e "$d/committed" ] && expr "$d" \> "$r" >/dev/null; then continue 2; fi
	done
	layer "$s" "$k" "$f"
done
true`, Root)

// Ledger is what stands on a host.
type Ledger struct {
	Machine string // the host's machine-id; "" where it has none
	Boot    string // which start of it this is
	Entries []Entry
	Problem string // why it is not all known; then nothing may be taken away
}

// ParseLedger reads the answer to QueryLedger.
func ParseLedger(r host.Result) Ledger {
	if !r.OK() || r.Truncated {
		return Ledger{Problem: cmp.Or(host.Said(string(r.Stderr), 1), "its ledger cannot be read")}
	}
	var l Ledger
	for line := range strings.Lines(string(r.Stdout)) {
		kind, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		key, rest, _ := strings.Cut(text, "\t")
		switch kind {
		case "machine":
			l.Machine, l.Boot = host.Clean(key), host.Clean(rest)
			continue
		case "lost", "ours", "layer":
			e, ok := traced(kind, key, rest)
			known := func(o Entry) bool { return o.Site == e.Site && o.Ref() == e.Ref() && o.Kind != EntryLines }
			if ok && !slices.ContainsFunc(l.Entries, known) {
				l.Entries = append(l.Entries, e)
			}
			continue
		}
		order, rest, _ := strings.Cut(rest, "\t")
		e, err := parseEntry(key, rest)
		e.order, _ = strconv.Atoi(order) // 0 for what has none
		if err != nil {
			l.Problem = err.Error()
			continue
		}
		l.Entries = append(l.Entries, e)
	}
	return l
}

func parseEntry(key, text string) (Entry, error) {
	var e Entry
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return e, fmt.Errorf("its ledger cannot be read: %s", host.Clean(path.Join(Root, "ledger", key)))
	}
	e.Site, e.ID = path.Split(key)
	e.Site = strings.TrimSuffix(e.Site, "/")
	action := ""
	if e.Reader != nil {
		action = e.Reader.Action
	}
	switch {
	case e.Format > LedgerFormat:
		return e, fmt.Errorf("its ledger was written by a newer ecdeploy (format %d; this one knows %d)", e.Format, LedgerFormat)
	case e.Site == "" || e.ID == "" || e.Name == "" || host.Clean(e.Name) != e.Name, !slices.Contains([]string{"", "reload", "restart", DaemonReload}, action):
		return e, fmt.Errorf("its ledger cannot be read: %s", host.Clean(path.Join(Root, "ledger", key)))
	}
	return e, nil
}

// BeforeLedger begins the steps of what was done before there was a ledger.
const BeforeLedger = "before the ledger: "

// Same reports whether both are of one machine, reached under two names. (Cloned machines
// may share a machine-id, containers of one kernel its start.)
func (l Ledger) Same(o Ledger) bool {
	return l.Machine != "" && l.Boot != "" && l.Machine == o.Machine && l.Boot == o.Boot
}

// traced is an entry that the ledger does not have: a file in our folder, a container
// with our label, or a layer of the version before the ledger.
func traced(kind, key, rest string) (Entry, bool) {
	e := Entry{Site: key, Format: LedgerFormat, Lost: true, Name: rest}
	switch kind {
	case "lost":
		e.Kind, e.ID, e.Stage, e.Step = EntryFile, entryID(EntryFile, rest), StageSFU, path.Base(path.Dir(rest))
		e.Title = "files of " + e.Step
	case "ours":
		if strings.Contains(rest, ".ecdeploy-") { // set aside
			return e, false
		}
		e.Kind, e.ID, e.Site, e.Stage, e.Step = EntryContainer, entryID(EntryContainer, rest), Slug(key), StageAuth, "container"
		e.Stop = &Stop{Grace: 20}
	case "layer":
		f := strings.SplitN(rest, "\t", 3)
		if len(f) != 3 {
			return e, false
		}
		e.Kind, e.ID, e.Title, e.Name, e.Stage, e.Step = EntryLines, f[0], f[1], f[2], StageWellKnown, BeforeLedger+f[1]
		at := path.Join(Root, f[0])
		e.images = []string{at + ".old", at + ".new"}
		if strings.HasPrefix(f[0], "origins/") {
			e.images = []string{at + "/before", at + "/after"}
		}
	}
	return e, e.Site != "" && host.Clean(e.Name) == e.Name && e.Name != ""
}

// Of are the entries of a site, in an order that stays the same.
func (l Ledger) Of(slug string) []Entry {
	out := slices.DeleteFunc(slices.Clone(l.Entries), func(e Entry) bool { return e.Site != slug })
	slices.SortFunc(out, func(a, b Entry) int {
		if a.Lost != b.Lost { // what is from before the ledger comes first
			if a.Lost {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// imagePaths are where before- and after-image of lines are.
func (e Entry) imagePaths() (before, after string) {
	if len(e.images) == 2 {
		return e.images[0], e.images[1]
	}
	return e.Dir() + "/before", e.Dir() + "/after"
}

// Dir is the entry's folder on its host.
func (e Entry) Dir() string { return path.Join(Root, "ledger", e.Site, e.ID) }
