package engine

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"fmt"
	"path"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/plans"
	"github.com/emdecloud/ecdeploy/steps"
)

// Root is where ecdeploy keeps its journals on a host; only root may enter.
const Root = "/var/lib/ecdeploy"

//go:embed rollback.sh
var rollbackMain string

// rollbackScript is the whole of a run's rollback.sh.
func rollbackScript() string { return "#!/bin/sh\n" + rollbackMain }

// ballastKiB is allocated before a run and freed by its rollback, so that a
// disk that filled up meanwhile can be led back.
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
	stage    plans.Stage
	step     string
	change   steps.Change
	resolved steps.Resolved
	unproved bool // its validator could not look before the write
}

// journal is a run's folder on one host.
type journal struct {
	h    host.Host
	site string
	run  string
	dir  string
}

func newJournal(h host.Host, site, run string) journal {
	slug := strings.NewReplacer(":", "_", "/", "_").Replace(site)
	return journal{h, site, run, Root + "/runs/" + run + "." + slug}
}

func (j journal) changeDir(n int) string { return fmt.Sprintf("%s/changes/%04d", j.dir, n) }

// sitePointer is the file that names the last committed run of the site here.
func (j journal) sitePointer() string {
	return Root + "/sites/" + strings.TrimPrefix(path.Base(j.dir), j.run+".")
}

// stage makes the folder and uploads everything that the run will need.
func (j journal) stage(ctx context.Context, about string, actions []action) error {
	dirs := []string{j.dir + "/changes"}
	for _, a := range actions {
		dirs = append(dirs, j.changeDir(a.n))
	}
	res, err := j.h.Run(ctx, "umask 077\nmkdir -p "+shellescape.QuoteCommand(dirs)+" && chmod 0700 "+Root+" || exit 1", 0)
	if err := failed("make the journal", res, err); err != nil {
		return err
	}
	files := []host.Upload{
		{Path: j.dir + "/rollback.sh", Mode: 0o700, Data: []byte(rollbackScript())},
		{Path: j.dir + "/lib.sh", Mode: 0o600, Data: []byte(steps.Lib)},
		{Path: j.dir + "/run", Mode: 0o600, Data: []byte(j.run + "\n")},
		{Path: j.dir + "/about", Mode: 0o600, Data: []byte(about)},
	}
	for _, a := range actions {
		dir := j.changeDir(a.n)
		files = append(files,
			host.Upload{Path: dir + "/undo.sh", Mode: 0o600, Data: []byte(a.resolved.Undo + "\n")},
			host.Upload{Path: dir + "/title", Mode: 0o600, Data: []byte(a.change.Summary().Title + "\n")})
		for _, f := range a.resolved.Stage {
			files = append(files, host.Upload{Path: dir + "/" + f.Name, Mode: f.Mode, Data: f.Data})
		}
	}
	return j.h.Upload(ctx, files)
}

// script frames sh text for a change: the library, its variables, and the
// run's flock, under which the run must still be in force.
func (j journal) script(n int, text string, inForce bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "R=%s RUN=%s J=%s\nexport LC_ALL=C\numask 077\n. \"$R/lib.sh\" || exit 1\n", shellescape.Quote(j.dir), shellescape.Quote(j.run), shellescape.Quote(j.changeDir(n)))
	if inForce {
		b.WriteString("exec 9>>\"$R/flock\"\nflock -w 10 9 9>&9 || exit 1\n[ -e \"$R/armed\" ] || { echo 'the run was taken back meanwhile' >&2; exit 1; }\n")
	}
	b.WriteString("(\ncd / || exit 1\n" + text + "\n) 9>&-\n")
	return b.String()
}

