package synapse

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
	const want = `experimental_features:
  msc4143_enabled: true
  msc4222_enabled: true
  msc3266_enabled: true # before Synapse 1.153 only
max_event_delay_duration: 24h
rc_message:
  per_second: 0.5
  burst_count: 30
rc_delayed_event_mgmt:
  per_second: 1.0
  burst_count: 20
matrix_rtc:
  transports:
    - type: livekit
      livekit_service_url: "https://matrix-rtc-jwt.example.org"
# and in the resources of a listener that other homeservers and the JWT service
# reach: names: [client, federation], or [client, openid]`
	if diff := cmp.Diff(want, text); diff != "" {
		t.Error(diff)
	}
	for _, c := range d.Checks {
		if !strings.HasPrefix(c.HTTP.URL, "https://matrix.example.org/_matrix/") {
			t.Errorf("asks %s", c.HTTP.URL)
		}
	}
}
