package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/view"
	"github.com/emdecloud/ecdeploy/plans"
)

// The newest run is rolled back first, and of each what is announced before what
// it leads to; the names of the hosts do not count.
func TestWayBack(t *testing.T) {
	planFile := func(t *testing.T, sfu, auth, wellKnown string) string {
		path := filepath.Join(t.TempDir(), "hosts.hcl")
		more := ""
		if sfu != auth {
			more = fmt.Sprintf("proxy \"nginx\" { host = host.%s }", sfu)
		}
		text := "host \"a\" { address = \"a\" }\nhost \"b\" { address = \"b\" }\nhost \"c\" { address = \"c\" }\nhost \"z\" { address = \"z\" }\n" + fmt.Sprintf(`site "x.test" {
  sfu {
    host = host.%s
    url  = "https://sfu.x.test"
  }
  auth {
    host = host.%s
    url  = "https://jwt.x.test"
  }
  synapse "external" { url = "https://matrix.x.test" }
  proxy "nginx" { host = host.%s }
  %s
  well_known "file" {
    host = host.%s
    path = "/var/www/client"
  }
}
`, sfu, auth, auth, more, wellKnown)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	split := func(name, sfu, auth, wellKnown string) plans.Site {
		f, mistakes := plans.Load(planFile(t, sfu, auth, wellKnown), plans.LoadOptions{})
		if f == nil {
			t.Fatalf("%+v", mistakes)
		}
		site := f.Sites[0]
		site.ServerName = name
		return site
	}
	for _, c := range []struct {
		name  string
		sites []plans.Site
		past  []string // run, site and host, in the order of the hosts' names
		want  []string
	}{
		{"the SFU's host is named last", []plans.Site{split("x", "z", "a", "a")}, []string{"1xa", "1xz"}, []string{"1xa", "1xz"}},
		{"the SFU's host is named first", []plans.Site{split("x", "a", "z", "z")}, []string{"1xa", "1xz"}, []string{"1xz", "1xa"}},
		{"three hosts", []plans.Site{split("x", "b", "c", "a")}, []string{"1xa", "1xb", "1xc"}, []string{"1xa", "1xc", "1xb"}},
		{"the SFU's host announces", []plans.Site{split("x", "a", "z", "a")}, []string{"1xa", "1xz"}, []string{"1xz", "1xa"}},
		{"two sites", []plans.Site{split("x", "a", "b", "b"), split("y", "b", "a", "a")}, []string{"1xa", "2ya", "1xb", "2yb"}, []string{"2ya", "2yb", "1xb", "1xa"}},
		{"a site that the file does not have", nil, []string{"1xa", "2xb"}, []string{"2xb", "1xa"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var past []engine.Past
			for _, p := range c.past {
				past = append(past, engine.Past{Run: p[:1], Site: p[1:2], Host: p[2:]})
			}
			var got []string
			for _, p := range wayBack(past, c.sites) {
				got = append(got, p.Run+p.Site+p.Host)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// A site interrupted between two commits is named also where no plan can be made, but
// not while its run still goes on.
func TestWarnOfDoubt(t *testing.T) {
	past := []engine.Past{{Host: "s", Site: "x", Run: "1", State: "committed"}, {Host: "a", Site: "x", Run: "1", State: "reverted"}}
	for _, c := range []struct {
		err  error
		says bool
	}{{nil, true}, {errors.New("no plan"), true}, {fmt.Errorf("a: %w", engine.ErrBusy), false}, {fmt.Errorf("a: %w", engine.ErrUnfinished), false}} {
		var says strings.Builder
		(&app{screen: view.NewScreen(nil, nil, &says)}).warnOfDoubt(past, c.err)
		if got := strings.HasPrefix(says.String(), "in doubt: s: run 1 of site x"); got != c.says {
			t.Errorf("%v: it says %q", c.err, &says)
		}
	}
}
