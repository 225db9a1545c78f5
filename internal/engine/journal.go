package engine

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"al.essio.dev/pkg/shellescape"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// Root is where ecdeploy keeps its journals on a host; only root may enter.
const Root = steps.Root

//go:embed rollback.sh
var rollbackScript string

//go:embed commit.sh
var commitScript string

//go:embed watch.sh
var watchScript string

//go:embed host.sh
var hostScript string

//go:embed audit.sh
var auditScript string

//go:embed origins.sh
var originsScript string

//go:embed ledger.sh
var ledgerScript string

// hostLib are the functions of the engine's scripts; on a host it follows
// steps.Lib in the journal's lib.sh.
var hostLib = hostScript + auditScript + originsScript + ledgerScript

// ballastKiB is allocated before a run and freed by its rollback, so that a
// disk that filled up meanwhile can be rolled back.
const ballastKiB = 1024

// NewRunID makes a run's id: its time, and enough randomness that two laptops
// never make the same.
func NewRunID(now time.Time) string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails, see its documentation
	return now.UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(b[:])
}

// action is one change of one host on its way through a run.
type action struct {
	n        int // from 1, in the order of the run on this host
	stage    steps.Stage
	step     string
	change   steps.Change
	resolved steps.Resolved
	unproved bool // its validator could not look before the write
}

// String is the change as the audit log names it.
func (a action) String() string {
	s := a.change.Summary()
	return s.Verb + " " + s.Title
}

// audited is sh text that adds a line to the host's audit log.
func audited(event, text string) string {
	return "ec_audit " + event + " " + shellescape.Quote(text)
}

// journal is a run's folder on one host.
type journal struct {
	h    host.Host
	site string
	run  string
	dir  string
	// revertAfter is how long the host waits to hear from the laptop before it
	// rolls the run back by itself; 0 means for ever.
	revertAfter time.Duration
	seen        AuditHead // of the host's audit log, by the laptop
}

func newJournal(h host.Host, site, run string) journal {
	return journal{h: h, site: site, run: run, dir: Root + "/runs/" + run + "." + steps.Slug(site)}
}

func (j journal) changeDir(n int) string { return fmt.Sprintf("%s/changes/%04d", j.dir, n) }

// stage makes the folder and uploads everything that the run will need; records is
// written down as change 0, which changes nothing else.
func (j journal) stage(ctx context.Context, about string, actions []action, records steps.LedgerMoves) error {
	dirs := []string{j.dir + "/changes", j.changeDir(0)}
	for _, a := range actions {
		dirs = append(dirs, j.changeDir(a.n))
	}
	res, err := j.h.Run(ctx, "umask 077\nmkdir -p "+shellescape.QuoteCommand(dirs)+" && chmod 0700 "+Root+" || exit 1", 0)
	if err := failed("make the journal", res, err); err != nil {
		return err
	}
	files := []host.Upload{
		{Path: j.dir + "/rollback.sh", Mode: 0o700, Data: script(rollbackScript)},
		{Path: j.dir + "/commit.sh", Mode: 0o700, Data: script(commitScript)},
		{Path: j.dir + "/watch.sh", Mode: 0o700, Data: script(watchScript)},
		{Path: j.dir + "/lib.sh", Mode: 0o600, Data: []byte(steps.Lib + "\n" + hostLib)},
		{Path: j.dir + "/run", Mode: 0o600, Data: []byte(j.run + "\n")},
		{Path: j.dir + "/about", Mode: 0o600, Data: []byte(about)},
	}
	files = append(files, host.Upload{Path: j.changeDir(0) + "/undo.sh", Mode: 0o600, Data: []byte(":\n")})
	entries, err := j.entries(action{resolved: steps.Resolved{Ledger: records}})
	if err != nil {
		return err
	}
	files = append(files, entries...)
	for _, a := range actions {
		dir := j.changeDir(a.n)
		files = append(files,
			host.Upload{Path: dir + "/undo.sh", Mode: 0o600, Data: []byte(a.resolved.Undo + "\n")},
			host.Upload{Path: dir + "/title", Mode: 0o600, Data: []byte(a.change.Summary().Title + "\n")})
		for _, f := range a.resolved.Stage {
			files = append(files, host.Upload{Path: dir + "/" + f.Name, Mode: f.Mode, Data: f.Data})
		}
		if entries, err = j.entries(a); err != nil {
			return err
		}
		files = append(files, entries...)
	}
	return j.h.Upload(ctx, files)
}

