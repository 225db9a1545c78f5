package steps

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/internal/host"
)

// imageFile is a tar file with an image. Where it holds no more than an OCI image
// layout, as `skopeo copy` and `docker buildx build` write it
// (opencontainers/image-spec image-layout.md), an engine with the classic store
// does not load it, so it is given the form that `docker save` writes; layers stay
// compressed as they are (zstd was not tried).
type imageFile struct {
	f  *os.File
	at map[string]io.SectionReader // what the tar file holds, by path
}

func openImageFile(file string) (*imageFile, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	o := &imageFile{f, map[string]io.SectionReader{}}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return o, nil
		}
		begin, seekErr := f.Seek(0, io.SeekCurrent) // the reader does not read ahead
		if err = errors.Join(err, seekErr); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if h.Typeflag == tar.TypeReg {
			o.at[path.Clean(h.Name)] = *io.NewSectionReader(f, begin, h.Size)
		}
	}
}

// saved reports whether `docker save` wrote the file.
func (o *imageFile) saved() bool { _, ok := o.at["manifest.json"]; return ok }

func (o *imageFile) open(p string) (io.ReadCloser, error) {
	s, ok := o.at[p]
	if !ok {
		return nil, fmt.Errorf("it has no %s", p)
	}
	return io.NopCloser(&s), nil
}

func (o *imageFile) read(p string) ([]byte, error) {
	r, err := o.open(p)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, 8<<20))
}

func blob(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// images are the manifests below an index, without those that only say how an
// image was built.
func (o *imageFile) images(index string, depth int) ([]v1.Descriptor, error) {
	if depth > 3 {
		return nil, fmt.Errorf("%s: too many lists in lists", index)
	}
	b, err := o.read(index)
	if err != nil {
		return nil, err
	}
	var list v1.IndexManifest
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", index, err)
	}
	var out []v1.Descriptor
	for _, m := range list.Manifests {
		switch {
		case m.MediaType.IsIndex():
			below, err := o.images(blob(m.Digest), depth+1)
			if err != nil {
				return nil, err
			}
			for _, m := range below {
				out = addOnce(out, m)
			}
		case m.MediaType.IsImage() && (m.Platform == nil || m.Platform.OS != "unknown"):
			out = addOnce(out, m)
		}
	}
	return out, nil
}

// addOnce leaves out what is there already: an image with two names stands in the
// index twice.
func addOnce(all []v1.Descriptor, m v1.Descriptor) []v1.Descriptor {
	if slices.ContainsFunc(all, func(o v1.Descriptor) bool { return o.Digest == m.Digest }) {
		return all
	}
	return append(all, m)
}

// image is the one image of the layout.
func (o *imageFile) image() (v1.Image, error) {
	all, err := o.images("index.json", 0)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, hint.Wrap(fmt.Errorf("it holds %d images", len(all)), "write one, for one platform, into an OCI archive")
	}
	return partial.CompressedToImage(ociImage{o, all[0]})
}

// load gives the image of the layout to an engine, under the name ref.
func (o *imageFile) load(ctx context.Context, d host.Docker, ref string) error {
	r, w := io.Pipe()
	var g errgroup.Group
	g.Go(func() error { return w.CloseWithError(o.save(w, ref)) })
	err := d.Load(ctx, r)
	_ = r.Close() // ends the writer where the engine did not read all
	_ = g.Wait()  // what failed there, Load was told by the pipe
	return err
}

// save writes the image of the layout as `docker save` does.
func (o *imageFile) save(w io.Writer, ref string) error {
	img, err := o.image()
	if err != nil {
		return err
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		return fmt.Errorf("read image name: %w", err)
	}
	return tarball.Write(tag, img, w)
}

// ociImage and ociLayer are an image of the file and a part of it, as
// go-containerregistry wants them.
type ociImage struct {
	o *imageFile
	m v1.Descriptor
}

func (i ociImage) MediaType() (types.MediaType, error) { return i.m.MediaType, nil }
func (i ociImage) RawManifest() ([]byte, error)        { return i.o.read(blob(i.m.Digest)) }

func (i ociImage) RawConfigFile() ([]byte, error) {
	m, err := partial.Manifest(i)
	if err != nil {
		return nil, err
	}
	return i.o.read(blob(m.Config.Digest))
}

func (i ociImage) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	m, err := partial.Manifest(i)
	if err != nil {
		return nil, err
	}
	for _, l := range m.Layers {
		if l.Digest == h {
			return ociLayer{i.o, l}, nil
		}
	}
	return nil, fmt.Errorf("no layer %s", h)
}

type ociLayer struct {
	o *imageFile
	l v1.Descriptor
}

func (l ociLayer) Digest() (v1.Hash, error)            { return l.l.Digest, nil }
func (l ociLayer) Size() (int64, error)                { return l.l.Size, nil }
func (l ociLayer) MediaType() (types.MediaType, error) { return l.l.MediaType, nil }
func (l ociLayer) Compressed() (io.ReadCloser, error)  { return l.o.open(blob(l.l.Digest)) }
