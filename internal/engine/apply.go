package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
)

// Outcomes of a run, besides success. Their texts are the endings of the error
// that Apply returns.
var (
	// ErrRolledBack says that the run failed and every host is as before.
	ErrRolledBack = errors.New("rolled back")
	// ErrInDoubt says that the run failed and a rollback is not complete; the
	// events name what is left and the command that finishes it.
	ErrInDoubt = errors.New("the rollback is not complete")
)

// rollbackTime bounds a rollback: Synapse may have to start twice in it.
const rollbackTime = 10 * time.Minute

// Run is one apply of one site.
type Run struct {
	ID      string
	Version string // of ecdeploy
	Hosts   map[string]host.Host
	// Replan makes the site's plan again, for after the locks are taken.
	Replan func(context.Context) (steps.SitePlan, error)
	Checks Checker
	// Prove looks, beyond the checks of the plan, whether what was deployed works:
	// once before it is announced to clients, and once afterwards. An error rolls
	// the run back. nil for a run that proves no more.
	Prove func(ctx context.Context, announced bool, keys livekit.Keys) error
	// NewSecrets makes the site's secrets where none are given nor found.
	NewSecrets func() (steps.Secrets, error)
	Emit       Sink
	// RevertAfter is how long a host waits to hear from the laptop before it
	// rolls the run back by itself; 0 means for ever.
	RevertAfter time.Duration
	// Seen are the lines of the hosts' audit logs that the laptop saw last.
	Seen map[string]AuditHead
}

// siteRun is what one Apply knows.
type siteRun struct {
	Run
	plan  steps.SitePlan
	hosts []*hostRun // sorted by name
}

// hostRun is the part of a run that happens on one host.
type hostRun struct {
	host.Host
	journal journal
	actions []action
	kept    []action // done before the run is armed; they stay on a rollback
}

// Apply carries out plan on its hosts: all of it, or nothing that lasts. An
// error that is neither ErrRolledBack nor ErrInDoubt means that nothing was
// changed.
func (r Run) Apply(ctx context.Context, plan steps.SitePlan) error {
	s := &siteRun{Run: r, plan: plan}
	for _, h := range plan.Hosts {
		j := newJournal(r.Hosts[h.Host], plan.Site, r.ID)
		j.revertAfter, j.seen = r.RevertAfter, r.Seen[h.Host]
		s.hosts = append(s.hosts, &hostRun{Host: r.Hosts[h.Host], journal: j})
	}
	slices.SortFunc(s.hosts, func(a, b *hostRun) int { return strings.Compare(a.Name(), b.Name()) })
	release, err := s.lock(ctx)
	if err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return errors.Join(err, release())
	}
	err = s.arm(ctx)
	if err == nil {
		err = s.withHeartbeat(ctx, s.carryOut)
	}
	if err == nil {
		err = s.finish(ctx)
	}
	if err == nil {
		return nil
	}
	return s.rollback(ctx, err)
}