// script is a file that a shell runs.
func script(text string) []byte { return []byte("#!/bin/sh\n" + text) }

// need says what must hold for a request to do anything.
type need string

const (
	needNothing need = ""
	// needLock: this run holds the host.
	needLock need = `[ "$(sed -n 's/^run //p' "$D/lock" 2>/dev/null)" = "$RUN" ] || { echo 'somebody else took the lock of this run' >&2; exit 1; }` + "\n"
	// needArmed: it may change it, one request at a time.
	needArmed need = `exec 9>>"$R/flock"
flock -w 10 9 9>&9 || exit 1
ec_in_force || exit 1
`
)

// frame puts the library and its variables before sh text of change n.
func (j journal) frame(n int, text string, what need) string {
	return fmt.Sprintf("D=%s R=%s RUN=%s J=%s\nexport LC_ALL=C\numask 077\n. \"$R/lib.sh\" || exit 1\n%s(\ncd / || exit 1\n%s\n) 9>&-\n",
		Root, shellescape.Quote(j.dir), shellescape.Quote(j.run), shellescape.Quote(j.changeDir(n)), what, text)
}

// check runs a change's validator on what was staged. before is false where
// the host cannot show it the staged files in their places.
func (j journal) check(ctx context.Context, a action) (before bool, err error) {
	if a.resolved.Check == "" {
		return true, nil
	}
	res, err := j.h.Run(ctx, j.frame(a.n, a.resolved.Check, needLock), max(a.resolved.Timeout, checkTime))
	if err == nil && res.Code == exitNoOverlay {
		return false, nil
	}
	return true, failed("check "+a.change.Summary().Title, res, err)
}

// checkTime is what any validator may take: Synapse's loads all of Synapse.
const checkTime = 2 * time.Minute

// exitNoOverlay is a validator's exit status where the host allows no mount
// namespace.
const exitNoOverlay = 95

// arm says on the host that from now on the run is rolled back by rollback.sh, and,
// with revertAfter, starts what does so when nobody feeds it any more. What is interrupted
// before the rename has changed nothing. about and kept, what was brought before
// and stays in any case, go to the audit log.
func (j journal) arm(ctx context.Context, about string, kept []action, records steps.LedgerMoves) error {
	text := fmt.Sprintf(`head -c %d /dev/zero >"$R/ballast" && ec_remember >"$R/fence" && : >"$R/arming" || exit 1
`, ballastKiB<<10)
	if j.revertAfter > 0 {
		// What the boot hook starts must be on disk before the hook is.
		text += fmt.Sprintf("ec_feed %d && ec_sync \"$R\"/* \"$R\" \"$D/runs\" \"$D\" && ec_watch_on || exit 1\n", seconds(j.revertAfter))
	}
	text += `sync && mv -- "$R/arming" "$R/armed" && ec_sync "$R" || exit 1
` + audited("begun", about+", ") + `"$(ec_whence)"`
	for _, a := range kept {
		text += " && " + audited("kept", a.String())
	}
	text += "\n[ $? = 0 ] || exit 1\n: >\"$J/touched\" && ec_sync \"$J\" || exit 1\n" + ledgerText(records) + ":\n"
	res, err := j.h.Run(ctx, j.frame(0, text, needLock), 0)
	return failed("arm the rollback", res, err)
}

// feed puts off the moment in which the host rolls the run back by itself.
// errTakenBack says that it has done so.
func (j journal) feed(ctx context.Context) error {
	res, err := j.h.Query(ctx, host.Sh(j.frame(0, fmt.Sprintf("ec_feed %d", seconds(j.revertAfter)), needNothing)))
	if err != nil {
		return err
	}
	if res[0].Code == 3 {
		return errRolledBackMeanwhile
	}
	return failed("put off the revert", res[0], nil)
}

var errRolledBackMeanwhile = errors.New("the run was rolled back meanwhile")

// seconds is d in whole seconds, at least one.
func seconds(d time.Duration) int { return max(1, int(d/time.Second)) }

