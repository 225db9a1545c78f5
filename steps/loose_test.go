package steps

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
)

// looseObserver is a host on which somebody else than root could turn the
// symlink at one path elsewhere.
type looseObserver struct {
	fakeObserver
	loose string
}

func (o looseObserver) Read(ctx context.Context, paths ...string) ([]host.File, error) {
	files, err := o.fakeObserver.Read(ctx, paths...)
	for i := range files {
		if files[i].Path == o.loose {
			files[i].Loose = o.loose
		}
	}
	return files, err
}

// Who can turn a symlink elsewhere would choose which file root edits. It stays
// unedited, and the finding says why; a file that needs no edit is fine.
func TestNoEditBehindALooseSymlink(t *testing.T) {
	wantRefusal := func(t *testing.T, d Decision, link string) {
		t.Helper()
		if len(d.Changes) > 0 || !strings.Contains(summaries(d.Findings), "cannot be edited safely: ") || !strings.Contains(summaries(d.Findings), "the symlink "+link+" could be turned") {
			t.Errorf("%d changes, and it says %s", len(d.Changes), summaries(d.Findings))
		}
	}
	t.Run("nginx", func(t *testing.T) {
		const link = "/etc/nginx/sites-enabled/matrix"
		o := nginxHost(t, map[string]string{"matrix": matrixSite})
		wantRefusal(t, decideNginx(t, oneName("matrix.example.org"), ProxyNginx{}, looseObserver{o, link}), link)
		if d := decideNginx(t, testSite(), ProxyNginx{}, looseObserver{o, link}); len(d.Changes) != 1 {
			t.Errorf("nothing of that file would change, and it says %s", summaries(d.Findings))
		}
	})
	t.Run("Synapse", func(t *testing.T) {
		f := synapseFound("homeserver.yaml", hsListen)
		f.files[0].Loose = "/etc/matrix-synapse/homeserver.yaml"
		wantRefusal(t, f.decide(testSite(), debianConfig()), f.files[0].Loose)
	})
	t.Run("well-known", func(t *testing.T) {
		const link = "/var/www/client"
		o := fakeObserver{files: map[string]string{"/srv/client": "{}"}, links: map[string]string{link: "/srv/client"}}
		facts, err := WellKnownOnDisk(testSite(), WellKnownFile{Path: link}).Probe(t.Context(), looseObserver{o, link})
		if err != nil {
			t.Fatal(err)
		}
		d, err := facts.Diff(Shared{})
		if err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, d, link)
	})
}

// A file of our own that a symlink leads elsewhere, and a foreign one that was
// turned elsewhere since the plan was made, are noticed before anything changes.
func TestResolveNoticesSymlinks(t *testing.T) {
	foreign, err := foreignFile("/etc/f", []byte("a\n"), []splice.Edit{{Text: "b\n"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		edit  FileEdit
		found host.File
		want  string
	}{
		{"a new file", FileEdit{Path: "/etc/ecdeploy/f", Text: Lit("x")}, host.File{Real: "/srv/f"}, "would be /srv/f"},
		{"a foreign file", foreign, host.File{Real: "/srv/f", Exists: true, Data: []byte("a\n")}, ErrDrift.Error()},
		{"a foreign file where it was", foreign, host.File{Real: "/etc/f", Exists: true, Data: []byte("a\n")}, ""},
		{"a new file where it is to be", FileEdit{Path: "/etc/ecdeploy/f", Text: Lit("x")}, host.File{Real: "/etc/ecdeploy/f"}, ""},
	} {
		_, err := c.edit.result(c.found, KeySecrets(testKeys()))
		if err == nil {
			err = errors.New("")
		}
		if !strings.Contains(err.Error(), c.want) || c.want == "" && err.Error() != "" {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}