// check runs a change's validator on what was staged. before is false where
// the host cannot show it the staged files in their places.
func (j journal) check(ctx context.Context, a action) (before bool, err error) {
	if a.resolved.Check == "" {
		return true, nil
	}
	res, err := j.h.Run(ctx, j.script(a.n, a.resolved.Check, false), max(a.resolved.Timeout, checkTime))
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

// arm says on the host that from now on the run leads back by rollback.sh.
func (j journal) arm(ctx context.Context) error {
	text := `[ "$(sed -n 's/^run //p' ` + Root + `/lock)" = "$RUN" ] || { echo 'somebody else took the lock of this run' >&2; exit 1; }
` + fmt.Sprintf("head -c %d /dev/zero >\"$R/ballast\" && sync && : >\"$R/armed\" && ec_sync \"$R/armed\" \"$R\"", ballastKiB<<10)
	res, err := j.h.Run(ctx, j.script(0, text, false), 0)
	return failed("arm the rollback", res, err)
}

// do saves before-images, marks the change as begun, and makes it: one request.
func (j journal) do(ctx context.Context, a action) error {
	do := a.resolved.Do
	if a.unproved {
		do += "\n(" + plainCheck(a.change) + "\n) || exit 1"
	}
	if a.resolved.Activate != "" {
		do += "\n: >\"$J/activated\" && ec_sync \"$J/activated\" \"$J\" || exit 1\n" + a.resolved.Activate
	}
	text := "(\n:\n" + a.resolved.Save + "\n) || exit 1\nec_sync \"$J\"/* \"$J\"\n: >\"$J/touched\" && ec_sync \"$J/touched\" \"$J\" || exit 1\n" + do
	res, err := j.h.Run(ctx, j.script(a.n, text, true), a.resolved.Timeout)
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
	// and nobody but us would take it back.
	res, err = j.h.Run(ctx, j.script(a.n, "[ -e \"$R/armed\" ] && exit 0\ndocker ps -aq --filter label="+steps.LabelRun+"=\"$RUN\" | while read -r c; do docker rm -f \"$c\" >/dev/null; done\necho 'the run was taken back meanwhile' >&2\nexit 1", false), actTime)
	return failed("change "+a.change.Summary().Title, res, err)
}

// actTime bounds what the engine's API does for one change.
const actTime = 2 * time.Minute

// plainCheck is the validator without its mount namespace, for hosts that
// allow none: it runs after the write and before anything reads the files.
func plainCheck(c steps.Change) string {
	if f, ok := c.(*steps.Files); ok {
		return f.Check
	}
	return ""
}

// commit makes the run final and releases the host; what the site's run before
// this one had set aside goes.
func (j journal) commit(ctx context.Context) error {
	text := `mv -- "$R/armed" "$R/committed" && ec_sync "$R" || exit 1
rm -f -- "$R/ballast"
mkdir -p ` + Root + `/sites
P=` + shellescape.Quote(j.sitePointer()) + `
last=$(cat "$P" 2>/dev/null)
printf '%s\n' "${R##*/}" >"$P.new" && mv -- "$P.new" "$P" && ec_sync "$P"
if [ -n "$last" ] && [ "$last" != "${R##*/}" ] && [ -d "` + Root + `/runs/$last" ]; then
	aside=$(cat "` + Root + `/runs/$last/run")
	docker ps -a --format '{{.Names}}' 2>/dev/null | grep -F -- ".ecdeploy-$aside" | while IFS= read -r c; do docker rm -f -- "$c" >/dev/null; done
	rm -rf -- "` + Root + `/runs/$last"
fi
for d in ` + Root + `/runs/*."${P##*/}"; do
	if [ -e "$d/reverted" ] && [ ! -e "$d/conflict" ]; then rm -rf -- "$d"; fi
	# Cut before it changed anything.
	[ -e "$d/armed" ] || [ -e "$d/reverting" ] || [ -e "$d/committed" ] || [ -e "$d/reverted" ] || rm -rf -- "$d"
done
` + releaseText
	res, err := j.h.Run(ctx, j.script(0, text, false), 0)
	return failed("commit", res, err)
}

// discard removes the folder of a run that changed nothing.
func (j journal) discard(ctx context.Context) error {
	// Without lib.sh, which may not have arrived.
	res, err := j.h.Run(ctx, "R="+shellescape.Quote(j.dir)+`
[ -e "$R/armed" ] || [ -e "$R/reverting" ] || [ -e "$R/committed" ] || rm -rf -- "$R"`, 0)
	return failed("remove the journal", res, err)
}

// failed makes an error of a command that did not succeed, with the last lines
// of what it said.
func failed(what string, r host.Result, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if r.OK() {
		return nil
	}
	said := lastLines(string(r.Stderr)+string(r.Stdout), 12)
	switch {
	case r.Code == 124 && said == "":
		said = "it did not end in time"
	case said == "":
		said = fmt.Sprintf("exit status %d", r.Code)
	}
	return fmt.Errorf("%s: %s", what, said)
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
