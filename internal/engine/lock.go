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

	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/internal/host"
)

// ErrBusy says that another run holds a host. The caller names the holder and
// changes nothing.
var ErrBusy = errors.New("another run holds the host")

// ErrUnfinished says that an earlier run on a host was interrupted. The caller offers
// to roll it back.
var ErrUnfinished = errors.New("an earlier run was not finished")

// Exit statuses of ec_take_lock in host.sh.
const (
	exitBusy       = 75
	exitUnfinished = 76
)

// lock takes a host for a run.
func lock(ctx context.Context, h host.Host, site, run string) error {
	text := fmt.Sprintf("D=%s R= RUN=%s\nexport LC_ALL=C\n%s\nec_take_lock %s", Root, shellescape.Quote(run), hostLib,
		shellescape.Quote("run "+run+"\nsite "+site+"\n"+holder()))
	res, err := h.Run(ctx, text, 0)
	if err == nil && res.Code == exitBusy {
		return hint.Wrap(fmt.Errorf("%s: %w: %s", h.Name(), ErrBusy, oneLine(res.Stdout)),
			"wait for it; `ecdeploy rollback` with its plan file frees the host and undoes what it changed")
	}
	if err == nil && res.Code == exitUnfinished {
		return hint.Wrap(fmt.Errorf("%s: %w: %s", h.Name(), ErrUnfinished, oneLine(res.Stdout)), "`ecdeploy rollback` undoes its changes")
	}
	return failed("lock "+h.Name(), res, err)
}

// holder says who runs this: one line each for the person on a laptop and the
// time.
func holder() string {
	return fmt.Sprintf("by %s\nsince %s\n", Laptop(), time.Now().UTC().Format(time.RFC3339))
}

// Laptop is the person and the machine that run this, "who@machine".
func Laptop() string {
	who, machine := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	if name, err := os.Hostname(); err == nil {
		machine = name
	}
	return who + "@" + machine
}

func oneLine(b []byte) string {
	return host.Clean(strings.Join(strings.FieldsFunc(strings.TrimSpace(string(b)), func(r rune) bool { return r == '\n' }), ", "))
}
