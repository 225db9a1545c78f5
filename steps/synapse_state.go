package steps

import (
	"context"
	"fmt"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
)

// SynapseState is what a packaged Synapse's files say, for who wants to know
// whether calls can work rather than what to change.
type SynapseState struct {
	Active   bool
	Problem  string // why its configuration could not be read
	Version  string // "1.160.0"; "" where it cannot be told
	Local    string // where it answers clients over plain HTTP on its own host; "" for nowhere
	Advert   bool   // it is new enough (1.156) to say in /versions that it has transports
	Lacks    []Lack // what the effective configuration is to have and has not
	Settings int    // how many settings were looked at
}

// Lack is a setting that is not as calls need it.
type Lack struct {
	Path string // "matrix_rtc.transports"
	Have string // "" where nobody sets it
	Want string
}

// wantedSettings is how many settings synapseWants looks at: two flags, the delay,
// two parts of two limits, the transports and the listeners.
const wantedSettings = 9

// LookAtSynapse reads the effective configuration of a packaged Synapse.
func LookAtSynapse(ctx context.Context, o host.Observer, site Site, c SynapseDebian) (SynapseState, error) {
	f, err := c.probe(ctx, o)
	if err != nil {
		return SynapseState{}, err
	}
	s := SynapseState{Active: f.unit.Active, Problem: f.problem, Version: f.version, Local: f.localURL(), Advert: f.version != "" && !f.older("1.156.0"), Settings: wantedSettings}
	switch {
	case !f.unit.Found:
		s.Problem = "there is no unit " + c.Unit
	case s.Problem == "" && len(f.files) == 0:
		s.Problem = "its files cannot be told from " + c.Unit
	}
	if s.Problem != "" {
		return s, nil
	}
	for _, w := range synapseWants(site, c, f) {
		l := Lack{Path: dotted(w.path), Want: yamlWords(w.value)}
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
