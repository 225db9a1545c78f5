package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"

	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/internal/host"
)

// ErrNothingToRollBack says that a host remembers no run that could be rolled
// back.
var ErrNothingToRollBack = errors.New("there is no run to roll back")

// revertText runs rollback.sh, or, where the run was not even armed on this
// host, only frees it.
const revertText = `set --
case $(cd "$R" 2>/dev/null && echo armed reverting committed reverted | tr ' ' '\n' | while read -r s; do [ ! -e "$s" ] || echo "$s"; done) in
committed) set -- --committed ;;
'') ` + discardText + `; exit ;;
esac
sh "$R/rollback.sh" "$@"
rc=$?
`

// exitConflict is rollback.sh's exit status where it kept what somebody else
// edited. No shell ends with it by itself.
const exitConflict = 76

// revert runs rollback.sh on the host, the only undo there is.
func (j journal) revert(ctx context.Context) RolledBack {
	out := RolledBack{Site: j.site, Host: j.h.Name(), Command: "sudo sh " + shellescape.Quote(j.dir+"/rollback.sh")}
	res, err := j.h.Run(ctx,
		fmt.Sprintf("D=%s R=%s RUN=%s\n%s\n%s", Root, shellescape.Quote(j.dir), shellescape.Quote(j.run), hostLib, revertText)+askAudit(j.seen)+"\nexit $rc\n",
		rollbackTime)
	switch {
	case err != nil:
		out.Err = err.Error()
	case res.Code == exitConflict:
		out.Conflicts = true
	case !res.OK():
		out.Err = host.Said(string(res.Stderr), 12)
		if out.Err == "" {
			out.Err = fmt.Sprintf("rollback.sh ended with status %d", res.Code)
		}
	}
	if err == nil {
		out.Audit, out.Cut = auditSince(res.Stdout, j.seen)
	}
	for line := range strings.Lines(withoutAudit(res.Stdout)) {
		out.Report = append(out.Report, host.Clean(strings.TrimSpace(line)))
	}
	if out.Err == "" && !out.Conflicts {
		out.Command = ""
	}
	return out
}

// Past is a run that a host remembers.
type Past struct {
	Host string `json:"host"`
	Site string `json:"site"`
	Run  string `json:"run"`
	// State is "locked", "staged" or "arming" where nothing was changed yet,
	// "armed", "reverting", "committed" or "reverted".
	State   string    `json:"state"`
	By      string    `json:"by"`
	Since   time.Time `json:"since"`
	Version string    `json:"version,omitempty"` // of ecdeploy
	Hosts   []string  `json:"hosts,omitempty"`   // of the site, which the run was on
	Holds   bool      `json:"holds"`             // the host's lock
	// Alive says that the run goes on: its connection stands, or somebody takes
	// it back just now.
	Alive bool `json:"alive,omitempty"`
	// Watched says what leads the host back by itself: "systemd" or "loop", and
	// "boot" or "noboot"; "" for nothing.
	Watched string `json:"watched,omitempty"`
	// Left is how long an armed run has until then.
	Left     time.Duration `json:"left,omitempty"`
	Conflict bool          `json:"conflict,omitempty"` // kept what somebody else edited
}

// Unfinished reports whether the run changed the host and is neither committed
// nor rolled back.
func (p Past) Unfinished() bool { return p.State == "armed" || p.State == "reverting" }

// Blocks reports whether the run changed nothing, and holds the host all the
// same.
func (p Past) Blocks() bool { return p.Holds && p.untouched() }

func (p Past) untouched() bool {
	return p.State == "locked" || p.State == "staged" || p.State == "arming"
}

// String says what happened and when, for a person.
func (p Past) String() string {
	return fmt.Sprintf("run %s of site %s by %s, begun %s, %s", p.Run, p.Site, p.By, p.Since.Format("2006-01-02 15:04 MST"), p.What())
}

// What says in some words where the run stands.
func (p Past) What() string {
	switch {
	case p.State == "reverting" && p.Alive:
		return "is being rolled back"
	case p.State == "reverting":
		return "is rolled back only in part"
	case p.Alive:
		return "is going on"
	case p.Unfinished() && p.Watched != "" && p.Left > 0:
		return fmt.Sprintf("was interrupted; the host rolls it back by itself in %s", p.Left)
	case p.Unfinished():
		return "was interrupted half-way"
	case p.untouched():
		return "was interrupted before it changed anything"
	}
	return "is " + p.State
}