// withHeartbeat runs do while all hosts are told from time to time that the laptop is
// there. A host that has rolled the run back all the same ends it.
func (s *siteRun) withHeartbeat(ctx context.Context, do func(context.Context) error) error {
	if s.RevertAfter <= 0 {
		return do(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var feeding sync.WaitGroup
	defer feeding.Wait()
	defer cancel(nil)
	for _, h := range s.hosts {
		feeding.Go(func() {
			// A feed that fails is tried again; a line that is gone ends the
			// run by itself.
			for tick := time.Tick(s.RevertAfter / 4); ; {
				select {
				case <-ctx.Done():
					return
				case <-tick:
				}
				if err := h.journal.feed(ctx); errors.Is(err, errRolledBackMeanwhile) {
					cancel(fmt.Errorf("%s: %w", h.Name(), err))
				}
			}
		})
	}
	err := do(ctx)
	if taken := context.Cause(ctx); err != nil && errors.Is(taken, errRolledBackMeanwhile) {
		return taken
	}
	return err
}

func (s *siteRun) arm(ctx context.Context) error {
	hash, err := s.plan.Hash()
	if err != nil {
		return err
	}
	what := "site "
	if s.plan.Destroys {
		what = "destroy site "
	}
	about := fmt.Sprintf("%s%s, hosts %s, version %s, plan %s, by %s", what, s.plan.Site, strings.Join(s.names(), " "), s.Version, hash, Laptop())
	return s.each(ctx, "arm", func(ctx context.Context, h *hostRun) error {
		return h.journal.arm(ctx, about, h.kept, s.plan.Records[h.Name()])
	})
}

// carryOut makes the changes stage by stage and looks after each whether it
// works.
func (s *siteRun) carryOut(ctx context.Context) error {
	told := false
	for _, stage := range s.plan.Stages() {
		if stage.Announces() && !told {
			told = true
			if err := s.prove(ctx, false); err != nil {
				return err
			}
		}
		if !s.concerns(stage) {
			continue
		}
		if stage == steps.StageRemoval {
			continue // after the last proof
		}
		if err := s.stage(ctx, stage); err != nil {
			return err
		}
	}
	if err := s.prove(ctx, true); err != nil || !s.concerns(steps.StageRemoval) {
		return err
	}
	if err := s.stage(ctx, steps.StageRemoval); err != nil {
		return err
	}
	// What went may have been needed after all.
	return s.each(ctx, "", func(ctx context.Context, h *hostRun) error {
		for _, stage := range s.plan.Stages() {
			if err := s.check(ctx, h, stage); err != nil {
				return err
			}
		}
		return nil
	})
}

// stage makes the changes of a stage on all hosts, then its checks.
func (s *siteRun) stage(ctx context.Context, stage steps.Stage) error {
	if err := s.each(ctx, string(stage), func(ctx context.Context, h *hostRun) error { return s.change(ctx, h, stage) }); err != nil {
		return err
	}
	return s.each(ctx, "", func(ctx context.Context, h *hostRun) error { return s.check(ctx, h, stage) })
}

func (s *siteRun) prove(ctx context.Context, announced bool) error {
	if s.Prove == nil {
		return nil
	}
	s.phase("verify")
	return s.Prove(ctx, announced, livekit.KeysByRef(s.plan.Secrets.Values))
}

func (s *siteRun) change(ctx context.Context, h *hostRun, stage steps.Stage) error {
	for _, a := range h.actions {
		if a.stage != stage {
			continue
		}
		s.progress(h, a.change.Summary().Title)
		began := time.Now()
		err := h.journal.do(ctx, a)
		s.changed(h, a, time.Since(began), err)
		if err != nil {
			return err
		}
	}
	return nil
}

// concerns reports whether a stage has something to do or to check.
func (s *siteRun) concerns(stage steps.Stage) bool {
	for _, h := range s.plan.Hosts {
		for _, st := range h.Steps {
			if st.Stage == stage && len(st.Changes)+len(st.Checks) > 0 {
				return true
			}
		}
	}
	return false
}

func (s *siteRun) check(ctx context.Context, on *hostRun, stage steps.Stage) error {
	sink := func(e Event) {
		switch e := e.(type) {
		case Checked:
			e.Site, e.Host = s.plan.Site, on.Name()
			s.Emit(e)
		case Progress:
			s.progress(on, e.Text)
		}
	}
	for _, h := range s.plan.Hosts {
		for _, st := range h.Steps {
			if h.Host != on.Name() || st.Stage != stage {
				continue
			}
			for _, c := range st.Checks {
				if err := s.Checks.Run(ctx, on, c, sink); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// finish proves by new connections that every host can still be reached, and
// only then commits, the host of the last stage last.
func (s *siteRun) finish(ctx context.Context) error {
	if err := s.each(ctx, "confirm", func(ctx context.Context, h *hostRun) error {
		s.progress(h, "a second login")
		if err := h.Confirm(ctx); err != nil {
			return err
		}
		// The commits must not meet a host that is about to give up.
		if s.RevertAfter > 0 {
			return h.journal.feed(ctx)
		}
		return nil
	}); err != nil {
		return err
	}
	s.phase("commit")
	// From here on a cancelled context must not stop half-way.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	for _, h := range s.commitOrder() {
		head, truncated, err := h.journal.commit(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", h.Name(), err)
		}
		s.Emit(Committed{Site: s.plan.Site, Host: h.Name(), Run: s.ID, Audit: head, Cut: truncated})
	}
	return nil
}

// commitOrder has the hosts whose last change belongs to an early stage first,
// so that what is announced is committed last; of two that end with the same
// stage, the one that begins earlier. Where credentials change, LiveKit's host
// comes before all: in a rotation it accepts what the JWT service makes before
// and after its own commit, and an interruption between both leaves no token worthless.
func (s *siteRun) commitOrder() []*hostRun {
	type place struct{ last, first int }
	rank := func(h *hostRun) place {
		at := make([]int, 0, len(h.actions))
		for _, a := range h.actions {
			at = append(at, slices.Index(s.plan.Stages(), a.stage))
		}
		switch {
		case len(at) == 0:
			return place{}
		case s.otherKeys() && slices.ContainsFunc(h.actions, func(a action) bool { return a.stage.TakesTokens() }):
			return place{last: -1}
		}
		return place{slices.Max(at), slices.Min(at)}
	}
	hosts := slices.Clone(s.hosts)
	slices.SortStableFunc(hosts, func(a, b *hostRun) int {
		x, y := rank(a), rank(b)
		return cmp.Or(x.last-y.last, x.first-y.first)
	})
	return hosts
}

// otherKeys reports whether the site has credentials that this run changes.
func (s *siteRun) otherKeys() bool {
	found, wanted := livekit.KeysByRef(s.plan.Found.Values), livekit.KeysByRef(s.plan.Secrets.Values)
	return !found.IsZero() && found.Pair() != wanted.Pair()
}

// rollback rolls everything back on all hosts of the site.
func (s *siteRun) rollback(ctx context.Context, cause error) error {
	s.phase("rollback")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTime)
	defer cancel()
	results := make([]RolledBack, len(s.hosts))
	var g errgroup.Group
	for i, h := range s.hosts {
		g.Go(func() error {
			if err := h.Reconnect(ctx); err != nil {
				s.progress(h, "cannot be reached: "+err.Error())
			}
			results[i] = h.journal.revert(ctx)
			s.Emit(results[i])
			return nil
		})
	}
	_ = g.Wait() // the results say it all
	for _, r := range results {
		if r.Err != "" || r.Conflicts {
			return fmt.Errorf("%w\n%w", cause, ErrInDoubt)
		}
	}
	return fmt.Errorf("%w\n%w", cause, ErrRolledBack)
}

// each runs do on all hosts at once and waits for all of them. A failure on
// one host does not cut the others short: a half-done request would be harder
// to roll back.
func (s *siteRun) each(ctx context.Context, phase string, do func(context.Context, *hostRun) error) error {
	if phase != "" {
		s.phase(phase)
	}
	errs := make([]error, len(s.hosts))
	var g errgroup.Group
	for i, h := range s.hosts {
		g.Go(func() error {
			if err := do(ctx, h); err != nil {
				errs[i] = fmt.Errorf("%s: %w", h.Name(), err)
			}
			return nil
		})
	}
	_ = g.Wait() // each error is kept in errs
	return errors.Join(errs...)
}

func (s *siteRun) phase(name string) { s.Emit(PhaseStarted{Site: s.plan.Site, Phase: name}) }

func (s *siteRun) progress(h *hostRun, text string) {
	s.Emit(Progress{Site: s.plan.Site, Host: h.Name(), Text: text})
}

func (s *siteRun) changed(h *hostRun, a action, took time.Duration, err error) {
	e := Changed{Site: s.plan.Site, Host: h.Name(), Step: a.step, Summary: a.change.Summary(), Took: took}
	if err != nil {
		e.Err = err.Error()
	}
	s.Emit(e)
}

// about is what the journal says of the run, for people.
func (s *siteRun) about() string {
	return fmt.Sprintf("site %s\nrun %s\n%sversion %s\nhosts %s\n", s.plan.Site, s.ID, holder(), s.Version, strings.Join(s.names(), " "))
}

func (s *siteRun) names() []string {
	var out []string
	for _, h := range s.hosts {
		out = append(out, h.Name())
	}
	return out
}
