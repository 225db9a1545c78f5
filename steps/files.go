package steps

import (
	"context"
	_ "embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"

	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
)

//go:embed lib.sh
var libScript string

//go:embed containers.sh
var containersScript string

// Lib is the POSIX sh library that all do and undo scripts build on. The
// engine sends it ahead of them and rollback.sh holds a copy.
var Lib = libScript + "\n" + containersScript

// Files is a set of files that are written, checked and made effective as one:
// undoing it puts the bytes back and makes them effective again.
type Files struct {
	Title      string        `json:"title"` // "nginx", "Synapse"
	Dirs       []Dir         `json:"dirs,omitempty"`
	Rmdirs     []string      `json:"rmdirs,omitempty"` // folders of ours that go where they are empty then, the inner ones first
	Edits      []FileEdit    `json:"edits"`
	Overlay    []string      `json:"overlay,omitempty"`    // folders that Check sees with the staged files laid over
	Check      *Validator    `json:"check,omitempty"`      // run before anything changes
	Unit       string        `json:"unit,omitempty"`       // service that reads the files
	Action     string        `json:"action,omitempty"`     // "reload" or "restart" of Unit, or DaemonReload, after writing and after undoing
	Activate   string        `json:"activate,omitempty"`   // sh, after writing, where Action is empty
	Reactivate string        `json:"reactivate,omitempty"` // sh, after undoing
	Interrupt  string        `json:"interrupt,omitempty"`  // what Activate interrupts
	Timeout    time.Duration `json:"timeout,omitempty"`    // of writing and Activate together
	Answers    []Check       `json:"answers,omitempty"`    // that Unit is well, for the day on which this is taken away
	Effects
	Leave []string `json:"leave,omitempty"` // entries of the ledger that go with this
}

// DaemonReload is the action for systemd's own files.
const DaemonReload = "daemon-reload"

// Effects are what a change makes or ends that is no file and no container of its
// own: rules, or a share of a file that several sites have. The ledger has it under
// these names, a variant's word first: "ufw 7881/tcp".
type Effects struct {
	Makes []string `json:"makes,omitempty"`
	Ends  []string `json:"ends,omitempty"`
}

func (e Effects) moves() LedgerMoves {
	var m LedgerMoves
	for _, name := range e.Makes {
		m.Enter = append(m.Enter, Entered{Entry{ID: entryID(EntryEffect, name), Kind: EntryEffect, Name: name}, -1})
	}
	for _, name := range e.Ends {
		m.Leave = append(m.Leave, entryID(EntryEffect, name))
	}
	return m
}

// Dir is a folder that must be there.
type Dir struct {
	Path string      `json:"path"`
	Mode fs.FileMode `json:"mode"`
	GID  int         `json:"gid"` // the owner is root
}

// FileEdit is one file of a change: either Edits of what is there, or the
// whole Text, or its removal. Foreign files are never held whole.
type FileEdit struct {
	Path   string        `json:"path"`   // absolute, symlinks resolved
	Before string        `json:"before"` // digest of the file as planned on; "" for none
	After  string        `json:"after"`  // digest of the result; "" for a removed file
	Edits  []splice.Edit `json:"edits,omitempty"`
	Text   Text          `json:"text,omitempty"`
	Own    bool          `json:"own,omitempty"` // a file of our own: mode and owner are enforced
	Remove bool          `json:"remove,omitempty"`
	Mode   fs.FileMode   `json:"mode,omitempty"` // of a new file; one that is there keeps its own
	UID    int           `json:"uid,omitempty"`
	GID    int           `json:"gid,omitempty"`
	Diff   string        `json:"diff,omitempty"` // for the plan, masked
	// Undoes are the entries of the ledger, lines in a file of somebody else's, that
	// the edit takes back; else it is an entry of its own.
	Undoes []string `json:"undoes,omitempty"`
}

// Kind implements Change.
func (Files) Kind() string { return "files" }

