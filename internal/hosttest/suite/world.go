package suite

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

// World is a host on which changes of files and containers take effect, so that a
// variant can be asked again after what it planned was done. Commands answer as
// Answer says, but for what is asked of images and containers.
type World struct {
	Fake
	modes      map[string]mode
	containers map[string]host.ContainerSpec
	ledger     map[string]steps.Entry // by ID, of one site
	done       int                    // changes so far
}

type mode struct {
	perm fs.FileMode
	gid  int
}

// NewWorld is a host with these files, whose commands answer as answer says; nil for
// commands that all fail.
func NewWorld(files map[string]string, answer func(argv string) host.Result) *World {
	w := &World{modes: map[string]mode{}, containers: map[string]host.ContainerSpec{}, ledger: map[string]steps.Entry{}}
	w.Files, w.Links = map[string]string{}, map[string]string{}
	for p, text := range files {
		w.Files[p] = text
	}
	if answer == nil {
		answer = func(string) host.Result { return host.Result{Code: 127} }
	}
	w.Answer = func(argv string) host.Result {
		if name, ok := strings.CutPrefix(argv, "docker container inspect -- "); ok {
			return w.inspect(name)
		}
		if strings.HasPrefix(argv, "docker image inspect -- ") {
			return host.Result{Stdout: []byte(`[{"Id":"sha256:image","Architecture":"amd64"}]`)}
		}
		if strings.Contains(argv, "docker version") {
			return host.Result{Stdout: []byte("28.5.2\n")}
		}
		if strings.HasPrefix(argv, "docker ps -a") {
			return host.Result{Stdout: []byte(w.list())}
		}
		return answer(argv)
	}
	return w
}

// list is a line ID, tab, NAME for each container.
func (w *World) list() string {
	var b strings.Builder
	for name := range w.containers {
		fmt.Fprintf(&b, "id-%s\t%s\n", name, name)
	}
	return b.String()
}

func (w *World) inspect(name string) host.Result {
	spec, ok := w.containers[name]
	if !ok {
		return host.Result{Code: 1, Stderr: []byte("Error response from daemon: No such container: " + name + "\n")}
	}
	b, _ := json.Marshal([]any{map[string]any{ // never fails: plain values
		"Id": "id-" + name, "Image": "sha256:image", "State": map[string]any{"Running": true},
		"HostConfig": map[string]any{"RestartPolicy": map[string]any{"Name": spec.Restart}},
		"Config":     map[string]any{"Labels": spec.Labels},
	}})
	return host.Result{Stdout: b}
}

// Read implements host.Observer.
func (w *World) Read(ctx context.Context, paths ...string) ([]host.File, error) {
	files, err := w.Fake.Read(ctx, paths...)
	for i, f := range files {
		if f.Real == "" { // as readlink has it for what is not there yet
			files[i].Real = f.Path
		}
		if m, ok := w.modes[f.Path]; ok {
			files[i].Exists, files[i].Mode, files[i].GID = true, f.Mode.Type()|m.perm, m.gid
		}
	}
	return files, err
}

// Do makes a change, as the engine and the host would.
func (w *World) Do(t *testing.T, c steps.Change) {
	t.Helper()
	r, err := c.Resolve(t.Context(), steps.Env{Host: w, Run: "R", Change: fmt.Sprintf("%04d", w.done), Secrets: credentials.Secrets(Keys())})
	if err != nil {
		t.Fatalf("%s: %v", c.Summary().Title, err)
	}
	w.done++
	before := maps.Clone(w.Files)
	defer w.enter(r, before)
	switch c := c.(type) {
	case *steps.Files:
		w.place(t, c.Dirs, c.Edits)
	case *steps.Container:
		w.place(t, c.Dirs, c.Edits)
		delete(w.containers, c.Spec.Name)
		if r.Act != nil {
			if err := r.Act(t.Context(), engineOf{world: w}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// enter makes the moves of a change in the ledger, from the files as they were before
// it and are now.
func (w *World) enter(r steps.Resolved, before map[string]string) {
	for _, id := range r.Ledger.Leave {
		delete(w.ledger, id)
		for p := range w.Files {
			if strings.HasPrefix(p, w.entryDir(id)+"/") {
				delete(w.Files, p)
			}
		}
	}
	for _, in := range r.Ledger.Enter {
		e := in.Entry
		e.Site, e.Stage, e.Step = Slug, steps.StageHost, "step"
		w.ledger[e.ID] = e
		switch e.Kind {
		case steps.EntryFile:
			w.Files[e.Dir()+"/sum"] = steps.Digest([]byte(w.Files[e.Name]), steps.Secrets{}) + "\n"
		case steps.EntryLines:
			w.Files[e.Dir()+"/before"], w.Files[e.Dir()+"/after"] = before[e.Name], w.Files[e.Name]
		}
	}
}

func (w *World) entryDir(id string) string { return steps.Entry{Site: Slug, ID: id}.Dir() }

// Ledger is what stands on the host.
func (w *World) Ledger() steps.Ledger {
	var l steps.Ledger
	for _, id := range slices.Sorted(maps.Keys(w.ledger)) {
		l.Entries = append(l.Entries, w.ledger[id])
	}
	return l
}

// Slug is that of the suite's site.
const Slug = "example.org"

func (w *World) place(t *testing.T, dirs []steps.Dir, edits []steps.FileEdit) {
	t.Helper()
	for _, d := range dirs {
		w.modes[d.Path] = mode{fs.ModeDir | d.Mode, d.GID}
	}
	for _, e := range edits {
		switch {
		case e.Remove:
			delete(w.Files, e.Path)
			delete(w.modes, e.Path)
		case e.Edits != nil:
			after, err := splice.Apply([]byte(w.Files[e.Path]), e.Edits)
			if err != nil {
				t.Fatal(err)
			}
			w.Files[e.Path] = string(after)
		default:
			text, err := e.Text.Fill(credentials.Secrets(Keys()))
			if err != nil {
				t.Fatal(err)
			}
			w.Files[e.Path], w.modes[e.Path] = string(text), mode{e.Mode, e.GID}
		}
	}
}

// engineOf is a Docker engine that only makes containers; other calls are a mistake of
// the test and panic.
type engineOf struct {
	host.Docker
	world *World
}

// Create implements host.Docker.
func (e engineOf) Create(_ context.Context, spec host.ContainerSpec) (string, error) {
	if _, taken := e.world.containers[spec.Name]; taken {
		return "", fmt.Errorf("container %s is there already", spec.Name)
	}
	e.world.containers[spec.Name] = spec
	return "id-" + spec.Name, nil
}

// Start implements host.Docker.
func (e engineOf) Start(context.Context, string) error { return nil }
