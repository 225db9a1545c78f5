package synapse

import (
	"strings"
	"testing"

	yaml "go.yaml.in/yaml/v3"

	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
)

// What is printed for a foreign Synapse is exactly what is done to ours.
func TestExternalSynapsePrintsWhatIsNeeded(t *testing.T) {
	text, d := suite.Said(t, suite.StepOf(&External{URL: "https://matrix.example.org/"}, suite.OneHost()))
	f := synapseFound("homeserver.yaml", text+"\n"+suite.SynapseListens)
	if again := f.decide(suite.OneHost(), debianConfig()); len(again.Changes) != 0 {
		t.Errorf("with it there is still to do:\n%s", again.Changes[0].Summary().Diff)
	}
	if err := yaml.Unmarshal([]byte(text), new(any)); err != nil {
		t.Error(err)
	}
	for _, c := range d.Checks {
		if !strings.HasPrefix(c.HTTP.URL, "https://matrix.example.org/_matrix/") {
			t.Errorf("asks %s", c.HTTP.URL)
		}
	}
}