// Summary implements Change.
func (c Files) Summary() Summary {
	s := Summary{Verb: "~", Title: c.Title, Interrupt: c.Interrupt}
	if verb := editsVerb(c.Edits); verb != "" {
		s.Verb = verb
	}
	if len(c.Edits) == 0 && len(c.Leave) > 0 {
		s.Verb, s.Details = "-", []string{"it is not there any more: its record goes"}
	}
	for _, d := range c.Dirs {
		s.Details = append(s.Details, "+ "+d.Path+"/")
	}
	s.Details = append(s.Details, editDetails(c.Edits)...)
	s.Diff = editDiffs(c.Edits)
	return s
}

// Resolve implements Change.
func (c Files) Resolve(ctx context.Context, env Env) (Resolved, error) {
	staged, sums, err := stageEdits(ctx, env, c.Edits)
	if err != nil {
		return Resolved{}, err
	}
	r := Resolved{Stage: staged, Timeout: c.Timeout, Ledger: c.moves(env)}
	r.Check = overlayCheck(c.Edits, c.Overlay, c.CheckText())
	r.Save = saveEdits(c.Edits, sums)
	activate, reactivate := c.Activate, c.Reactivate
	if c.Unit != "" {
		unit := shellescape.Quote(c.Unit)
		r.Save = joinSh("ec_save_unit "+unit, r.Save)
		activate, reactivate = "ec_unit "+c.Action+" "+unit, "ec_undo_unit "+c.Action+" "+unit
	}
	if c.Action == DaemonReload {
		activate, reactivate = "systemctl daemon-reload", "systemctl daemon-reload"
	}
	r.Do, r.Activate = joinSh(placeEdits(c.Dirs, c.Edits), rmdirs(c.Rmdirs)), activate
	if reactivate != "" {
		reactivate = "ec_took_effect || exit 0\n" + reactivate
	}
	r.Undo = joinSh(undoRmdirs(c.Rmdirs), undoEdits(c.Edits), orFail(reactivate), "ec_undo_dirs")
	return r, nil
}

// CheckText is the sh text of the validator; "" for none.
func (c Files) CheckText() string {
	if c.Check == nil {
		return ""
	}
	return c.Check.Text()
}

// moves are the entries of the files: what reads them, and what was done to them.
func (c Files) moves(env Env) LedgerMoves {
	if len(c.Makes)+len(c.Ends) > 0 { // the files are a part of that
		return c.Effects.moves()
	}
	reader := Reader{Unit: c.Unit, Action: c.Action, Validator: c.Check, Interrupt: c.Interrupt, Timeout: Seconds(c.Timeout / time.Second), Checks: c.Answers}
	if len(c.Overlay) > 0 {
		reader.Overlay = c.Overlay[0]
	}
	entry := Entry{Title: c.Title}
	if c.Action != "" {
		entry.Reader = &reader
	}
	m := editMoves(env, entry, c.Dirs, c.Edits)
	m.Leave = append(m.Leave, c.Leave...)
	return m
}

// editMoves are the entries of edits and folders, made of what like says.
func editMoves(env Env, like Entry, dirs []Dir, edits []FileEdit) LedgerMoves {
	var m LedgerMoves
	enter := func(kind EntryKind, id, name string, edit int) {
		e := like
		e.Kind, e.ID, e.Name = kind, id, name
		m.Enter = append(m.Enter, Entered{e, edit})
	}
	var folders []string
	for _, d := range dirs {
		folders = append(folders, d.Path)
	}
	for i, e := range edits {
		switch {
		case e.foreign() && len(e.Undoes) > 0:
			m.Leave = append(m.Leave, e.Undoes...)
		case e.foreign():
			enter(EntryLines, fmt.Sprintf("lines-%s-%s-%d", env.Run, env.Change, i), e.Path, i)
		case e.Remove:
			m.Leave = append(m.Leave, entryID(EntryFile, e.Path))
		default:
			enter(EntryFile, entryID(EntryFile, e.Path), e.Path, i)
			folders = append(folders, path.Dir(e.Path))
		}
	}
	slices.Sort(folders)
	for _, f := range slices.Compact(folders) {
		enter(EntryFolder, entryID(EntryFolder, f), f, -1)
	}
	return m
}

