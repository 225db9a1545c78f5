package steps

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
)

// Plan is what a run would do, in the order in which it would do it.
type Plan struct {
	Sites []SitePlan `json:"sites"`
}

// SitePlan is the part of a plan that succeeds or is rolled back as one.
type SitePlan struct {
	Site  string     `json:"site"`
	Hosts []HostPlan `json:"hosts"` // sorted by name
	// Destroys says that the site is taken away: the stages come in their
	// opposite order.
	Destroys bool `json:"destroys,omitempty"`
	// Secrets are the site's as they were found or given; empty where they are to be
	// made. They are never written anywhere.
	Secrets Secrets `json:"-"`
	// Found are those that the hosts hold now.
	Found Secrets `json:"-"`
	// Records are, by host, what is written down of the site's other hosts.
	Records map[string]LedgerMoves `json:"-"`
	// HTTPS is where proxies listen, as in Shared.
	HTTPS map[string]string `json:"-"`
}

// HostPlan is what happens on one host, in the order of the stages.
type HostPlan struct {
	Host  string     `json:"host"`
	Steps []StepPlan `json:"steps"`
}

// StepPlan is one step's decision.
type StepPlan struct {
	Stage    Stage     `json:"stage"`
	Step     string    `json:"step"`
	Changes  Changes   `json:"changes,omitempty"`
	Checks   []Check   `json:"checks,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
}

// Changes is a list of changes that keeps their kinds in JSON.
type Changes []Change

// MarshalJSON implements json.Marshaler.
func (c Changes) MarshalJSON() ([]byte, error) {
	raw := make([]json.RawMessage, len(c))
	for i, change := range c {
		b, err := MarshalChange(change)
		if err != nil {
			return nil, err
		}
		raw[i] = b
	}
	return json.Marshal(raw)
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *Changes) UnmarshalJSON(b []byte) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return fmt.Errorf("decode changes: %w", err)
	}
	*c = nil
	for _, r := range raw {
		change, err := UnmarshalChange(r)
		if err != nil {
			return err
		}
		*c = append(*c, change)
	}
	return nil
}

// Stages are those of this plan in their order: what is announced to clients is
// rolled back before it ends.
func (s SitePlan) Stages() []Stage {
	all := Stages()
	if s.Destroys {
		slices.Reverse(all)
	}
	return all
}

// Empty reports whether the plan changes nothing.
func (p Plan) Empty() bool {
	for _, s := range p.Sites {
		if !s.Empty() {
			return false
		}
	}
	return true
}

// Empty reports whether the site stays as it is.
func (s SitePlan) Empty() bool {
	for _, h := range s.Hosts {
		for _, st := range h.Steps {
			if len(st.Changes) > 0 {
				return false
			}
		}
	}
	return true
}

// Blocked reports whether a finding prevents carrying the plan out.
func (s SitePlan) Blocked() bool {
	for _, h := range s.Hosts {
		for _, st := range h.Steps {
			for _, f := range st.Findings {
				if f.Severity == Error {
					return true
				}
			}
		}
	}
	return false
}

// SameChanges reports whether two plans of a site would do the same.
func (s SitePlan) SameChanges(t SitePlan) (bool, error) {
	a, err := s.changes()
	if err != nil {
		return false, err
	}
	b, err := t.changes()
	if err != nil {
		return false, err
	}
	return bytes.Equal(a, b), nil
}

// Hash is the SHA-256, in hex, of what the plan would do on its hosts: two plans
// of a site have the same one just where SameChanges holds. It is still the same
// after the plan was written as JSON and read again, and tells no secret.
func (s SitePlan) Hash() (string, error) {
	b, err := s.changes()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// changes is the encoding by which plans of a site are compared.
func (s SitePlan) changes() ([]byte, error) {
	all := map[string]Changes{}
	for _, h := range s.Hosts {
		for _, st := range h.Steps {
			all[h.Host] = append(all[h.Host], st.Changes...)
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("encode plan: %w", err)
	}
	// A byte that is no UTF-8 (in a diff) is written as an escape, and, once
	// read, as the character that the escape means.
	return bytes.ReplaceAll(b, []byte(`\ufffd`), []byte("\ufffd")), nil
}

// Turn says when one site of a plan is applied.
type Turn struct {
	// Idle says that there is nothing to do.
	Idle bool
	// After are the places in the plan, in ascending order, of the sites that must be
	// done before: earlier ones that change something and share a host with this one.
	// It is empty for a site that is idle.
	After []int
}
