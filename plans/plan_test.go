package plans

import (
	"encoding/json"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
)

// siteOnHost is a site with one part on a host.
func siteOnHost(name string) Site {
	return Site{Blocks: []Declared{{Block: "sfu", Decl: steps.Decl{Host: name, Parts: []steps.Part{{Name: "sfu", Host: name}}}}}}
}

// makeSomePlan changes a file and a container on one host.
func makeSomePlan() SitePlan {
	return SitePlan{Site: "x.test", Hosts: []HostPlan{{Host: "h", Steps: []StepPlan{
		{Stage: steps.StageSFU, Step: "livekit", Changes: Changes{&steps.Container{
			Site: "x.test", Spec: host.ContainerSpec{Name: "livekit-sfu", Image: "livekit:1"}, Why: []string{"not there yet"},
			Edits: []steps.FileEdit{{Path: "/etc/ecdeploy/x.test/sfu/keys.yaml", Text: steps.Text{{Ref: livekit.RefKey}, {Lit: ": "}, {Ref: livekit.RefSecret}}, Own: true, Mode: 0o640}},
		}}},
		{Stage: steps.StageProxy, Step: "nginx", Changes: Changes{&steps.Files{
			Title: "nginx", Edits: []steps.FileEdit{{Path: "/etc/nginx/site", Before: "b", After: "a", Diff: "-\xfcber <uns> \\ufffd\n"}},
		}}},
	}}}}
}

// The hash is that of the changes alone, and the same after a plan was saved.
func TestHash(t *testing.T) {
	hash := func(s SitePlan) string {
		t.Helper()
		h, err := s.Hash()
		if err != nil || len(h) != 64 {
			t.Fatalf("hash %q, %v", h, err)
		}
		return h
	}
	want := hash(makeSomePlan())
	b, err := json.Marshal(makeSomePlan())
	if err != nil {
		t.Fatal(err)
	}
	var read SitePlan
	if err := json.Unmarshal(b, &read); err != nil {
		t.Fatal(err)
	}
	if same, err := makeSomePlan().SameChanges(read); !same || err != nil || hash(read) != want {
		t.Errorf("after JSON: the same changes: %v, %v; the same hash: %v", same, err, hash(read) == want)
	}

	other := makeSomePlan()
	other.Secrets = secretsOf(livekit.Keys{Key: host.NewSecret("k"), Secret: host.NewSecret("s")})
	other.Hosts[0].Steps[1].Findings = []Finding{{Severity: steps.Note, Summary: "n"}}
	other.Hosts[0].Steps[1].Checks = []steps.Check{{Name: "c"}}
	if hash(other) != want {
		t.Error("findings, checks or credentials count")
	}
	other.Hosts[0].Host = "i"
	if hash(other) == want {
		t.Error("the same changes on another host have the same hash")
	}
	other = makeSomePlan()
	other.Hosts[0].Steps[1].Changes = nil
	if hash(other) == want {
		t.Error("a change less makes no difference")
	}
}
