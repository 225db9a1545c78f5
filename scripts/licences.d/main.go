// Command licences.d is scripts/licences: it tells the licence of every module
// that is linked into ecdeploy, by the texts that the modules carry.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

const (
	program = "./cmd/ecdeploy"
	list    = "docs/licences.md"
)

// systems are those that ecdeploy is built for: each links other packages.
var systems = []string{"linux", "darwin", "windows"}

// compatible are the licences, by their SPDX names, whose code may be a part of
// something under Apache-2.0. Code under MPL-2.0 stays under it, file by file.
var compatible = []string{"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0", "Unicode-DFS-2016", "Unlicense"}

// enough of a file must be the text of licences that are known, in percent, as on
// pkg.go.dev.
const enough = 75

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	check := len(args) == 1 && args[0] == "--check"
	if len(args) > 0 && !check {
		return errors.New("usage: scripts/licences [--check]")
	}
	all := map[string]*module{}
	for _, system := range systems {
		if err := linked(system, all); err != nil {
			return err
		}
	}
	text, err := table(slices.SortedFunc(maps.Values(all), func(a, b *module) int { return cmp.Compare(a.Path, b.Path) }))
	if err != nil {
		return err
	}
	if !check {
		return os.WriteFile(list, text, 0o644)
	}
	if old, err := os.ReadFile(list); err != nil || !bytes.Equal(old, text) {
		return errors.Join(err, fmt.Errorf("%s is not current: run scripts/licences", list))
	}
	return nil
}

// module is a module and the folders of its packages that are linked.
type module struct {
	Path, Version, Dir string
	packages           map[string]bool
}

// linked adds the modules of the packages that are linked on a system. Tests
// link others.
func linked(system string, all map[string]*module) error {
	cmd := exec.Command("go", "list", "-deps", "-json=Dir,Module", program)
	cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH=amd64", "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("list what is linked: %w", err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Dir    string
			Module *struct {
				Path, Version, Dir string
				Main               bool
				Replace            *struct{ Path string }
			}
		}
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("list what is linked: %w", err)
		case p.Module == nil || p.Module.Main: // Go's own packages and ours
			continue
		case p.Module.Replace != nil:
			return fmt.Errorf("%s is replaced by %s, and the list would not say so", p.Module.Path, p.Module.Replace.Path)
		}
		m := all[p.Module.Path]
		if m == nil {
			m = &module{p.Module.Path, p.Module.Version, p.Module.Dir, map[string]bool{}}
			all[m.Path] = m
		}
		m.packages[p.Dir] = true
	}
}

// licenceFile is what a file with a licence is called. LICENSE.docs is the
// documentation's, which is not linked.
var licenceFile = regexp.MustCompile(`(?i)^(un)?licen[cs]e([-._].*)?$|^copying([-._].*)?$`)

// licences are those of a module: of its own folder, and of the folders on the
// way to the packages that are linked, which may be somebody else's.
func (m *module) licences() ([]string, error) {
	folders := map[string]bool{m.Dir: true}
	for p := range m.packages {
		for d := p; strings.HasPrefix(d, m.Dir+string(filepath.Separator)); d = filepath.Dir(d) {
			folders[d] = true
		}
	}
	found := map[string]bool{}
	for d := range folders {
		files, err := os.ReadDir(d)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if f.IsDir() || !licenceFile.MatchString(f.Name()) || strings.HasSuffix(f.Name(), ".docs") || strings.HasSuffix(f.Name(), ".go") {
				continue
			}
			text, err := os.ReadFile(filepath.Join(d, f.Name()))
			if err != nil {
				return nil, err
			}
			ids, err := classify(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", m.Path, f.Name(), err)
			}
			for _, id := range ids {
				found[id] = true
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s has no licence file", m.Path)
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// classify tells the licences of a text, all of which must be compatible.
func classify(text []byte) ([]string, error) {
	c := licensecheck.Scan(text)
	if c.Percent < enough {
		return nil, fmt.Errorf("only %.0f %% of it is the text of a licence that is known: read it", c.Percent)
	}
	var ids []string
	for _, m := range c.Match {
		if !slices.Contains(compatible, m.ID) {
			return nil, fmt.Errorf("%s does not go with Apache-2.0, or nobody has checked that it does", m.ID)
		}
		ids = append(ids, m.ID)
	}
	return ids, nil
}

func table(all []*module) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(`# Licences

ecdeploy is under Apache-2.0. These modules are linked into it, on one system or
another, besides Go's standard library (BSD-3-Clause). Written by ` + "`scripts/licences`" + `
from the texts that the modules carry; ` + "`scripts/lint`" + ` fails where it is not
current, or where a licence is not known or does not go with Apache-2.0.

| module | version | licences |
|---|---|---|
`)
	var errs []error
	for _, m := range all {
		ids, err := m.licences()
		errs = append(errs, err)
		fmt.Fprintf(&b, "| %s | %s | %s |\n", m.Path, m.Version, strings.Join(ids, ", "))
	}
	return b.Bytes(), errors.Join(errs...)
}