// foreign reports whether somebody else wrote the file.
func (e FileEdit) foreign() bool { return len(e.Edits) > 0 }

// editsVerb is "+", "-" or "~" for all edits alike, "" for a mixture.
func editsVerb(edits []FileEdit) string {
	verb := ""
	for i, e := range edits {
		v := e.verb()
		if i > 0 && v != verb {
			return ""
		}
		verb = v
	}
	return verb
}

func (e FileEdit) verb() string {
	switch {
	case e.Remove:
		return "-"
	case e.Before == "":
		return "+"
	}
	return "~"
}

func editDetails(edits []FileEdit) []string {
	var out []string
	for _, e := range edits {
		out = append(out, e.verb()+" "+e.Path)
	}
	return out
}

func editDiffs(edits []FileEdit) string {
	var b strings.Builder
	for _, e := range edits {
		b.WriteString(e.Diff)
	}
	return b.String()
}

// stageEdits makes the new bytes of every edit from the files as they are now,
// whose SHA-256 it returns, too; "" for one that is not there.
func stageEdits(ctx context.Context, env Env, edits []FileEdit) (staged []StagedFile, sums []string, err error) {
	paths := make([]string, len(edits))
	for i, e := range edits {
		paths[i] = e.Path
	}
	files, err := env.Host.Read(ctx, paths...)
	if err != nil {
		return nil, nil, err
	}
	for i, e := range edits {
		data, err := e.result(files[i], env.Secrets)
		if err != nil {
			return nil, nil, err
		}
		sum := ""
		if files[i].Exists {
			sum = Digest(files[i].Data, Secrets{})
		}
		sums = append(sums, sum)
		if !e.Remove {
			staged = append(staged, StagedFile{Name: fmt.Sprintf("%d.new", i), Mode: 0o600, Data: data})
		}
	}
	return staged, sums, nil
}

// result applies e to the file f that stands on the host now.
func (e FileEdit) result(f host.File, secrets Secrets) ([]byte, error) {
	if f.Err != "" {
		return nil, fmt.Errorf("read %s: %s", e.Path, f.Err)
	}
	switch {
	case e.Before == "" && !f.Exists && f.Real != e.Path:
		return nil, hint.Wrap(fmt.Errorf("%s is reached through a symlink and would be %s", e.Path, f.Real),
			"ecdeploy writes its own files through no symlink; make the folder a real one, or a bind mount")
	case f.Exists != (e.Before != ""), f.Exists && f.Real != e.Path, f.Exists && !e.is(f.Data, secrets):
		return nil, fmt.Errorf("%s: %w", e.Path, ErrDrift)
	case e.Remove:
		return nil, nil
	case e.Edits == nil:
		return e.Text.Fill(secrets)
	}
	data, err := splice.Apply(f.Data, e.Edits)
	if err != nil {
		return nil, fmt.Errorf("edit %s: %w", e.Path, err)
	}
	if Digest(data, Secrets{}) != e.After {
		return nil, fmt.Errorf("%s: %w", e.Path, ErrDrift)
	}
	return data, nil
}

// is reports whether data is what the edit was planned on.
func (e FileEdit) is(data []byte, secrets Secrets) bool {
	switch {
	case strings.HasPrefix(e.Before, sealMark):
		return Digest(data, secrets) == e.Before
	case strings.HasPrefix(e.Before, slowMark):
		return slowMark+SlowSum(data, e.Path) == e.Before
	}
	return Digest(data, Secrets{}) == e.Before
}

// saveEdits keeps the before-images of all edits, which must be what they were
// staged on.
func saveEdits(edits []FileEdit, sums []string) string {
	var lines []string
	for i, e := range edits {
		lines = append(lines, fmt.Sprintf("ec_save %d %s %s || exit 1", i, shellescape.Quote(e.Path), shellescape.Quote(sums[i])))
	}
	return strings.Join(lines, "\n")
}

