package main

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// convertToOCI writes the image of a `docker save` archive as an OCI archive.
func convertToOCI(t *testing.T, archive string) string {
	t.Helper()
	img, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "oci.tar")
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

// Images come from OCI archives, too, and one that is there is not sent again,
// whichever kind of archive it is in.
func TestE2EOCIArchive(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Light, "archive")[0]
	c := newCLI(t)
	saved := lightPlan(t, h, `user = "root"`)
	livekit, jwt := lab.Env(t, "LIVEKIT_ARCHIVE"), lab.Env(t, "JWT_ARCHIVE")
	oci := planFile(t, readAll(t, saved), livekit, convertToOCI(t, livekit), jwt, convertToOCI(t, jwt))
	c.run(t, exitOK, "apply", "--yes", oci)
	if got := h.Exec(t, "docker inspect -f '{{.State.Running}} {{.Config.Image}}' livekit-sfu element-call-jwt"); got != "true "+lab.Env(t, "LIVEKIT_IMAGE")+"\ntrue "+lab.Env(t, "JWT_IMAGE")+"\n" {
		t.Errorf("containers run: %q", got)
	}
	for _, plan := range []string{oci, saved} {
		if out := c.run(t, exitOK, "plan", plan); !strings.Contains(out, "nothing to do") {
			t.Errorf("the plan after it:\n%s", out)
		}
	}
}
