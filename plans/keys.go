package plans

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// commandTimeout bounds a command of the plan file that runs on the laptop; a
// password manager may ask its owner something meanwhile.
const commandTimeout = 2 * time.Minute

// GivenKeys are the credentials that the plan file gives for a site; zero
// where ecdeploy is to make or find them.
func (s Site) GivenKeys(ctx context.Context) (steps.Keys, error) {
	if s.Keys == nil {
		return steps.Keys{}, nil
	}
	if len(s.Keys.Command) == 0 {
		return steps.Keys{Key: host.NewSecret(s.Keys.Key), Secret: host.NewSecret(s.Keys.Secret)}, nil
	}
	out, err := Command(ctx, s.Keys.Command)
	if err != nil {
		return steps.Keys{}, err
	}
	k, v, ok := strings.Cut(out.Reveal(), ": ")
	if !ok || strings.Contains(k+v, "\n") {
		return steps.Keys{}, errors.New("livekit_keys.command printed something else than one line `KEY: SECRET`")
	}
	k, v = strings.TrimSpace(k), strings.TrimSpace(v)
	for _, c := range []struct {
		value string
		check func(string) (wrong, mend string)
	}{{k, wrongKey}, {v, wrongSecret}} {
		if wrong, mend := c.check(c.value); wrong != "" {
			return steps.Keys{}, fmt.Errorf("livekit_keys.command printed `KEY: SECRET`, and its %s: %s", wrong, mend)
		}
	}
	return steps.Keys{Key: host.NewSecret(k), Secret: host.NewSecret(v)}, nil
}

// Command runs a command of the plan file on the laptop and returns what it
// printed, without the line end. Its error never holds what it printed.
func Command(ctx context.Context, argv []string) (host.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second // for what it started and left behind
	out, err := cmd.Output()
	if err != nil {
		return host.Secret{}, fmt.Errorf("run %s: %w", argv[0], err)
	}
	return host.NewSecret(strings.TrimRight(string(out), "\r\n")), nil
}
