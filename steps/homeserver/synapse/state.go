package synapse

import (
	"context"
	"fmt"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
)

// BaseURL implements Homeserver.
func (c *Service) BaseURL() string { return "" }

// Configured implements Homeserver.
func (c *Service) Configured() bool { return true }

// wantedSettings is how many settings the translations look at: two flags, the delay,
// two parts of two limits, the transports and the listeners.
const wantedSettings = 9

// State implements Homeserver.
func (c *Service) State(ctx context.Context, o host.Observer, site *steps.Site) (steps.HomeserverState, error) {
	f, err := c.probe(ctx, o)
	if err != nil {
		return steps.HomeserverState{}, err
	}
	s := steps.HomeserverState{
		Unit:     c.Unit,
		Active:   f.unit.Active,
		Problem:  f.problem,
		Version:  f.version,
		Local:    f.localURL(),
		Advert:   f.version != "" && !f.older("1.156.0"),
		Settings: wantedSettings,
	}
	switch {
	case !f.unit.Found:
		s.Problem = "there is no unit " + c.Unit
	case s.Problem == "" && len(f.files) == 0:
		s.Problem = "its files cannot be determined from " + c.Unit
	}
	if s.Problem != "" {
		return s, nil
	}
	for _, w := range f.wants(site.Needs(), c.MaxDelay) {
		l := steps.Lack{Need: w.need, Path: dotted(w.path), Want: yamlWords(w.value)}
		if have, ok := f.effective(w.path...); ok {
			l.Have = yamlWords(have)
		}
		s.Lacks = append(s.Lacks, l)
	}
	return s, nil
}

// dotted is a path into a configuration as people write it.
func dotted(path []any) string {
	var b strings.Builder
	for i, p := range path {
		if n, ok := p.(int); ok {
			fmt.Fprintf(&b, "[%d]", n)
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		fmt.Fprint(&b, p)
	}
	return b.String()
}

// yamlWords is a value on one line, as YAML would have it.
func yamlWords(v any) string {
	switch v := v.(type) {
	case splice.Map:
		var all []string
		for _, m := range v {
			all = append(all, fmt.Sprintf("%v: %s", m.Key, yamlWords(m.Value)))
		}
		return "{" + strings.Join(all, ", ") + "}"
	case []any:
		var all []string
		for _, e := range v {
			all = append(all, yamlWords(e))
		}
		return "[" + strings.Join(all, ", ") + "]"
	case nil:
		return "null"
	}
	return fmt.Sprint(v)
}
