package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// ErrNothingToRollBack says that a host remembers no run that could be taken
// back.
var ErrNothingToRollBack = errors.New("there is no run to take back")

// revertText runs rollback.sh, or, where the run was not even armed on this
// host, only frees it.
const revertText = `set --
case $(cd "$R" 2>/dev/null && echo armed reverting committed reverted | tr ' ' '\n' | while read -r s; do [ ! -e "$s" ] || echo "$s"; done) in
committed) set -- --committed ;;
'') ` + releaseText + `; rm -rf -- "$R"; exit 0 ;;
esac
exec sh "$R/rollback.sh" "$@"
`

// exitConflict is rollback.sh's exit status where it kept what somebody else
// edited. No shell ends with it by itself.
const exitConflict = 76

// revert runs rollback.sh on the host, the only undo there is.
func (j journal) revert(ctx context.Context) RolledBack {
	out := RolledBack{Site: j.site, Host: j.h.Name(), Command: "sudo sh " + j.dir + "/rollback.sh"}
	res, err := j.h.Run(ctx, fmt.Sprintf("R=%s RUN=%s\n%s", shellescape.Quote(j.dir), shellescape.Quote(j.run), revertText), rollbackTime)
	switch {
	case err != nil:
		out.Err = err.Error()
	case res.Code == exitConflict:
		out.Conflicts = true
	case !res.OK():
		out.Err = lastLines(string(res.Stderr), 12)
		if out.Err == "" {
			out.Err = fmt.Sprintf("rollback.sh ended with status %d", res.Code)
		}
	}
	for line := range strings.Lines(string(res.Stdout)) {
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
	// State is "locked" or "staged" where nothing was changed yet, "armed",
	// "reverting", "committed" or "reverted".
	State string    `json:"state"`
	By    string    `json:"by"`
	Since time.Time `json:"since"`
	Holds bool      `json:"holds"` // the host's lock
}

// Unfinished reports whether the run changed the host and is neither committed
// nor taken back.
func (p Past) Unfinished() bool { return p.State == "armed" || p.State == "reverting" }

// Blocks reports whether the run changed nothing, and holds the host all the
// same.
func (p Past) Blocks() bool { return p.Holds && p.untouched() }

func (p Past) untouched() bool { return p.State == "locked" || p.State == "staged" }

// CheckFinished is ErrUnfinished where a run of any site was cut on the host.
func CheckFinished(ctx context.Context, h host.Observer) error {
	all, err := History(ctx, h, "")
	if err != nil {
		return err
	}
	for _, p := range all {
		if p.Unfinished() {
			return fmt.Errorf("%s: %w: run %s of site %s by %s, begun %s\nhint: `ecdeploy rollback` takes its changes back", h.Name(), ErrUnfinished, p.Run, p.Site, p.By, p.Since.Format("2006-01-02 15:04 MST"))
		}
	}
	return nil
}

// History lists the runs of a site that a host remembers, oldest first; those
// of all sites for site "".
func History(ctx context.Context, h host.Observer, site string) ([]Past, error) {
	text := `L=` + Root + `/lock
held=$(sed -n 's/^run //p' "$L" 2>/dev/null)
for d in ` + Root + `/runs/*; do
	[ -e "$d/about" ] || continue
	state=staged; for s in armed reverting committed reverted; do [ ! -e "$d/$s" ] || state=$s; done
	echo "state $state"; cat "$d/about"
	[ "$(cat "$d/run" 2>/dev/null)" != "$held" ] || { echo holds; held=; }
	echo end
done
[ -z "$held" ] || { echo "state locked"; cat "$L"; echo holds; echo end; }`
	res, err := h.Query(ctx, host.Sh(text))
	if err != nil {
		return nil, err
	}
	var out []Past
	p := Past{Host: h.Name()}
	for line := range strings.Lines(string(res[0].Stdout)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch k {
		case "holds":
			p.Holds = true
		case "state":
			p.State = v
		case "site":
			p.Site = host.Clean(v)
		case "run":
			p.Run = host.Clean(v)
		case "by":
			p.By = host.Clean(v)
		case "since":
			p.Since, _ = time.Parse(time.RFC3339, v)
		case "end":
			if site == "" || p.Site == site {
				out = append(out, p)
			}
			p = Past{Host: h.Name()}
		}
	}
	return out, nil
}

// Rollback takes back one past run on its host.
func Rollback(ctx context.Context, h host.Host, p Past) RolledBack {
	ctx, cancel := context.WithTimeout(ctx, rollbackTime)
	defer cancel()
	j := newJournal(h, p.Site, p.Run)
	r := j.revert(ctx)
	if r.Err == "" && !p.untouched() {
		if err := forget(ctx, j); err != nil {
			r.Err = err.Error()
		}
	}
	return r
}

// forget clears the pointer to a run that was taken back.
func forget(ctx context.Context, j journal) error {
	text := "P=" + shellescape.Quote(j.sitePointer()) + "\n" + `[ "$(cat "$P" 2>/dev/null)" != "${R##*/}" ] || rm -f -- "$P"` + "\n" + releaseText
	res, err := j.h.Run(ctx, j.script(0, text, false), 0)
	return failed("forget the run", res, err)
}
