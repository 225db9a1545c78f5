package steps

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
)

// WellKnownOnDisk merges the announcement of the backend into a static
// /.well-known/matrix/client: the key org.matrix.msc4143.rtc_foci (MSC4143,
// which clients read where the homeserver's own list is not known to them).
func WellKnownOnDisk(site Site, c WellKnownFile) Step {
	probe := func(ctx context.Context, o host.Observer) (host.File, error) {
		files, err := o.Read(ctx, c.Path)
		if err != nil {
			return host.File{}, err
		}
		return files[0], nil
	}
	diff := func(f host.File, s Shared) (Decision, error) {
		d := Decision{Checks: wellKnownChecks(site, orSelf(s.HTTPS[c.Host], "127.0.0.1:443"), "the file "+c.Path)}
		if strings.HasPrefix(c.Path, "/matrix/") || strings.HasPrefix(f.Real, "/matrix/") {
			d.Findings = []Finding{{Error, c.Path + " belongs to matrix-docker-ansible-deploy, which would overwrite edits and is not supported yet", `use well_known "external" {}: ecdeploy then says what it needs and checks it`}}
			return d, nil
		}
		switch {
		case !f.Exists:
			d.Findings = []Finding{{Error, c.Path + " is not there", fmt.Sprintf("make it with at least {\"m.homeserver\": {\"base_url\": \"https://matrix.%s\"}}, or correct well_known.path", site.Domain())}}
		case f.Err != "" || !f.Mode.IsRegular():
			d.Findings = []Finding{{Error, c.Path + " cannot be read: " + orSelf(f.Err, "it is no regular file"), "correct well_known.path"}}
		default:
			edits, err := splice.RTCFoci(f.Data, site.Auth.URL)
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
func wellKnownChecks(site Site, dial, source string) []Check {
	return []Check{{
		Name: "the client well-known announces the backend",
		HTTP: &HTTPCheck{URL: "https://" + site.Domain() + "/.well-known/matrix/client", Dial: dial, Status: 200, OneHeader: "Access-Control-Allow-Origin", LiveKitURL: site.Auth.URL},
		// A web server may hold a file for a moment (open_file_cache).
		Timeout: 20 * time.Second,
		Hint:    strings.TrimSpace("it must come from " + source + " as JSON, with exactly one `Access-Control-Allow-Origin: *`"),
	}}
}
