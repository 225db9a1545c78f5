package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"al.essio.dev/pkg/shellescape"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// Forget drops entries of a site's ledger on a host without doing anything about the
// things that they stand for. about says for the audit log what they are.
func Forget(ctx context.Context, h host.Host, entries []steps.Entry, about string) error {
	return holding(ctx, h, entries[0].Site, func(ctx context.Context) error { return forget(ctx, h, entries, about) })
}

// holding does something while no run can hold the host.
func holding(ctx context.Context, h host.Host, site string, do func(context.Context) error) error {
	run := NewRunID(time.Now())
	if err := lock(ctx, h, site, run); err != nil {
		return err
	}
	err := do(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	res, runErr := h.Run(ctx, fmt.Sprintf("D=%s RUN=%s\n%s\nec_unlock", Root, run, hostLib), 0)
	return errors.Join(err, failed("release "+h.Name(), res, runErr))
}

func forget(ctx context.Context, h host.Host, entries []steps.Entry, about string) error {
	var dirs []string
	for _, e := range entries {
		dirs = append(dirs, e.Dir())
	}
	text := "D=" + Root + "\n" + steps.Lib + "\n" + hostLib + `
rm -rf -- ` + shellescape.QuoteCommand(dirs) + ` && sync || exit 1
` + audited("forgotten", about+", by "+Laptop()+", ") + `"$(ec_whence)"`
	res, err := h.Run(ctx, text, 0)
	return failed("forget "+about, res, err)
}

// PruneForeign removes a container of somebody else's that a run has set aside.
func PruneForeign(ctx context.Context, h host.Host, e steps.Entry) error {
	return holding(ctx, h, e.Site, func(ctx context.Context) error { return pruneForeign(ctx, h, e) })
}

func pruneForeign(ctx context.Context, h host.Host, e steps.Entry) error {
	text := steps.Lib + "\nid=$(cat " + shellescape.Quote(e.Dir()+"/container.id") + `) || exit 1
ec_engine || { echo "the Docker engine does not answer" >&2; exit 1; }
[ "$(ec_container "$id" '{{.Name}}')" != ` + shellescape.Quote("/"+e.Aside) + ` ] || docker rm -f -- "$id" >/dev/null`
	res, err := h.Run(ctx, text, 0)
	if err := failed("remove container "+e.Aside, res, err); err != nil {
		return err
	}
	return forget(ctx, h, []steps.Entry{e}, "container "+e.Aside)
}
