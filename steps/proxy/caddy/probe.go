package caddy

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
)

// usualPaths are the files of a usual configuration. Folders are not read whole:
// people keep private keys and backups in them.
var usualPaths = []string{
	usualMain, configDir + "/*.caddy", configDir + "/conf.d/*", configDir + "/Caddyfile.d/*", configDir + "/sites-enabled/*", ownDir + "/*.caddy",
}

// maxRounds is how often files are read that the files before them import.
const maxRounds = 4

type facts struct {
	name    string
	unit    unitFacts
	version string
	running bool   // a process of that name, whoever started it
	loaded  string // what queryRunning says
	https   string
	closed  map[string]string // "missing" or "closed" by path
	others  steps.Neighbours
	now     time.Time // when the certificate was looked at

	header string               // the first line of our own files for the site
	asked  []string             // what was read, as patterns
	files  map[string]host.File // by path, as it is imported
	src    splice.CaddySource   // our own files of the site are empty in it
	config *splice.CaddyConfig  // of src; nil where it cannot be read
	wrong  string               // why it cannot be read
}

func (c *Config) probe(ctx context.Context, o host.Observer, site *steps.Site) (facts, error) {
	paths := append(slices.Clone(usualPaths), ownDir)
	var pair []string
	if c.Certificate != "" {
		pair = []string{c.Certificate, c.Key}
		paths = append(paths, c.Certificate)
	}
	_, all, res, err := steps.Look(ctx, o, paths, queryUnits, host.Cmd{Argv: []string{"caddy", "version"}}, queryEnviron,
		queryRunning(unitFacts{program: "caddy", config: usualMain}), queryClosed(pair...), steps.QueryNeighbours,
		host.Cmd{Argv: []string{"ss", "-H", "-lntp", "sport = :443"}}, host.Cmd{Argv: []string{"pgrep", "-x", "caddy"}})
	if err != nil {
		return facts{}, fmt.Errorf("look at %s: %w", strings.Join(paths, ", "), err)
	}
	f := facts{
		name: o.Name(), unit: parseUnits(res[0]), version: version(res[1]), running: res[7].OK(), closed: map[string]string{},
		loaded: strings.TrimSpace(string(res[3].Stdout)), https: holder(res[6]), others: steps.ParseNeighbours(res[5]),
		now: time.Now(), header: header(site), files: map[string]host.File{},
	}
	for line := range strings.Lines(string(res[4].Stdout)) {
		if why, p, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok {
			f.closed[p] = why
		}
	}
	f.src = splice.CaddySource{Main: f.unit.config, Files: map[string][]byte{}, Matches: map[string][]string{}}
	if f.unit.envFile == "" {
		f.src.Env = parseEnviron(res[2])
	}
	f.load(paths, all)
	if !f.unit.found || f.unit.problem != "" {
		return f, nil
	}
	if f.unit.config != usualMain || f.unit.program != "/usr/bin/caddy" {
		if res, err = o.Query(ctx, host.Cmd{Argv: []string{f.unit.program, "version"}}, queryRunning(f.unit)); err != nil {
			return f, err
		}
		f.version, f.loaded = version(res[0]), strings.TrimSpace(string(res[1].Stdout))
	}
	if f.unit.envFile != "" {
		f.loaded = "" // it was asked without these variables
	}
	return f, f.follow(ctx, o)
}

// follow reads what is imported from elsewhere, and what that imports. A usual
// configuration was read already.
func (f *facts) follow(ctx context.Context, o host.Observer) error {
	for range maxRounds {
		missing := f.read()
		if len(missing) == 0 {
			break
		}
		more, err := o.Read(ctx, missing...)
		if err != nil {
			return fmt.Errorf("read %s: %w", strings.Join(missing, ", "), err)
		}
		f.load(missing, more)
	}
	if missing := f.read(); len(missing) > 0 && f.wrong == "" {
		f.wrong = "imports are nested too deeply: " + strings.Join(missing, ", ")
	}
	return nil
}

// load takes in files that were read; asked are the patterns that they were read by.
func (f *facts) load(asked []string, files []host.File) {
	f.asked = append(f.asked, asked...)
	for _, file := range files {
		if _, seen := f.files[file.Path]; seen {
			continue
		}
		f.files[file.Path] = file
		if file.Exists && file.Mode.IsRegular() && file.Err == "" {
			f.src.Files[file.Path] = file.Data
		}
		if f.isOwn(file.Path) {
			f.src.Files[file.Path] = nil
		}
	}
	clear(f.src.Matches)
}

// read reads the configuration as far as its files are there, and returns what is
// missing.
func (f *facts) read() []string {
	f.config, f.wrong = nil, ""
	if _, ok := f.src.Files[f.src.Main]; !ok {
		if !slices.Contains(f.asked, f.src.Main) {
			return []string{f.src.Main}
		}
		f.wrong = f.src.Main + ": " + cmp.Or(f.files[f.src.Main].Err, "it is not there, or is no regular file")
		return nil
	}
	for {
		config, err := splice.ReadCaddy(f.src)
		if err != nil {
			f.wrong = err.Error()
			return nil
		}
		var missing []string
		again := false
		for _, p := range config.Unread {
			_, known := f.src.Matches[p]
			switch {
			case known || f.files[p].Exists && !strings.ContainsAny(p, "*?["):
				f.wrong = p + " is imported: " + cmp.Or(f.files[p].Err, "it cannot be read")
				return nil
			case f.covered(p):
				f.src.Matches[p], again = f.matching(p), true
			default:
				missing = append(missing, p)
			}
		}
		if !again {
			if len(missing) == 0 {
				f.config = config
			}
			return missing
		}
	}
}

// covered reports whether all that pattern can match was read.
func (f *facts) covered(pattern string) bool {
	hidden := func(p string) bool { return strings.HasPrefix(path.Base(p), ".") }
	return slices.ContainsFunc(f.asked, func(asked string) bool {
		if asked == pattern {
			return true
		}
		ok, err := path.Match(asked, pattern)
		return err == nil && ok && hidden(asked) == hidden(pattern)
	})
}

// matching are the files that a pattern matches, in the order of a glob.
func (f *facts) matching(pattern string) []string {
	out := []string{}
	for p, file := range f.files {
		if ok, err := path.Match(pattern, p); file.Exists && (p == pattern || err == nil && ok) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// header begins each of our own files for a site; by it they are found again.
func header(site *steps.Site) string {
	return fmt.Sprintf("# The MatrixRTC backend of %s. Written by ecdeploy: change the plan file, not this file.\n", site.Name)
}

// isOwn reports whether a path is a file of our own for the site.
func (f *facts) isOwn(p string) bool {
	file := f.files[p]
	return file.Exists && strings.HasPrefix(p, ownDir+"/") && strings.HasPrefix(string(file.Data), f.header)
}

// ownFiles are the files of our own for the site that are there, sorted.
func (f *facts) ownFiles() []string {
	var out []string
	for p := range f.files {
		if f.isOwn(p) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// holder is the program that ss found on a port where Caddy is not.
func holder(r host.Result) string {
	m := steps.ProcName.FindStringSubmatch(string(r.Stdout))
	if m == nil || strings.Contains(string(r.Stdout), `("caddy`) {
		return ""
	}
	return m[1]
}