func placeEdits(dirs []Dir, edits []FileEdit) string {
	var lines []string
	for _, d := range dirs {
		lines = append(lines, fmt.Sprintf("ec_mkdir %s %04o 0 %d || exit 1", shellescape.Quote(d.Path), d.Mode.Perm(), d.GID))
	}
	for i, e := range edits {
		p := shellescape.Quote(e.Path)
		if e.Remove {
			lines = append(lines, fmt.Sprintf("ec_unchanged %d %s || exit 75", i, p), "ec_remove "+p+" || exit 1")
			continue
		}
		own := ""
		if e.Own {
			own = " own"
		}
		lines = append(lines, fmt.Sprintf("ec_place %d %s %04o %d %d%s || exit 1", i, p, e.Mode.Perm(), e.UID, e.GID, own))
	}
	return strings.Join(lines, "\n")
}

func rmdirs(dirs []string) string {
	var lines []string
	for _, d := range dirs {
		lines = append(lines, "ec_rmdir "+shellescape.Quote(d)+" || exit 1")
	}
	return strings.Join(lines, "\n")
}

func undoRmdirs(dirs []string) string {
	if len(dirs) == 0 {
		return ""
	}
	return "ec_undo_rmdirs || exit 1"
}

// undoEdits undoes all, or, where somebody else edited one of them, none.
func undoEdits(edits []FileEdit) string {
	if len(edits) == 0 {
		return ""
	}
	paths := make([]string, len(edits))
	for i, e := range edits {
		paths[i] = e.Path
	}
	return "ec_undo_files " + shellescape.QuoteCommand(paths) + " || exit 1"
}

// overlayCheck wraps a validator so that it sees the staged files in their
// places, in a mount namespace of its own. Where the host allows none, exit
// status 95 says so and the validator runs after the write instead.
func overlayCheck(edits []FileEdit, tops []string, check string) string {
	if check == "" {
		return ""
	}
	if len(tops) == 0 {
		return check
	}
	var put []string
	for i, e := range edits {
		j := slices.IndexFunc(tops, func(top string) bool { return strings.HasPrefix(e.Path, top+"/") })
		if j < 0 {
			continue
		}
		at := shellescape.QuoteCommand([]string{e.Path, tops[j]})
		if e.Remove {
			put = append(put, "ec_overlay_hide "+at+" || exit 95")
			continue
		}
		put = append(put, fmt.Sprintf("ec_overlay_put %d %s || exit 1", i, at))
	}
	var mounts []string
	for _, top := range tops {
		q := shellescape.Quote(top)
		mounts = append(mounts, fmt.Sprintf(`mount -t overlay ecdeploy -o "ro,lowerdir=$J/root"%s:%s %s || exit 95`, q, q, q))
	}
	inner := joinSh(strings.Join(mounts, "\n"), check)
	return joinSh(strings.Join(put, "\n"), "export J", "unshare -m true 2>/dev/null || exit 95",
		"unshare -m sh -c "+shellescape.Quote(inner)+" </dev/null", "ec_rc=$?", `rm -rf -- "$J/root"`, "exit $ec_rc")
}

// OverlayTops are the folders that a validator must see laid over: base, and
// where symlinks led edits out of it.
func OverlayTops(base string, edits []FileEdit) []string {
	tops := []string{base}
	for _, e := range edits {
		if !slices.ContainsFunc(tops, func(t string) bool { return strings.HasPrefix(e.Path, t+"/") }) {
			tops = append(tops, path.Dir(e.Path))
		}
	}
	return tops
}

// orFail makes an sh text's failure that of the whole script.
func orFail(text string) string {
	if text == "" {
		return ""
	}
	return "(\n" + text + "\n) || exit 1"
}

// joinSh joins sh texts; each but the last must succeed on its own account.
func joinSh(texts ...string) string {
	var out []string
	for _, t := range texts {
		if t != "" {
			out = append(out, t)
		}
	}
	return strings.Join(out, "\n")
}
