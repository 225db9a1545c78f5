package wellknown

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
)

// title is the title of the change to files of others. The hosts remember it: by it a
// site's edits are found again when it is taken away.
const title = "well-known"

// File is a static /.well-known/matrix/client on a host's disk.
type File struct {
	Host string `hcl:"host"`
	Path string `hcl:"path"`
}

// FileVariant is a static file that a web server of the host serves.
func FileVariant() steps.Variant {
	return steps.Variant{
		Block: "well_known", Label: "file", Required: true,
		Doc:     "a static file",
		Example: "well_known \"file\" {\n  host = host.NAME\n  path = \"/var/www/html/.well-known/matrix/client\"\n}",
		Config:  func() steps.Config { return new(File) },
		Detect:  func(context.Context, host.Observer) ([]steps.Found, error) { return nil, nil }, // which file is served is the proxy's to say
	}
}

// HostName implements Config.
func (c *File) HostName() string { return c.Host }

// Parts implements Config.
func (c *File) Parts(d steps.Decl) []steps.Part {
	return []steps.Part{{
		Name: "well-known", Title: "the announcement", Host: d.Host,
		Routes: []steps.Route{{Purpose: steps.Announce, URL: wellKnownURL(d.Site), File: c.Path}},
		Files:  []steps.Claim{{Attr: "path", What: c.Path, Fix: "give each server name a file of its own"}},
	}}
}

// wellKnownURL is where clients look for the announcement.
func wellKnownURL(server string) string {
	return "https://" + steps.Domain(server) + "/.well-known/matrix/client"
}

// Check implements Config.
func (c *File) Check(b steps.Block, _ steps.Decl, _ *steps.Site) {
	steps.CheckHostPath(b, "path", c.Path)
	if b.Given("path") && b.Known("path") && strings.HasSuffix(c.Path, "/") {
		b.Wrong("path", "path is a folder", `write the path of the file, ending in "/matrix/client"`)
	}
}

// Steps implements Config.
func (c *File) Steps(d steps.Decl, s *steps.Site) []steps.Placed {
	return []steps.Placed{{Stage: steps.StageWellKnown, Host: d.Host, Step: c.merge(s)}}
}

// merge brings the announcement of the backend into the file: the key
// org.matrix.msc4143.rtc_foci (MSC4143, which clients read where the homeserver's
// own list is not known to them).
func (c *File) merge(site *steps.Site) steps.Step {
	probe := func(ctx context.Context, o host.Observer) (host.File, error) {
		files, err := o.Read(ctx, c.Path)
		if err != nil {
			return host.File{}, err
		}
		return files[0], nil
	}
	diff := func(f host.File, s steps.Shared) (steps.Decision, error) {
		d := steps.Decision{Checks: wellKnownChecks(site, cmp.Or(s.HTTPS[c.Host], "127.0.0.1:443"), "the file "+c.Path)}
		if strings.HasPrefix(c.Path, "/matrix/") || strings.HasPrefix(f.Real, "/matrix/") {
			d.Findings = []steps.Finding{steps.Error.Finding(c.Path+" belongs to matrix-docker-ansible-deploy, which would overwrite edits and is not supported yet",
				`use well_known "external" {}: ecdeploy then says what it needs and checks it`)}
			return d, nil
		}
		switch {
		case !f.Exists:
			d.Findings = []steps.Finding{steps.Error.Finding(c.Path+" is not there",
				fmt.Sprintf("make it with at least {\"m.homeserver\": {\"base_url\": \"https://matrix.%s\"}}, or correct well_known.path", site.Domain()))}
		case f.Err != "" || !f.Mode.IsRegular():
			d.Findings = []steps.Finding{steps.Error.Finding(c.Path+" cannot be read: "+cmp.Or(f.Err, "it is no regular file"), "correct well_known.path")}
		default:
			d.Stands = steps.Refs(steps.EntryLines, f.Real)
			edits, err := splice.RTCFoci(f.Data, site.ServiceURL())
			if err != nil {
				d.Findings = []steps.Finding{steps.Refusal(c.Path, err)}
				break
			}
			if len(edits) == 0 {
				break
			}
			if f.Loose != "" {
				d.Findings = []steps.Finding{steps.Refusal(c.Path, steps.LooseLink(f.Loose))}
				break
			}
			e, err := steps.ForeignFile(f.Real, f.Data, edits)
			if err != nil {
				return d, err
			}
			d.Changes = []steps.Change{&steps.Files{Title: title, Edits: []steps.FileEdit{e}}}
		}
		return d, nil
	}
	return steps.Define("well-known", probe, nil, diff)
}

// wellKnownChecks look at the announcement as a client sees it.
func wellKnownChecks(site *steps.Site, dial, source string) []steps.Check {
	return []steps.Check{{
		Name: "the client well-known announces the backend",
		HTTP: &steps.HTTPCheck{URL: wellKnownURL(site.Name), Dial: dial, Status: 200, OneHeader: "Access-Control-Allow-Origin", LiveKitURL: site.ServiceURL()},
		// A web server may hold a file for a moment (open_file_cache).
		Timeout: 20 * time.Second,
		Hint:    strings.TrimSpace("it must come from " + source + " as JSON, with exactly one `Access-Control-Allow-Origin: *`"),
	}}
}
