package steps

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
)

// titleWellKnown is the title of the change to files of others. The hosts remember it: by it a
// site's edits are found again when it is taken away.
const titleWellKnown = "well-known"

// WellKnownFile is a static /.well-known/matrix/client on a host's disk.
type WellKnownFile struct {
	Host string `hcl:"host"`
	Path string `hcl:"path"`
}

// WellKnownFileVariant is a static file that a web server of the host serves.
func WellKnownFileVariant() Variant {
	return Variant{
		Block: "well_known", Label: "file", Required: true,
		Doc:     "a static file",
		Example: "well_known \"file\" {\n  host = host.NAME\n  path = \"/var/www/html/.well-known/matrix/client\"\n}",
		Config:  func() Config { return new(WellKnownFile) },
		Detect:  func(context.Context, host.Observer) ([]Found, error) { return nil, nil }, // which file is served is the proxy's to say
	}
}

// HostName implements Config.
func (c *WellKnownFile) HostName() string { return c.Host }

// Parts implements Config.
func (c *WellKnownFile) Parts(d Decl) []Part {
	return []Part{{
		Name: "well-known", Title: "the announcement", Host: d.Host,
		Routes: []Route{{Purpose: Announce, URL: wellKnownURL(d.Site), File: c.Path}},
		Files:  []Claim{{Attr: "path", What: c.Path, Fix: "give each server name a file of its own"}},
	}}
}

// wellKnownURL is where clients look for the announcement.
func wellKnownURL(server string) string {
	return "https://" + Domain(server) + "/.well-known/matrix/client"
}

// Check implements Config.
func (c *WellKnownFile) Check(b Block, _ Decl, _ *Site) {
	CheckHostPath(b, "path", c.Path)
	if b.Given("path") && b.Known("path") && strings.HasSuffix(c.Path, "/") {
		b.Wrong("path", "path is a folder", `write the path of the file, ending in "/matrix/client"`)
	}
}

// Steps implements Config.
func (c *WellKnownFile) Steps(d Decl, s *Site) []Placed {
	return []Placed{{Stage: StageWellKnown, Host: d.Host, Step: c.merge(s)}}
}

// Removal implements Config.
func (c *WellKnownFile) Removal(d Decl, s *Site) []Placed {
	return []Placed{{Stage: StageWellKnown, Host: d.Host, Step: c.remove(s)}}
}

// merge brings the announcement of the backend into the file: the key
// org.matrix.msc4143.rtc_foci (MSC4143, which clients read where the homeserver's
// own list is not known to them).
func (c *WellKnownFile) merge(site *Site) Step {
	probe := func(ctx context.Context, o host.Observer) (host.File, error) {
		files, err := o.Read(ctx, c.Path)
		if err != nil {
			return host.File{}, err
		}
		return files[0], nil
	}
	diff := func(f host.File, s Shared) (Decision, error) {
		d := Decision{Checks: wellKnownChecks(site, cmp.Or(s.HTTPS[c.Host], "127.0.0.1:443"), "the file "+c.Path)}
		if strings.HasPrefix(c.Path, "/matrix/") || strings.HasPrefix(f.Real, "/matrix/") {
			d.Findings = []Finding{Error.Finding(c.Path+" belongs to matrix-docker-ansible-deploy, which would overwrite edits and is not supported yet", `use well_known "external" {}: ecdeploy then says what it needs and checks it`)}
			return d, nil
		}
		switch {
		case !f.Exists:
			d.Findings = []Finding{Error.Finding(c.Path+" is not there", fmt.Sprintf("make it with at least {\"m.homeserver\": {\"base_url\": \"https://matrix.%s\"}}, or correct well_known.path", site.Domain()))}
		case f.Err != "" || !f.Mode.IsRegular():
			d.Findings = []Finding{Error.Finding(c.Path+" cannot be read: "+cmp.Or(f.Err, "it is no regular file"), "correct well_known.path")}
		default:
			edits, err := splice.RTCFoci(f.Data, site.ServiceURL())
			if err != nil {
				d.Findings = []Finding{refusal(c.Path, err)}
				break
			}
			if len(edits) == 0 {
				break
			}
			if f.Loose != "" {
				d.Findings = []Finding{refusal(c.Path, looseLink(f.Loose))}
				break
			}
			e, err := foreignFile(f.Real, f.Data, edits)
			if err != nil {
				return d, err
			}
			d.Changes = []Change{&Files{Title: titleWellKnown, Edits: []FileEdit{e}}}
		}
		return d, nil
	}
	return Define("well-known", probe, nil, diff)
}

// wellKnownChecks look at the announcement as a client sees it.
func wellKnownChecks(site *Site, dial, source string) []Check {
	return []Check{{
		Name: "the client well-known announces the backend",
		HTTP: &HTTPCheck{URL: wellKnownURL(site.Name), Dial: dial, Status: 200, OneHeader: "Access-Control-Allow-Origin", LiveKitURL: site.ServiceURL()},
		// A web server may hold a file for a moment (open_file_cache).
		Timeout: 20 * time.Second,
		Hint:    strings.TrimSpace("it must come from " + source + " as JSON, with exactly one `Access-Control-Allow-Origin: *`"),
	}}
}
