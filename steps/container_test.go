package steps

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/quote"
)

func TestImagePlan(t *testing.T) {
	archive := &Archive{Path: "a.tar", Config: "sha256:c", Arch: "amd64", Layers: []string{"l1", "l2"}}
	for _, c := range []struct {
		name    string
		ref     string
		archive *Archive
		found   ImageFacts
		why     string // "" for no change
		finding string
	}{
		{"there", "i:1", nil, ImageFacts{Found: true, ID: "x", Arch: "amd64"}, "", ""},
		{"not there", "i:1", nil, ImageFacts{}, "not on the host", ""},
		{"for another machine", "i:1", nil, ImageFacts{Found: true, ID: "x", Arch: "arm64"}, "the host has it for arm64, and is amd64", ""},
		{"the archive's, classic store", "i:1", archive, ImageFacts{Found: true, ID: "sha256:c"}, "", ""},
		{"the archive's, containerd store", "i:1", archive, ImageFacts{Found: true, ID: "sha256:manifest", Layers: []string{"l1", "l2"}}, "", ""},
		{"another one", "i:1", archive, ImageFacts{Found: true, ID: "sha256:d", Layers: []string{"l1"}}, "the host has another image of this name", ""},
		{
			name:    "an archive for another machine",
			ref:     "i:1",
			archive: &Archive{Path: "a.tar", Arch: "arm64"},
			found:   ImageFacts{},
			why:     "",
			finding: "[{error image archive a.tar is for arm64, the host is amd64",
		},
		{"an archive by digest", "i@sha256:0", archive, ImageFacts{}, "", "[{error image i@sha256:0 names a digest"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changes, findings := PlanImage(c.ref, c.archive, "amd64", c.found)
			why := ""
			for _, ch := range changes {
				why = ch.(*Image).Why
			}
			if why != c.why || !strings.HasPrefix(fmt.Sprint(findings), c.finding) || c.finding == "" && len(findings) > 0 {
				t.Errorf("got %q and %s", why, fmt.Sprint(findings))
			}
		})
	}
}

// Hostile names and paths reach the functions of lib.sh and the tools as single
// words, and nothing in them runs.
func TestScriptsQuote(t *testing.T) {
	const evil = quote.Evil
	edits := []FileEdit{{Path: evil, Text: Lit("x")}, {Path: evil, Remove: true}}
	spec := host.ContainerSpec{Name: evil, Image: evil, User: evil}
	container, err := Container{Spec: spec, Replaces: evil}.Resolve(t.Context(), Env{Host: emptyHost{}, Secrets: testSecrets()})
	if err != nil {
		t.Fatal(err)
	}
	quote.RunQuoted(t, map[string]string{
		"save": saveEdits(edits, []string{"", ""}), "place": placeEdits([]Dir{{Path: evil, Mode: 0o755}}, edits), "undo": undoEdits(edits),
		"container save": container.Save, "container undo": container.Undo,
		"lint": DockerLint(spec, 1, []LintFile{{evil, evil, -1}}, evil, evil),
	})
}

// emptyHost is a host without files.
type emptyHost struct{ host.Observer }

func (emptyHost) Read(_ context.Context, paths ...string) ([]host.File, error) {
	var out []host.File
	for _, p := range paths {
		out = append(out, host.File{Path: p, Real: p})
	}
	return out, nil
}
