// Package faults stops a run of ecdeploy at a chosen point, so that a test can
// break something there. It sits in the transport: around the calls by which
// the engine reaches a host, and, since lib.sh passes through it, around every
// command by which a host is changed. The product knows nothing of it.
package faults

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
)

//go:embed points.sh
var points string

// Transport wraps hosts of one run. Its folder, which the test shares with it,
// holds "target" (a number N and a point's key: stop when it is reached for the
// N-th time) and "record" (if there, keys of all points are appended); it makes
// "at" when it stops, with the host's name, and goes on when there is "go". A
// file "fail" holds a key: that call fails instead of being made.
type Transport struct {
	Dir string

	mu   sync.Mutex
	seen map[string]int
}

// Wrap puts the points around what reaches h.
func (t *Transport) Wrap(h host.Host) host.Host { return &faulty{h, t} }

func (t *Transport) read(name string) string {
	b, err := os.ReadFile(filepath.Join(t.Dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// point is passed once per call and moment.
func (t *Transport) point(on, when, what string) {
	key := "laptop/" + when + "/" + what
	t.mu.Lock()
	if t.seen == nil {
		t.seen = map[string]int{}
	}
	t.seen[key]++
	n := t.seen[key]
	if _, err := os.Stat(filepath.Join(t.Dir, "record")); err == nil {
		f, err := os.OpenFile(filepath.Join(t.Dir, "record"), os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			fmt.Fprintln(f, key)
			f.Close()
		}
	}
	t.mu.Unlock()
	if t.read("target") != fmt.Sprintf("%d %s", n, key) {
		return
	}
	if err := os.WriteFile(filepath.Join(t.Dir, "at"), []byte(on), 0o600); err != nil {
		panic(err) // the suite would wait for ever
	}
	for {
		if _, err := os.Stat(filepath.Join(t.Dir, "go")); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (t *Transport) fails(what string) bool { return what != "" && t.read("fail") == what }

type faulty struct {
	host.Host
	t *Transport
}

var feed = regexp.MustCompile(`\nec_feed \d`)

var changeDir = regexp.MustCompile(`J=\S*/changes/(\d{4})`)

// label names a script by what it is for.
func label(script string) string {
	switch {
	case strings.Contains(script, "\nec_take_lock "):
		return "lock"
	case strings.Contains(script, `"$R/rollback.sh" "$@"`):
		return "rollback"
	case strings.Contains(script, "/commit.sh"):
		return "commit"
	case strings.Contains(script, `"$R/arming" "$R/armed"`):
		return "arm"
	case strings.Contains(script, `: >"$J/made"`):
		return "made"
	case strings.Contains(script, "\nec_in_force || exit 1\n"):
		return "do-" + changeDir.FindStringSubmatch(script)[1]
	case strings.Contains(script, "/changes"):
		if m := changeDir.FindStringSubmatch(script); m != nil {
			return "check-" + m[1]
		}
		return "stage"
	}
	return "release"
}

func (f *faulty) Run(ctx context.Context, script string, timeout time.Duration) (host.Result, error) {
	what := label(script)
	f.t.point(f.Name(), "before", what)
	res, err := f.Host.Run(ctx, script, timeout)
	f.t.point(f.Name(), "after", what)
	return res, err
}

func (f *faulty) Query(ctx context.Context, cmds ...host.Cmd) ([]host.Result, error) {
	what := ""
	for _, c := range cmds {
		if feed.MatchString(strings.Join(c.Argv, "\n")) {
			what = "feed"
		}
	}
	if what == "" {
		return f.Host.Query(ctx, cmds...)
	}
	f.t.point(f.Name(), "before", what)
	res, err := f.Host.Query(ctx, cmds...)
	f.t.point(f.Name(), "after", what)
	return res, err
}

func (f *faulty) Upload(ctx context.Context, files []host.Upload) error {
	files = append([]host.Upload(nil), files...)
	for i, u := range files {
		if strings.HasSuffix(u.Path, "/lib.sh") {
			files[i].Data = append(append([]byte(nil), u.Data...), "\n"+points...)
		}
	}
	f.t.point(f.Name(), "before", "upload")
	err := f.Host.Upload(ctx, files)
	f.t.point(f.Name(), "after", "upload")
	return err
}

func (f *faulty) Confirm(ctx context.Context) error {
	f.t.point(f.Name(), "before", "confirm")
	if f.t.fails("confirm") {
		return errors.New("the suite lets this fail")
	}
	err := f.Host.Confirm(ctx)
	f.t.point(f.Name(), "after", "confirm")
	return err
}

func (f *faulty) Docker(ctx context.Context) (host.Docker, error) {
	d, err := f.Host.Docker(ctx)
	if err != nil {
		return nil, err
	}
	return &engine{d, f}, nil
}

type engine struct {
	host.Docker
	f *faulty
}

func (e *engine) Create(ctx context.Context, spec host.ContainerSpec) (string, error) {
	e.f.t.point(e.f.Name(), "before", "engine-create")
	id, err := e.Docker.Create(ctx, spec)
	e.f.t.point(e.f.Name(), "after", "engine-create")
	return id, err
}

func (e *engine) Start(ctx context.Context, name string) error {
	e.f.t.point(e.f.Name(), "before", "engine-start")
	err := e.Docker.Start(ctx, name)
	e.f.t.point(e.f.Name(), "after", "engine-start")
	return err
}
