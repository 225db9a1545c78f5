package steps

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// anImage is an image of two layers for that architecture.
func anImage(t *testing.T, arch string) v1.Image {
	t.Helper()
	img, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture = "linux", arch
	if img, err = mutate.ConfigFile(img, cfg); err != nil {
		t.Fatal(err)
	}
	return img
}

// ociArchive writes an OCI layout of one index into a tar file.
func ociArchive(t *testing.T, index v1.ImageIndex) string {
	t.Helper()
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "oci.tar")
	if _, err := layout.Write(dir, index); err != nil {
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

func makeIndex(t *testing.T, images ...v1.Image) v1.ImageIndex {
	t.Helper()
	var all []mutate.IndexAddendum
	for _, img := range images {
		all = append(all, mutate.IndexAddendum{Add: img})
	}
	return mutate.AppendManifests(empty.Index, all...)
}

// wantArchive wants what is known of an archive to be that of img.
func wantArchive(t *testing.T, a *Archive, img v1.Image, arch string, tags ...string) {
	t.Helper()
	config, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := &Archive{Path: a.Path, Size: a.Size, Config: config.String(), Arch: arch, Tags: tags}
	for _, l := range cfg.RootFS.DiffIDs {
		want.Layers = append(want.Layers, l.String())
	}
	if d := cmp.Diff(want, a); d != "" || a.Size == 0 {
		t.Error(d)
	}
}

func TestOpenArchive(t *testing.T) {
	img, other := anImage(t, "arm64"), anImage(t, "amd64")
	dir := t.TempDir()
	ref := func(s string) name.Tag {
		tag, err := name.NewTag(s)
		if err != nil {
			t.Fatal(err)
		}
		return tag
	}
	one, two := filepath.Join(dir, "one.tar"), filepath.Join(dir, "two.tar")
	if err := tarball.WriteToFile(one, ref("a/b:1"), img); err != nil {
		t.Fatal(err)
	}
	if err := tarball.MultiWriteToFile(two, map[name.Tag]v1.Image{ref("a/b:1"): img, ref("a/b:2"): other}); err != nil {
		t.Fatal(err)
	}
	built := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img},
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{MediaType: types.OCIManifestSchema1, Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}}})
	for _, c := range []struct {
		name, file, ref string
		img             v1.Image
		arch            string
		tags            []string
		says            string
	}{
		{"docker save", one, "any:1", img, "arm64", []string{"a/b:1"}, ""},
		{"docker save of two", two, "a/b:2", other, "amd64", []string{"a/b:2"}, ""},
		{"docker save without the name", two, "a/b:3", nil, "", nil, "it holds 2 images and none is called a/b:3"},
		{"OCI", ociArchive(t, makeIndex(t, img)), "any:1", img, "arm64", nil, ""},
		{"OCI as buildx writes it", ociArchive(t, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: built})), "any:1", img, "arm64", nil, ""},
		{"OCI of two", ociArchive(t, makeIndex(t, img, other)), "any:1", nil, "", nil, "it holds 2 images"},
		{"no archive", os.Args[0], "any:1", nil, "", nil, "docker save IMAGE -o FILE"},
		{"not there", filepath.Join(dir, "none"), "any:1", nil, "", nil, "read image archive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := OpenArchive(c.file, c.ref)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v, want %q", err, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantArchive(t, a, c.img, c.arch, c.tags...)
		})
	}
}

// What an engine is given of an OCI archive is the same image, by the name in
// the plan file, as `docker save` would have written it.
func TestOCIAsDockerSaves(t *testing.T) {
	img := anImage(t, "amd64")
	o, err := openImageFile(ociArchive(t, makeIndex(t, img)))
	if err != nil {
		t.Fatal(err)
	}
	defer o.f.Close()
	var out bytes.Buffer
	if err := o.save(&out, "livekit/livekit-server:v1.13.9"); err != nil {
		t.Fatal(err)
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(out.Bytes())), nil }
	m, err := tarball.LoadManifest(open)
	if err != nil || len(m) != 1 || !cmp.Equal(m[0].RepoTags, []string{"livekit/livekit-server:v1.13.9"}) {
		t.Fatalf("%+v, %v", m, err)
	}
	saved, err := tarball.Image(open, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := saved.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	if want, err := img.ConfigName(); err != nil || got != want {
		t.Errorf("the image is %s, want %s (%v)", got, want, err)
	}
}
