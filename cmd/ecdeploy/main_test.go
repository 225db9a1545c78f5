package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/view"
)

// How a command ends, and what it says of what stays: "nothing was changed" is not
// said where an interrupted run was rolled back before.
func TestEnded(t *testing.T) {
	const back, stays = "the interrupted run was rolled back; nothing else was changed\n", "what was done to the other sites stays\n"
	plain := errors.New("no plan")
	rolledBack := fmt.Errorf("x: %w", engine.ErrRolledBack)
	for _, c := range []struct {
		name      string
		recovered bool
		err       error
		code      int
		says      string
	}{
		{"all is well", false, nil, exitOK, ""},
		{"all is well after an interrupted run", true, nil, exitOK, ""},
		{"an error", false, plain, exitError, "error: no plan\n"},
		{"an error after an interrupted run", true, plain, exitRolledBack, "error: no plan\n" + back},
		{"a saved plan that moved, after an interrupted run", true, fmt.Errorf("%w: x", errDrift), exitRolledBack, "error: " + errDrift.Error() + ": x\n" + back},
		{"blocked", false, exitCode(exitError), exitError, ""},
		{"blocked after an interrupted run", true, exitCode(exitError), exitRolledBack, back},
		{"rolled back", false, rolledBack, exitRolledBack, "error: x: rolled back\n"},
		{"rolled back after an interrupted run", true, rolledBack, exitRolledBack, "error: x: rolled back\n" + back},
		{"in doubt after an interrupted run", true, engine.ErrInDoubt, exitInDoubt, "error: the rollback is not complete\n"},
		{"other sites stay", false, partlyApplied{plain}, exitRolledBack, "error: no plan\n" + stays},
		{"other sites stay after an interrupted run", true, partlyApplied{plain}, exitRolledBack, "error: no plan\n" + stays},
		{"changes", false, exitCode(exitChanges), exitChanges, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var says strings.Builder
			err := c.err
			if c.recovered {
				err = afterRecovery(err)
			}
			if code := ended(err, view.NewScreen(nil, nil, &says)); code != c.code || says.String() != c.says {
				t.Errorf("exit code %d, %q; want %d, %q", code, &says, c.code, c.says)
			}
		})
	}
}