// CheckFinished is an error where a run of any site changed a host and is
// neither committed nor rolled back: ErrBusy while it goes on, ErrUnfinished
// where it was interrupted.
func CheckFinished(all []Past) error {
	for _, p := range all {
		switch {
		case p.Alive && !p.untouched():
			return hint.Wrap(fmt.Errorf("%s: %w: %s", p.Host, ErrBusy, p), "wait for its end")
		case p.Unfinished():
			return hint.Wrap(fmt.Errorf("%s: %w: %s", p.Host, ErrUnfinished, p),
				"`ecdeploy rollback` undoes its changes; `ecdeploy apply --recover` does so and goes on")
		}
	}
	return nil
}

// InDoubt lists, of all that the hosts of a site remember, the committed parts
// of a run that another host of it has rolled back: it was interrupted between two
// commits.
func InDoubt(all []Past) []Past {
	var out []Past
	for _, p := range all {
		if p.State != "committed" {
			continue
		}
		for _, q := range all {
			if q.Run == p.Run && q.Site == p.Site && q.Host != p.Host && q.State != "committed" {
				out = append(out, p)
				break
			}
		}
	}
	return out
}

// Memory is what a host remembers.
type Memory struct {
	Runs  []Past    // of all sites, oldest first
	Audit AuditHead // of its audit log
	// Cut says that the log has no longer the line that the laptop saw last.
	Cut bool
}

// Recall asks a host for the runs that it remembers, and whether its audit log still
// goes on from the line that the laptop saw last.
func Recall(ctx context.Context, h host.Observer, seen AuditHead) (Memory, error) {
	res, err := h.Query(ctx, host.Sh("D="+Root+"\n"+hostLib+"\n"+askAudit(seen)+"\nec_history"))
	if err != nil {
		return Memory{}, err
	}
	var out Memory
	out.Audit, out.Cut = auditSince(res[0].Stdout, seen)
	out.Cut = out.Cut || out.Audit.IsZero() && !seen.IsZero() // a host that keeps silent
	p := Past{Host: h.Name()}
	for line := range strings.Lines(withoutAudit(res[0].Stdout)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case k != "end":
			p.learn(k, host.Clean(v))
		default:
			out.Runs = append(out.Runs, p)
			p = Past{Host: h.Name()}
		}
	}
	return out, nil
}

func (p *Past) learn(key, value string) {
	switch key {
	case "holds":
		p.Holds = true
	case "alive":
		p.Alive = true
	case "conflict":
		p.Conflict = true
	case "state":
		p.State = value
	case "site":
		p.Site = value
	case "run":
		p.Run = value
	case "by":
		p.By = value
	case "version":
		p.Version = value
	case "hosts":
		p.Hosts = strings.Fields(value)
	case "watched":
		p.Watched = value
	case "since":
		p.Since, _ = time.Parse(time.RFC3339, value) // zero where the file was tampered with
	case "left":
		if n, err := strconv.Atoi(value); err == nil {
			p.Left = time.Duration(n) * time.Second
		}
	}
}

// Prune removes what a host kept of a run that is over: its folder, with its
// before-images, and the containers that it had set aside. It cannot be rolled
// back any more.
func Prune(ctx context.Context, h host.Host, p Past) error {
	j := newJournal(h, p.Site, p.Run)
	text := `exec 8>>"$R/rollback.lock"
flock -w 30 8 8>&8 || { echo 'the run is busy' >&2; exit 1; }
[ ! -e "$R/armed" ] && [ ! -e "$R/reverting" ] || { echo 'the run is not over' >&2; exit 1; }
` + audited("pruned", "by "+Laptop()+", ") + `"$(ec_whence)"
ec_forget "$R" 8>&-`
	res, err := h.Run(ctx, j.frame(0, text, needNothing), rollbackTime)
	return failed("forget run "+p.Run, res, err)
}

// Rollback rolls back one past run on its host. seen is the line of its audit log
// that the laptop saw last.
func Rollback(ctx context.Context, h host.Host, p Past, seen AuditHead) RolledBack {
	ctx, cancel := context.WithTimeout(ctx, rollbackTime)
	defer cancel()
	j := newJournal(h, p.Site, p.Run)
	j.seen = seen
	return j.revert(ctx)
}
