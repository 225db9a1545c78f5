package synapse

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
)

// External is a Synapse that somebody else configures; ecdeploy says
// what it needs and checks that it is there.
type External struct {
	Host string `hcl:"host,optional"` // a host that can reach it; default: the auth host
	URL  string `hcl:"url"`           // base URL of the client-server API
}

// ExternalVariant is any other Synapse.
func ExternalVariant() steps.Variant {
	return steps.Variant{
		Block: "synapse", Label: "external", Required: true,
		Doc:     "any other: prints what it needs, and checks it",
		Example: "synapse \"external\" {\n  url = \"https://matrix.example.org\"\n}",
		WayOut:  `write synapse "external" { url = "https://..." }: ecdeploy then says which settings it needs, and checks them`,
		Config:  func() steps.Config { return new(External) },
		Detect:  steps.FindsNothing,
	}
}

// HostName implements Config.
func (c *External) HostName() string { return c.Host }

// Parts implements Config.
func (c *External) Parts(d steps.Decl) []steps.Part {
	return []steps.Part{{Name: "synapse", Title: "Synapse", Host: d.Host, Homeserver: c}}
}

// BaseURL implements Homeserver.
func (c *External) BaseURL() string { return c.URL }

// Configured implements Homeserver.
func (c *External) Configured() bool { return false }

// State implements Homeserver.
func (c *External) State(context.Context, host.Observer, *steps.Site) (steps.HomeserverState, error) {
	return steps.HomeserverState{Problem: "somebody else configures it"}, nil
}

// Check implements Config.
func (c *External) Check(b steps.Block, _ steps.Decl, _ *steps.Site) { steps.CheckBaseURL(b, c.URL) }

// ByHand implements steps.ByHand.
func (*External) ByHand() string {
	return "Synapse is somebody else's: take matrix_rtc.transports out of its configuration first, then restart it"
}

// Steps implements Config.
func (c *External) Steps(d steps.Decl, s *steps.Site) []steps.Placed {
	say := steps.Define("synapse", steps.Nothing, nil, func(struct{}, steps.Shared) (steps.Decision, error) {
		text, err := settingsText(s.Needs())
		if err != nil {
			return steps.Decision{}, err
		}
		const intro = "Synapse is somebody else's; its homeserver.yaml needs (merge into sections that are there, then restart it and all its workers):\n"
		return steps.Decision{Findings: []steps.Finding{steps.Note.Finding(intro+text, "")}, Checks: c.checks(), LeavesAlone: true}, nil
	})
	return []steps.Placed{{Stage: steps.StageHomeserver, Host: d.Host, Step: say}}
}

// openIDText is what a need for OpenID means where nothing is known of the listeners.
const openIDText = `# and in the resources of a listener that other homeservers and the JWT service
# reach: names: [client, federation], or [client, openid]`

// settingsText is what homeserver.yaml needs: what the translations would write into
// an empty one, for every version of Synapse that is supported.
func settingsText(needs []steps.Need) (string, error) {
	oldest := facts{version: leastVersion, unseen: true}
	var sections splice.Map
	text := ""
	for _, s := range oldest.wants(needs, defaultDelay) {
		sections = s.addTo(sections)
	}
	for _, section := range sections {
		edits, err := splice.YAMLSet([]byte(text), splice.Path{section.Key}, section.Value)
		if err != nil {
			return "", fmt.Errorf("write down the settings of Synapse: %w", err)
		}
		after, err := splice.Apply([]byte(text), edits)
		if err != nil {
			return "", fmt.Errorf("write down the settings of Synapse: %w", err)
		}
		text = string(after)
	}
	for _, s := range oldest.wants(needs, defaultDelay) {
		if s.before != "" {
			line := fmt.Sprintf("%v: %v", s.path[len(s.path)-1], s.value)
			text = strings.Replace(text, line, line+" # before Synapse "+strings.TrimSuffix(s.before, ".0")+" only", 1)
		}
	}
	if slices.ContainsFunc(needs, func(n steps.Need) bool { return n.What == steps.OpenID }) {
		text += openIDText
	}
	return strings.TrimSuffix(text, "\n"), nil
}

// addTo adds the setting to an empty configuration, whose sections are made as they
// come.
func (s setting) addTo(sections splice.Map) splice.Map {
	key := fmt.Sprint(s.path[0])
	if len(s.path) == 1 {
		return append(sections, splice.Pair{Key: key, Value: s.value})
	}
	i := slices.IndexFunc(sections, func(p splice.Pair) bool { return p.Key == key })
	if i < 0 {
		i, sections = len(sections), append(sections, splice.Pair{Key: key, Value: splice.Map{}})
	}
	section, _ := sections[i].Value.(splice.Map)
	sections[i].Value = setting{path: s.path[1:], value: s.value}.addTo(section)
	return sections
}

func (c *External) checks() []steps.Check {
	base := strings.TrimRight(c.URL, "/")
	return []steps.Check{
		{Name: "Synapse has delayed events on", Timeout: steps.RouteTimeout, Hint: "set max_event_delay_duration and restart Synapse",
			HTTP: &steps.HTTPCheck{
				URL:      base + "/_matrix/client/versions",
				Header:   map[string]string{"Cache-Control": "no-cache"},
				Status:   200,
				JSONTrue: []string{"org.matrix.msc4140"},
			}},
		{Name: "Synapse serves the transports", Timeout: steps.RouteTimeout, Hint: "set experimental_features.msc4143_enabled and restart Synapse",
			HTTP: &steps.HTTPCheck{URL: base + "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports", Status: 401, Body: "M_MISSING_TOKEN"}},
	}
}
