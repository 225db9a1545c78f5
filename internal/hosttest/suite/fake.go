package suite

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// Fake is a host of recorded answers, for tests of what a probe asks
// and how it reads the answers.
type Fake struct {
	Files  map[string]string // regular files by path
	Links  map[string]string // symlinks to these
	Answer func(argv string) host.Result
	Reads  *int              // flights of Read so far
	Errs   map[string]string // why these cannot be read
}

func (Fake) Name() string { return "h" }

func (o Fake) Read(_ context.Context, paths ...string) ([]host.File, error) {
	if o.Reads != nil {
		*o.Reads++
	}
	var all []string
	for p := range o.Files {
		all = append(all, p)
	}
	for p := range o.Links {
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
			if to := o.Links[p]; to != "" {
				real = to
			}
			found = true
			f := host.File{Path: p, Real: real, Exists: true, Mode: 0o644, Data: []byte(o.Files[real]), Err: o.Errs[p]}
			if p != pattern {
				f.Pattern = pattern
			}
			out = append(out, f)
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

func (o Fake) Query(_ context.Context, cmds ...host.Cmd) ([]host.Result, error) {
	var out []host.Result
	for _, c := range cmds {
		argv := strings.Join(c.Argv, " ")
		if c.Argv[0] == "sh" {
			argv = c.Argv[2]
		}
		out = append(out, o.Answer(argv))
	}
	return out, nil
}

// Loose is a host on which somebody else than root could turn the
// symlink at one path elsewhere.
type Loose struct {
	Fake
	Path string
}

func (o Loose) Read(ctx context.Context, paths ...string) ([]host.File, error) {
	files, err := o.Fake.Read(ctx, paths...)
	for i := range files {
		if files[i].Path == o.Path {
			files[i].Loose = o.Path
		}
	}
	return files, err
}
