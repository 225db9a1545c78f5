package steps

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// fakeObserver is a host of recorded answers, for tests of what a probe asks
// and how it reads the answers.
type fakeObserver struct {
	files  map[string]string // regular files by path
	links  map[string]string // symlinks to these
	answer func(argv string) host.Result
	reads  *int              // flights of Read so far
	errs   map[string]string // why these cannot be read
}

func (fakeObserver) Name() string { return "h" }

func (o fakeObserver) Read(_ context.Context, paths ...string) ([]host.File, error) {
	if o.reads != nil {
		*o.reads++
	}
	var all []string
	for p := range o.files {
		all = append(all, p)
	}
	for p := range o.links {
		all = append(all, p)
	}
	slices.Sort(all)
	var out []host.File
	for _, pattern := range paths {
		found := false
		for _, p := range all {
			hidden := strings.HasPrefix(path.Base(p), ".") && !strings.HasPrefix(path.Base(pattern), ".")
			if ok, _ := path.Match(pattern, p); !ok || hidden {
				continue
			}
			real := p
			if to := o.links[p]; to != "" {
				real = to
			}
			found = true
			out = append(out, host.File{Path: p, Real: real, Exists: true, Mode: 0o644, Data: []byte(o.files[real]), Err: o.errs[p]})
		}
		if !found {
			f := host.File{Path: pattern}
			for _, p := range all {
				if strings.HasPrefix(p, pattern+"/") {
					f = host.File{Path: pattern, Real: pattern, Exists: true, Mode: fs.ModeDir | 0o755}
				}
			}
			out = append(out, f)
		}
	}
	return out, nil
}

func (o fakeObserver) Query(_ context.Context, cmds ...host.Cmd) ([]host.Result, error) {
	var out []host.Result
	for _, c := range cmds {
		argv := strings.Join(c.Argv, " ")
		if c.Argv[0] == "sh" {
			argv = c.Argv[2]
		}
		out = append(out, o.answer(argv))
	}
	return out, nil
}

// caObserver is a host on which /ca.pem is as given.
type caObserver struct {
	fakeObserver
	ca host.File
}

func (o caObserver) Read(ctx context.Context, paths ...string) ([]host.File, error) {
	files, err := o.fakeObserver.Read(ctx, paths...)
	for i := range files {
		if files[i].Path == "/ca.pem" {
			files[i] = o.ca
			files[i].Path = "/ca.pem"
		}
	}
	return files, err
}
