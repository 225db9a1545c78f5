// Package toy is a proxy that nobody has: a variant outside the tree, which tests put
// into the list to see that one folder and one line are enough.
package toy

import (
	"context"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// Config is what a plan file says.
type Config struct {
	Host   string `hcl:"host"`
	Folder string `hcl:"folder,optional"` // default /etc/toy
}

// Variant is the toy.
func Variant() steps.Variant {
	return steps.Variant{
		Block: "proxy", Label: "toy", Required: true, Several: true,
		Doc:     "a proxy that nobody has",
		Example: `proxy "toy" { host = host.NAME }`,
		Config:  func() steps.Config { return &Config{Folder: "/etc/toy"} },
		Detect:  detect,
	}
}

func detect(ctx context.Context, o host.Observer) ([]steps.Found, error) {
	files, err := o.Read(ctx, "/etc/toy")
	if err != nil || !files[0].Exists {
		return nil, err
	}
	return []steps.Found{{Config: &Config{Host: o.Name(), Folder: "/etc/toy"}, Why: "/etc/toy is on " + o.Name(), Sure: true}}, nil
}

// HostName implements steps.Config.
func (c *Config) HostName() string { return c.Host }

// Parts implements steps.Config.
func (c *Config) Parts(d steps.Decl) []steps.Part {
	return []steps.Part{{Name: "toy", Title: "the toy", Host: d.Host, Proxy: new(steps.Proxy)}}
}

// Check implements steps.Config.
func (c *Config) Check(b steps.Block, d steps.Decl, s *steps.Site) {
	steps.CheckHostPath(b, "folder", c.Folder)
	steps.CheckServes(b, d, s)
}

// Steps implements steps.Config.
func (c *Config) Steps(d steps.Decl, s *steps.Site) []steps.Placed {
	text := "# " + s.Name + "\n"
	for _, r := range s.Served(d.Host) {
		text += r.URL + " " + r.Upstream + "\n"
	}
	return []steps.Placed{{Stage: steps.StageProxy, Host: d.Host, Step: c.file(s, text)}}
}

// file makes the site's file say text.
func (c *Config) file(s *steps.Site, text string) steps.Step {
	path := c.Folder + "/" + s.Slug() + ".conf"
	probe := func(ctx context.Context, o host.Observer) (host.File, error) {
		files, err := o.Read(ctx, path)
		if err != nil {
			return host.File{}, err
		}
		return files[0], nil
	}
	diff := func(f host.File, _ steps.Shared) (steps.Decision, error) {
		d := steps.Decision{Stands: steps.Refs(steps.EntryFile, path)}
		if edit, needed := steps.OwnFile(path, f, steps.Lit(text), 0o644, 0, steps.Secrets{}); needed {
			d.Changes = []steps.Change{&steps.Files{Title: "toy", Edits: []steps.FileEdit{edit}}}
		}
		return d, nil
	}
	return steps.Define("toy", probe, nil, diff)
}
