package steps

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/internal/host"
)

// Image is an image that a host is to have. It comes before a run is armed and
// is kept on a rollback.
type Image struct {
	Ref      string   `json:"ref"`
	Platform string   `json:"platform"` // "linux/amd64"
	Archive  *Archive `json:"archive,omitempty"`
	Why      string   `json:"why"`
}

// Archive is an image in a file on the laptop, as `docker save` writes it, or an
// OCI archive.
type Archive struct {
	Path   string   `json:"path"`
	Size   int64    `json:"size"`   // bytes
	Config string   `json:"config"` // digest of the image's configuration, sha256:...
	Arch   string   `json:"arch"`   // "amd64"
	Layers []string `json:"layers"` // digests of the uncompressed layers
	Tags   []string `json:"tags"`
}

// OpenArchive reads what an archive holds without unpacking it. ref chooses
// among several images; one image is taken whatever it is called.
func OpenArchive(path, ref string) (*Archive, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read image archive: %w", err)
	}
	fail := func(err error) (*Archive, error) { return nil, fmt.Errorf("read image archive %s: %w", path, err) }
	o, err := openImageFile(path)
	if err != nil {
		return fail(hint.Wrap(err, "make it with `docker save IMAGE -o FILE`"))
	}
	defer o.f.Close()
	var img v1.Image
	a := &Archive{Path: path, Size: st.Size()}
	if o.saved() {
		img, a.Tags, err = savedImage(path, ref)
	} else {
		img, err = o.image()
	}
	if err != nil {
		return fail(err)
	}
	config, err := img.ConfigName()
	if err != nil {
		return fail(err)
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return fail(err)
	}
	a.Config, a.Arch = config.String(), cfg.Architecture
	for _, l := range cfg.RootFS.DiffIDs {
		a.Layers = append(a.Layers, l.String())
	}
	return a, nil
}

// savedImage is the image called ref of a file that `docker save` wrote, or its
// only one, and what that is called.
func savedImage(path, ref string) (v1.Image, []string, error) {
	open := func() (io.ReadCloser, error) { return os.Open(path) }
	m, err := tarball.LoadManifest(open)
	if err != nil {
		return nil, nil, err
	}
	if len(m) == 1 {
		img, err := tarball.Image(open, nil)
		return img, m[0].RepoTags, err
	}
	i := slices.IndexFunc(m, func(d tarball.Descriptor) bool { return slices.Contains(d.RepoTags, ref) })
	if i < 0 {
		return nil, nil, fmt.Errorf("it holds %d images and none is called %s", len(m), ref)
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		return nil, nil, fmt.Errorf("read image name: %w", err)
	}
	img, err := tarball.Image(open, &tag)
	return img, m[i].RepoTags, err
}

// Kind implements Change.
func (Image) Kind() string { return "image" }

// Summary implements Change.
func (c Image) Summary() Summary {
	s := Summary{Verb: "+", Title: "image " + c.Ref}
	if c.Archive != nil {
		s.Details = []string{fmt.Sprintf("from %s, %d MiB", c.Archive.Path, c.Archive.Size>>20)}
	}
	s.Details = append(s.Details, c.Why, "kept on a rollback")
	return s
}

// Resolve implements Change.
func (c Image) Resolve(context.Context, Env) (Resolved, error) {
	return Resolved{Prepare: c.prepare}, nil
}

func (c Image) prepare(ctx context.Context, h host.Host, progress func(string)) error {
	d, err := h.Docker(ctx)
	if err != nil {
		return err
	}
	if c.Archive == nil {
		progress("pulls " + c.Ref)
		return d.Pull(ctx, c.Ref, c.Platform, progress)
	}
	o, err := openImageFile(c.Archive.Path)
	if err != nil {
		return fmt.Errorf("read image archive %s: %w", c.Archive.Path, err)
	}
	defer o.f.Close()
	progress(fmt.Sprintf("sends %s (%d MiB)", c.Ref, c.Archive.Size>>20))
	if !o.saved() {
		return o.load(ctx, d, c.Ref)
	}
	if _, err := o.f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read image archive %s: %w", c.Archive.Path, err)
	}
	if err := d.Load(ctx, o.f); err != nil {
		return err
	}
	if slices.Contains(c.Archive.Tags, c.Ref) {
		return nil
	}
	for _, known := range append([]string{c.Archive.Config}, c.Archive.Tags...) {
		if id, ok, err := d.ImageID(ctx, known); err == nil && ok {
			return d.Tag(ctx, id, c.Ref)
		}
	}
	return hint.New("the archive was loaded, but the engine does not know its image", "give the archive's image a tag before `docker save`")
}

// ImageFacts are what the engine says of a local image.
type ImageFacts struct {
	Found  bool
	ID     string
	Layers []string
	Arch   string
}

// QueryImage asks for a local image; its answer goes to ParseImage.
func QueryImage(ref string) host.Cmd {
	return host.Cmd{Argv: []string{"docker", "image", "inspect", "--", ref}, Timeout: 20 * time.Second}
}

// ParseImage reads the answer; the zero value says that the host lacks the image.
func ParseImage(r host.Result) (ImageFacts, error) {
	if !r.OK() {
		return ImageFacts{}, nil
	}
	var raw []struct {
		ID           string `json:"Id"`
		Architecture string
		RootFS       struct{ Layers []string }
	}
	if err := json.Unmarshal(r.Stdout, &raw); err != nil || len(raw) != 1 {
		return ImageFacts{}, fmt.Errorf("read docker's answer about an image: %w", err)
	}
	return ImageFacts{true, raw[0].ID, raw[0].RootFS.Layers, raw[0].Architecture}, nil
}

// hasArchive reports whether the image that is there is the archive's. The id is the
// configuration's digest with the engine's classic store and the manifest's
// with the containerd store; the layers are the same in both.
func (f ImageFacts) hasArchive(a *Archive) bool {
	return f.Found && (f.ID == a.Config || slices.Equal(f.Layers, a.Layers))
}

// PlanImage decides whether a host needs an image.
func PlanImage(ref string, a *Archive, arch string, f ImageFacts) (changes []Change, findings []Finding) {
	if a != nil && a.Arch != "" && arch != "" && a.Arch != arch {
		return nil, []Finding{Error.Finding(fmt.Sprintf("image archive %s is for %s, the host is %s", a.Path, a.Arch, arch),
			"make the archive of the image for linux/"+arch+": docker pull --platform linux/"+arch+" "+ref)}
	}
	why := "not on the host"
	switch {
	case f.Found && a == nil && arch != "" && f.Arch != "" && f.Arch != arch:
		why = "the host has it for " + f.Arch + ", and is " + arch
	case a == nil && f.Found, a != nil && f.hasArchive(a):
		return nil, nil
	case f.Found:
		why = "the host has another image of this name"
	}
	if strings.Contains(ref, "@") && a != nil {
		return nil, []Finding{Error.Finding("image "+ref+" names a digest, which an archive cannot carry", "name it by tag, or leave archive out")}
	}
	return []Change{&Image{Ref: ref, Platform: "linux/" + arch, Archive: a, Why: why}}, nil
}
