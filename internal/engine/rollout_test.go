package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/emdecloud/ecdeploy/steps"
)

// rolling notes what a rollout does, in the order in which it happens.
type rolling struct {
	mu    sync.Mutex
	lines []string
}

func (r *rolling) note(what string, site int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf("%s %d", what, site))
}

// at is the place of a line, and fails the test where there is not exactly one.
func (r *rolling) at(t *testing.T, what string, site int) int {
	t.Helper()
	line := fmt.Sprintf("%s %d", what, site)
	i := slices.Index(r.lines, line)
	if i < 0 || slices.Contains(r.lines[i+1:], line) {
		t.Fatalf("%q is not there once: %q", line, r.lines)
	}
	return i
}

// Sites that share no host are applied at once; the others wait, and are planned
// again one at a time.
func TestRolloutOrder(t *testing.T) {
	turns := []steps.Turn{{}, {}, {After: []int{0}}, {Idle: true}, {After: []int{0, 2}}, {After: []int{1}}, {After: []int{1}}}
	var did rolling
	var both sync.WaitGroup // sites 0 and 1: neither goes on without the other
	both.Add(2)
	var asking sync.Mutex
	out := Rollout{
		Turns: turns,
		Again: func(_ context.Context, site int) error {
			if !asking.TryLock() {
				t.Error("two sites are planned again at the same time")
				return nil
			}
			defer asking.Unlock()
			did.note("again", site)
			for range 100 {
				runtime.Gosched()
			}
			return nil
		},
		Apply: func(_ context.Context, site int) error {
			did.note("begin", site)
			if site < 2 {
				both.Done()
				both.Wait()
			}
			did.note("end", site)
			return nil
		},
	}.Run(t.Context())
	for i, turn := range turns {
		want := FateApplied
		if turn.Idle {
			want = FateIdle
		}
		if out[i].Fate != want || out[i].Err != nil {
			t.Errorf("site %d: %+v", i, out[i])
		}
		for _, before := range turn.After {
			if did.at(t, "end", before) > did.at(t, "again", i) || did.at(t, "again", i) > did.at(t, "begin", i) {
				t.Errorf("site %d does not wait for site %d: %q", i, before, did.lines)
			}
		}
	}
	if len(did.lines) != 2*6+4 {
		t.Errorf("it does more: %q", did.lines)
	}
}

// After a failure no further site is begun, and what is under way goes on. The site
// that failed may have failed when it was planned again.
func TestRolloutFailure(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name  string
		turns []steps.Turn
		again int // the site that cannot be planned again; -1 for none
		apply int // the site that cannot be applied; -1 for none
		want  []Fate
	}{
		{"the first of three", []steps.Turn{{}, {After: []int{0}}, {After: []int{0, 1}}}, -1, 0, []Fate{FateFailed, FateNotBegun, FateNotBegun}},
		{"the second of three", []steps.Turn{{}, {After: []int{0}}, {After: []int{0, 1}}}, -1, 1, []Fate{FateApplied, FateFailed, FateNotBegun}},
		{"planned again", []steps.Turn{{}, {After: []int{0}}, {After: []int{0, 1}}}, 1, -1, []Fate{FateApplied, FateFailed, FateNotBegun}},
		{"next to one that goes on", []steps.Turn{{}, {Idle: true}, {}, {After: []int{0, 2}}}, -1, 0, []Fate{FateFailed, FateIdle, FateApplied, FateNotBegun}},
	} {
		t.Run(c.name, func(t *testing.T) {
			begun, failed := make(chan struct{}), make(chan struct{}) // site 2 of the last case is under way while site 0 fails
			both := len(c.turns) > 3
			out := Rollout{
				Turns: c.turns,
				Again: func(_ context.Context, site int) error {
					if site == c.again {
						return broken
					}
					return nil
				},
				Apply: func(_ context.Context, site int) error {
					if both && site == 2 {
						close(begun)
						<-failed
					}
					if site != c.apply {
						return nil
					}
					if both {
						<-begun
						defer close(failed)
					}
					return broken
				},
			}.Run(t.Context())
			for i, o := range out {
				if o.Fate != c.want[i] || errors.Is(o.Err, broken) != (o.Fate == FateFailed) || o.Err == nil && o.Fate == FateFailed {
					t.Errorf("site %d: %+v, want %d", i, o, c.want[i])
				}
			}
		})
	}
}

// More sites than may be under way at once, all waiting for the first, come to an end.
func TestRolloutOfManySites(t *testing.T) {
	turns := make([]steps.Turn, 3*sitesAtOnce)
	for i := range turns[1:] {
		turns[i+1].After = []int{i}
	}
	nothing := func(context.Context, int) error { return nil }
	for i, o := range (Rollout{Turns: turns, Again: nothing, Apply: nothing}).Run(t.Context()) {
		if o.Fate != FateApplied {
			t.Errorf("site %d: %+v", i, o)
		}
	}
}
