package host

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"

	"github.com/emdecloud/ecdeploy/internal/hint"
)

// Where sudo records what is sent to it (log_input), secrets go another way: by
// SFTP as the user who logs in, into a folder that only this user can enter, from
// which root fetches them. What is done on the host is recorded all the same.

// aroundLife is how long such a folder lives at most, should nobody be there any
// more to remove it.
const aroundLife = 5 * time.Minute

// makeAround makes the folder and says its name, behind the process that removes
// it should nobody else.
const makeAround = `d=$(mktemp -d /run/ecdeploy.XXXXXX 2>/dev/null || mktemp -d) && chown "$SUDO_UID" "$d" || exit 1
setsid sh -c 'sleep "$1"; rm -rf -- "$2"' sh %d "$d" </dev/null >/dev/null 2>&1 5>&- &
printf '%%s %%s' "$!" "$d"`

// fetchAround defines f, which makes the file FROM with MODE what is to stand at
// TO.
const fetchAround = `f() {
	umask 077
	rm -f -- "$3" && : >"$3" && chmod "$2" "$3" && cat -- "$1" >"$3" || exit 1
}
`

// uploadAround is Upload past what sudo records.
func (m *machine) uploadAround(ctx context.Context, files []Upload) error {
	c, err := m.sftpSubsystem(ctx)
	if err != nil {
		err = fmt.Errorf("sudo on the host records its input (log_input), and sshd offers %s no SFTP, by which secrets would go around it: %w",
			m.client.User(), remoteError{err})
		return hint.Wrapf(err, "add to sudoers: Defaults:%s !log_input; or log in as root", m.client.User())
	}
	defer c.Close()
	res, err := m.Run(ctx, fmt.Sprintf(makeAround, int(aroundLife.Seconds())), 0)
	if err != nil {
		return err
	}
	cleaner, dir, _ := strings.Cut(string(res.Stdout), " ")
	if _, err := strconv.Atoi(cleaner); !res.OK() || err != nil || !path.IsAbs(dir) {
		return fmt.Errorf("make a folder for %s: %s", m.client.User(), Said(string(res.Stderr), saidLines))
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), DefaultTimeout)
		defer cancel()
		_, _ = m.Run(ctx, "kill -- -"+cleaner+"; rm -rf -- "+shellescape.Quote(dir), 0) // else it is gone soon
	}()
	staged := make([]Upload, len(files))
	var fetch strings.Builder
	for i, f := range files {
		from := path.Join(dir, strconv.Itoa(i))
		staged[i] = Upload{Path: from, Mode: 0o600, Data: f.Data}
		fmt.Fprintf(&fetch, "f %s %04o %s\n", shellescape.Quote(from), f.Mode.Perm(), shellescape.Quote(f.Path))
	}
	if err := m.uploadBy(ctx, c, staged); err != nil {
		return err
	}
	res, err = m.Run(ctx, fetchAround+fetch.String(), 0)
	if err == nil && !res.OK() {
		err = fmt.Errorf("fetch what was uploaded: %s", Said(string(res.Stderr), saidLines))
	}
	return err
}
