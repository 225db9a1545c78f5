package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/plans"
)

// errDrift says that what would be done is not what was saved. The caller does
// not begin it.
var errDrift = errors.New("what the plan was made on has changed, so it is not begun")

// savedPlan is the saved plan that apply was given.
type savedPlan struct {
	*plans.Saved
	path string
}

// checkOut refuses to overwrite what is no saved plan, before any host is asked.
func checkOut(out string) error {
	st, err := os.Stat(out)
	if errors.Is(err, os.ErrNotExist) {
		_, err = os.Stat(filepath.Dir(out))
		if err == nil {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	if st.Mode().IsRegular() {
		b, err := os.ReadFile(out)
		if err != nil {
			return fmt.Errorf("-out: %w", err)
		}
		if len(b) == 0 || plans.IsSaved(b) {
			return nil
		}
	}
	return hint.Wrap(fmt.Errorf("-out: %s is there already and is no saved plan", out), "give a name that nothing has")
}

// save writes a plan to be applied later; one that is blocked cannot be.
func (a *app) save(out string, f *plans.File, p plans.Plan) error {
	if blocked(p) {
		a.screen.Say("not saved to %s: this plan cannot be applied because of errors", out)
		return nil
	}
	s, err := plans.NewSaved(f, p)
	if err != nil {
		return err
	}
	s.Version, s.Made, s.By, s.Vars, s.Limit = version, now().UTC().Truncate(time.Second), engine.Laptop(), f.Vars, a.limit
	b, err := s.Encode()
	if err != nil {
		return err
	}
	if err := replaceFile(out, b, 0o600); err != nil {
		return fmt.Errorf("save the plan: %w", err)
	}
	if !a.screen.JSON {
		a.screen.Print("Saved to %s. To do this and nothing else: %s", out, applyCommand(out, s.Vars))
	}
	a.noteShared(f, p)
	return nil
}

// noteShared names the sites whose plans are likely not the saved ones any more
// once the site before them was applied.
func (a *app) noteShared(f *plans.File, p plans.Plan) {
	for i, turn := range plans.Rollout(f.Sites, p) {
		if len(turn.After) > 0 {
			a.screen.Note("%s shares a host with %s: if that one changes its plan, it is not begun and must be planned again",
				f.Sites[i].ServerName, f.Sites[turn.After[0]].ServerName)
		}
	}
}

// varNames are the variables that -var gives, sorted, each once.
func (a *app) varNames() []string {
	names := map[string]bool{}
	for _, v := range a.vars {
		name, _, _ := strings.Cut(v, "=")
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// replaceFile puts a file with that mode in the place of path.
func replaceFile(path string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // its mode is 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the error that matters is said
	}
	return err
}

// loadToApply reads a plan file, or a saved plan, which it returns too, and the plan
// file that it was made of.
func (a *app) loadToApply(path string) (*plans.File, *savedPlan, error) {
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		f, err := a.load(path, false) // a pipe gives what it has but once
		return f, nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil || !plans.IsSaved(b) {
		f, err := a.load(path, false) // which says what is wrong
		return f, nil, err
	}
	s, err := plans.DecodeSaved(b)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	saved := &savedPlan{s, path}
	if err := a.given(saved); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	changed := hint.Wrap(fmt.Errorf("%s: %s was changed since the plan was made of it", path, host.Clean(s.PlanFile)), saved.again())
	sum, err := plans.Sum(s.PlanFile)
	switch {
	case err != nil:
		return nil, nil, hint.Wrap(fmt.Errorf("%s: the plan file that it was made of cannot be read: %w", path, err), saved.again())
	case !s.MadeOf(sum):
		return nil, nil, changed
	}
	f, err := a.load(s.PlanFile, false)
	if err != nil {
		return nil, nil, err
	}
	if f.Sum != sum { // between the two looks
		return nil, nil, changed
	}
	if moved := s.Elsewhere(f); len(moved) > 0 {
		return nil, nil, hint.Wrap(fmt.Errorf("%s: it was made for another address, port or jump of host %s", path, strings.Join(moved, ", ")), saved.again())
	}
	if !a.screen.JSON {
		a.screen.Say("saved plan of %s by %s, of %s", s.Made.Format(time.RFC3339), host.Clean(s.By), host.Clean(s.PlanFile))
	}
	return f, saved, nil
}

// given takes --limit from the saved plan, and wants the variables that it was
// made with: their values are not in it.
func (a *app) given(s *savedPlan) error {
	if len(a.limit) > 0 && !slices.Equal(slices.Sorted(slices.Values(a.limit)), slices.Sorted(slices.Values(s.Limit))) {
		with := "without --limit"
		if len(s.Limit) > 0 {
			with = "with --limit " + strings.Join(s.Limit, ",")
		}
		again := shellescape.QuoteCommand([]string{"ecdeploy", "plan", "-out", "FILE", "--limit", strings.Join(a.limit, ","), s.PlanFile})
		return hint.Wrapf(fmt.Errorf("it was made %s, and is applied like that", with), "leave --limit out, or make another plan: %s", again)
	}
	a.limit = s.Limit
	names := a.varNames()
	missing := slices.DeleteFunc(slices.Clone(s.Vars), func(name string) bool {
		_, ok := os.LookupEnv("ECDEPLOY_VAR_" + name)
		return ok || slices.Contains(names, name)
	})
	if len(missing) == 0 {
		return nil
	}
	return hint.Wrap(fmt.Errorf("it was made with values given for %s, which are not in it", strings.Join(missing, ", ")),
		applyCommand(s.path, missing))
}

// applyCommand applies a saved plan, with values for these variables.
func applyCommand(path string, vars []string) string {
	return shellescape.QuoteCommand(slices.Concat([]string{"ecdeploy", "apply"}, varFlags(vars), []string{path}))
}

func varFlags(names []string) []string {
	var flags []string
	for _, name := range names {
		flags = append(flags, "-var", name+"=VALUE")
	}
	return flags
}

// again is the hint that makes the plan again, for these sites or all of it.
func (s *savedPlan) again(sites ...string) string {
	cmd := append([]string{"ecdeploy", "plan", "-out", s.path}, varFlags(s.Vars)...)
	if sites == nil {
		sites = s.Limit
	}
	if len(sites) > 0 {
		cmd = append(cmd, "--limit", strings.Join(sites, ","))
	}
	return "make the plan again: " + shellescape.QuoteCommand(append(cmd, s.PlanFile))
}

// checkDrift compares the plan made now with the saved one, where there is one,
// and names all that moved.
func (o *operation) checkDrift(f *plans.File, p plans.Plan) error {
	if o.saved == nil {
		return nil
	}
	moved, err := o.saved.Drift(f, p)
	if err != nil || len(moved) == 0 {
		return err
	}
	if err := o.screen.Drift(moved); err != nil {
		return err
	}
	var b strings.Builder
	for _, d := range moved {
		b.WriteString("\n  " + d.Site)
		for _, where := range []string{d.Host, d.Step} {
			if where != "" {
				b.WriteString(": " + where)
			}
		}
		b.WriteString(": " + strings.ReplaceAll(host.Clean(d.What), "\n", "\n    "))
	}
	if o.saved.Version != version {
		b.WriteString("\nit was made by ecdeploy " + host.Clean(o.saved.Version) + ", and this is " + version)
	}
	if p.Empty() && !blocked(p) {
		b.WriteString("\nnothing is left to do: was it applied before?")
	}
	return hint.Wrap(fmt.Errorf("%w:%s", errDrift, &b), o.saved.again())
}

// checkAgain refuses a site of a saved plan that the site before it changed.
func (o *operation) checkAgain(site plans.Site) error {
	if o.saved == nil {
		return nil
	}
	return hint.Wrap(fmt.Errorf("%w: the site before it changed its plan", errDrift), o.saved.again(site.ServerName))
}
