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

// revert runs rollback.sh on the host, the only undo there is.
func (j journal) revert(ctx context.Context) RolledBack {
	out := RolledBack{Site: j.site, Host: j.h.Name(), Command: "sudo sh " + j.dir + "/rollback.sh"}
	res, err := j.h.Run(ctx, fmt.Sprintf("R=%s RUN=%s\n%s", shellescape.Quote(j.dir), shellescape.Quote(j.run), revertText), rollbackTime)
	switch {
	case err != nil:
		out.Err = err.Error()
	case res.Code == 2:
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
	Host  string    `json:"host"`
	Site  string    `json:"site"`
	Run   string    `json:"run"`
	State string    `json:"state"` // "armed", "reverting", "committed" or "reverted"
	By    string    `json:"by"`
	Since time.Time `json:"since"`
	dir   string
}

// Unfinished reports whether the run is neither committed nor taken back.
func (p Past) Unfinished() bool { return p.State == "armed" || p.State == "reverting" }

// History lists the runs of a site that a host remembers, oldest first.
func History(ctx context.Context, h host.Observer, site string) ([]Past, error) {
	text := `for d in ` + Root + `/runs/*; do
	[ -e "$d/about" ] || continue
	state=staged; for s in armed reverting committed reverted; do [ ! -e "$d/$s" ] || state=$s; done
	printf 'dir %s\nstate %s\n' "$d" "$state"; cat "$d/about"; echo end
done`
	res, err := h.Query(ctx, host.Sh(text))
	if err != nil {
		return nil, err
	}
	var out []Past
	p := Past{Host: h.Name()}
	for line := range strings.Lines(string(res[0].Stdout)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch k {
		case "dir":
			p.dir = v
		case "state":
			p.State = v
		case "site":
			p.Site = v
		case "run":
			p.Run = v
		case "by":
			p.By = host.Clean(v)
		case "since":
			p.Since, _ = time.Parse(time.RFC3339, v)
		case "end":
			if p.Site == site {
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
	if r.Err == "" {
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
