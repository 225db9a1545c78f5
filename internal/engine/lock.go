package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// ErrBusy says that another run holds a host. The caller names the holder and
// changes nothing.
var ErrBusy = errors.New("another run holds the host")

// ErrUnfinished says that an earlier run on a host was cut. The caller offers
// to roll it back.
var ErrUnfinished = errors.New("an earlier run was not finished")

// releaseText frees the host's lock if this run holds it.
const releaseText = `if [ "$(sed -n 's/^run //p' ` + Root + `/lock 2>/dev/null)" = "$RUN" ]; then rm -f -- ` + Root + `/lock; fi`

// lock takes a host for a run. It is a file that appears whole or not at all:
// a hard link to one that says who holds it.
func lock(ctx context.Context, h host.Host, site, run string) error {
	text := fmt.Sprintf(`umask 077
mkdir -p %[1]s/runs && chmod 0700 %[1]s || exit 1
for d in %[1]s/runs/*; do
	if [ -e "$d/armed" ] || [ -e "$d/reverting" ]; then echo "unfinished ${d##*/}"; cat "$d/about"; exit 76; fi
done
held=$(sed -n 's/^run //p' %[1]s/lock 2>/dev/null)
for d in %[1]s/runs/"$held".*; do
	# That run ended, and was cut before it freed the host.
	if [ -e "$d/committed" ] || [ -e "$d/reverted" ]; then rm -f %[1]s/lock; fi
done
printf '%%s' %[2]s >%[1]s/lock.%[3]s || exit 1
if ln %[1]s/lock.%[3]s %[1]s/lock 2>/dev/null; then rm -f %[1]s/lock.%[3]s; exit 0; fi
rm -f %[1]s/lock.%[3]s
cat %[1]s/lock
exit 75`, Root, shellescape.Quote("run "+run+"\nsite "+site+"\n"+holder()), shellescape.Quote(run))
	res, err := h.Run(ctx, text, 0)
	if err == nil && res.Code == 75 {
		return fmt.Errorf("%s: %w: %s\nhint: wait for it; if it is dead, `ecdeploy rollback` with its plan file frees the host and takes back what it changed", h.Name(), ErrBusy, oneLine(res.Stdout))
	}
	if err == nil && res.Code == 76 {
		return fmt.Errorf("%s: %w: %s\nhint: `ecdeploy rollback` takes its changes back", h.Name(), ErrUnfinished, oneLine(res.Stdout))
	}
	return failed("lock "+h.Name(), res, err)
}

// unlock frees a host that this run holds.
func unlock(ctx context.Context, h host.Host, run string) error {
	res, err := h.Run(ctx, "RUN="+shellescape.Quote(run)+"\n"+releaseText, 0)
	return failed("unlock "+h.Name(), res, err)
}

// holder says who runs this: one line each for the person, the laptop and the
// time.
func holder() string {
	who, machine := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	if name, err := os.Hostname(); err == nil {
		machine = name
	}
	return fmt.Sprintf("by %s@%s\nsince %s\n", who, machine, time.Now().UTC().Format(time.RFC3339))
}

func oneLine(b []byte) string {
	return host.Clean(strings.Join(strings.FieldsFunc(strings.TrimSpace(string(b)), func(r rune) bool { return r == '\n' }), ", "))
}