// do saves before-images, marks the change as begun, and makes it: one request.
func (j journal) do(ctx context.Context, a action) error {
	do := a.resolved.Do
	if a.unproved {
		do += "\n(" + plainCheck(a.change) + "\n) || exit 1"
	}
	if a.resolved.Activate != "" {
		do += "\n: >\"$J/activated\" && ec_sync \"$J/activated\" \"$J\" || exit 1\n" + a.resolved.Activate
	}
	done := audited("done", a.String())
	if a.resolved.Act != nil {
		do += "\n: >\"$J/making\" && ec_sync \"$J/making\" \"$J\" || exit 1"
	} else {
		do = "(\n:\n" + do + "\n) || exit\n" + done
	}
	text := "(\n:\n" + a.resolved.Save + "\n) || exit 1\nec_sync \"$J\"/* \"$J\"\n: >\"$J/touched\" && ec_sync \"$J/touched\" \"$J\" || exit 1\n" +
		ledgerText(a.resolved.Ledger) + do
	res, err := j.h.Run(ctx, j.frame(a.n, text, needArmed), a.resolved.Timeout)
	if err == nil && res.Code == 124 && a.resolved.Timeout > 0 {
		return fmt.Errorf("change %s: it did not end within %s", a.change.Summary().Title, a.resolved.Timeout)
	}
	if err := failed("change "+a.change.Summary().Title, res, err); err != nil {
		return err
	}
	if a.resolved.Act == nil {
		return nil
	}
	// The engine goes on with a request that nobody waits for any more, so the
	// undo must not begin before its end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), actTime)
	defer cancel()
	d, err := j.h.Docker(ctx)
	if err != nil {
		return err
	}
	if err := a.resolved.Act(ctx, d); err != nil {
		return err
	}
	// Somebody else may have run rollback.sh meanwhile: then this was too late,
	// and nobody but us would roll it back.
	res, err = j.h.Run(ctx, j.frame(a.n, `: >"$J/made"
[ ! -e "$R/armed" ] || { `+done+`; exit; }
docker ps -aq --filter label=`+steps.LabelRun+`="$RUN" | while read -r c; do docker rm -f "$c" >/dev/null; done
echo 'the run was rolled back meanwhile' >&2
exit 1`, needNothing), actTime)
	return failed("change "+a.change.Summary().Title, res, err)
}

// actTime bounds what the engine's API does for one change.
const actTime = 2 * time.Minute

// plainCheck is the validator without its mount namespace, for hosts that
// allow none: it runs after the write and before anything reads the files.
func plainCheck(c steps.Change) string {
	if f, ok := c.(*steps.Files); ok {
		return f.CheckText()
	}
	return ""
}

// commit makes the run final and releases the host; what the site's runs before
// this one had set aside goes.
func (j journal) commit(ctx context.Context) (head AuditHead, truncated bool, err error) {
	res, err := j.h.Run(ctx, "sh "+shellescape.Quote(j.dir+"/commit.sh")+"\nrc=$?\nD="+Root+"\n"+auditScript+"\n"+askAudit(j.seen)+"\nexit $rc", 2*time.Minute)
	if err == nil {
		head, truncated = auditSince(res.Stdout, j.seen)
		res.Stdout = []byte(withoutAudit(res.Stdout))
	}
	if err == nil && res.Code == exitUntidy && j.revertAfter > 0 {
		return head, truncated, nil // watch.sh goes on with it
	}
	return head, truncated, failed("commit", res, err)
}

// exitUntidy is commit.sh's exit status where the run is final, but what is to be
// tidied up after it could not be.
const exitUntidy = 4

// discard removes the folder of a run that changed nothing but what it kept, and
// releases the host if the run holds it.
func (j journal) discard(ctx context.Context, kept []action) error {
	// Without lib.sh, which may not have arrived.
	text := fmt.Sprintf("D=%s R=%s RUN=%s\n%s\n%s\n", Root, shellescape.Quote(j.dir), shellescape.Quote(j.run), steps.Lib, hostLib)
	for _, a := range kept {
		text += audited("kept", a.String()+", of a run that changed nothing else") + "\n"
	}
	res, err := j.h.Run(ctx, text+discardText, 0)
	return failed("release "+j.h.Name(), res, err)
}

const discardText = `mv -f -- "$R/arming" "$R/cut" 2>/dev/null
ec_begun "$R" || { ec_release && rm -rf -- "$R"; }`

// failed makes an error of a command that did not succeed, with the last lines
// of what it said.
func failed(what string, r host.Result, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if r.OK() {
		return nil
	}
	said := host.Said(string(r.Stderr)+string(r.Stdout), 12)
	switch {
	case r.Code == 124 && said == "":
		said = "it did not end in time"
	case said == "":
		said = fmt.Sprintf("exit status %d", r.Code)
	}
	return fmt.Errorf("%s: %s", what, said)
}
