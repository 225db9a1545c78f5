package plans

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

// commandTimeout bounds a command of the plan file that runs on the laptop; a
// password manager may ask its owner something meanwhile.
const commandTimeout = 2 * time.Minute

// Credentials choose those that a plan is made for, by what the hosts hold; a
// zero answer means that new ones are made. Rotations answer what is found
// where there is nothing for them to do.
type Credentials func(found credentials.Found) (livekit.Keys, error)

// KeepKeys takes the credentials that the plan file gives, else those on the
// hosts.
func (s Site) KeepKeys(ctx context.Context) (Credentials, error) {
	given, err := s.GivenKeys(ctx)
	if err != nil {
		return nil, err
	}
	return func(found credentials.Found) (livekit.Keys, error) {
		return found.Keep(given), nil
	}, nil
}

// RotateKeys brings a new pair, the one that the plan file gives now or one
// that is made here, once for all plans, and keeps the pair in use as the old one. A
// site in a rotation stays as it is.
func (s Site) RotateKeys(ctx context.Context) (Credentials, error) {
	fresh, err := s.GivenKeys(ctx)
	if err == nil && fresh.IsZero() {
		fresh, err = livekit.NewKeys()
	}
	if err != nil {
		return nil, err
	}
	return func(all credentials.Found) (livekit.Keys, error) {
		found := all.Keys
		if err := whole(all); err != nil {
			return found, err
		}
		switch {
		case found.IsZero():
			return found, hint.New("there are no credentials on its hosts yet", "ecdeploy apply makes them")
		case !found.Old.IsZero():
			return found, nil
		case fresh.Pair() == found.Pair():
			return found, hint.New("the plan file gives the credentials that its hosts have already",
				"first change them where livekit_keys takes them from")
		case fresh.Key == found.Key:
			return found, hint.New("the plan file gives another LIVEKIT_SECRET for the LIVEKIT_KEY in use, and LiveKit accepts one secret for a key",
				"change the key, too; or ecdeploy apply, which changes the secret at once, without overlap")
		}
		return livekit.Keys{Key: fresh.Key, Secret: fresh.Secret, Old: found.Pair()}, nil
	}, nil
}

// whole is an error where a rotation cannot tell which tokens it would make
// worthless: LiveKit's key file is not understood, or the JWT service makes them
// with others than LiveKit has first, as after a run that was interrupted between the
// commits of two hosts.
func whole(found credentials.Found) error {
	switch {
	case found.Unread != "":
		return hint.Wrap(fmt.Errorf("what %s holds is not understood: LiveKit may accept other pairs", found.Unread),
			"write it as lines `KEY: SECRET`, two at most, without quotes, the pair in use first")
	case !found.Keys.IsZero() && found.Issues != found.Keys.Pair():
		return hint.New("the JWT service does not make tokens with the credentials that LiveKit has as those in use",
			"ecdeploy apply goes forward: it gives both the same")
	}
	return nil
}

// DropOldKeys ends a rotation: the pair in use stays, the old one goes.
func (s Site) DropOldKeys(ctx context.Context) (Credentials, error) {
	given, err := s.GivenKeys(ctx)
	if err != nil {
		return nil, err
	}
	return func(all credentials.Found) (livekit.Keys, error) {
		found := all.Keys
		if err := whole(all); err != nil {
			return found, err
		}
		if !found.Old.IsZero() && !given.IsZero() && given.Pair() != found.Pair() {
			return found, hint.New("the plan file gives other credentials than those in use",
				"give those in use to end the rotation; or ecdeploy apply, which changes to the new ones at once and ends it, too")
		}
		return livekit.Keys{Key: found.Key, Secret: found.Secret}, nil
	}, nil
}

// FoundKeys are the credentials that Look found.
func FoundKeys(shared steps.Shared) credentials.Found { return credentials.Find(shared) }

// GivenKeys are the credentials that the plan file gives for a site; zero
// where ecdeploy is to make or find them.
func (s Site) GivenKeys(ctx context.Context) (livekit.Keys, error) {
	if s.Keys == nil {
		return livekit.Keys{}, nil
	}
	if len(s.Keys.Command) == 0 {
		return livekit.Keys{Key: s.Keys.Key, Secret: s.Keys.Secret}, nil
	}
	out, err := Command(ctx, s.Keys.Command)
	if err != nil {
		return livekit.Keys{}, err
	}
	k, v, ok := strings.Cut(out.Reveal(), ": ")
	if !ok || strings.Contains(k+v, "\n") {
		return livekit.Keys{}, errors.New("livekit_keys.command printed something else than one line `KEY: SECRET`")
	}
	k, v = strings.TrimSpace(k), strings.TrimSpace(v)
	for _, c := range []struct {
		value string
		check func(string) (wrong, fix string)
	}{{k, wrongKey}, {v, wrongSecret}} {
		if wrong, fix := c.check(c.value); wrong != "" {
			return livekit.Keys{}, fmt.Errorf("livekit_keys.command printed `KEY: SECRET`, and its %s: %s", wrong, fix)
		}
	}
	return livekit.Keys{Key: host.NewSecret(k), Secret: host.NewSecret(v)}, nil
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
