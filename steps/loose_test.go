package steps

import (
	"errors"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
)

// A file of our own that a symlink leads elsewhere, and a foreign one that was
// turned elsewhere since the plan was made, are noticed before anything changes.
func TestResolveNoticesSymlinks(t *testing.T) {
	foreign, err := ForeignFile("/etc/f", []byte("a\n"), []splice.Edit{{Text: "b\n"}})
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
		_, err := c.edit.result(c.found, testSecrets())
		if err == nil {
			err = errors.New("")
		}
		if !strings.Contains(err.Error(), c.want) || c.want == "" && err.Error() != "" {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}
