package machine

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
)

// A site without parts gives its ports back, and nobody else's.
func TestReleaseReservedPorts(t *testing.T) {
	const head = "# Ports that outgoing connections must not take. Written by ecdeploy.\n"
	const ours, others = "# Of example.org: 50100-50200\n", "# Of other.org: 40000-40100\n"
	for _, c := range []struct {
		name     string
		live     string
		shares   string // what our file says of sites and of what was reserved before
		ours     string // what our file reserves; "" for no such file
		others   map[string]string
		sites    []string
		readOnly bool
		wantFile string // "-" removed, "" no change
		wantLive string
	}{
		{name: "nothing was reserved"},
		{name: "nothing of ours", live: "8080"},
		{name: "the last site", live: "50100-50200", shares: ours, ours: "50100-50200", wantFile: "-"},
		{
			name:     "an admin's file reserves, too",
			live:     "8080,50050-50200",
			shares:   ours,
			ours:     "8080,50050-50200",
			others:   map[string]string{"/etc/sysctl.d/10-web.conf": "8080,50050-50120"},
			wantFile: "-",
			wantLive: "8080,50050-50120",
		},
		{name: "reserved by hand next to ours", live: "9000,50100-50200", shares: ours, ours: "50100-50200", wantFile: "-", wantLive: "9000"},
		{
			name:     "reserved by hand before the first apply",
			live:     "8080,50100-50200",
			shares:   beforeLine + "8080\n" + ours,
			ours:     "8080,50100-50200",
			wantFile: "-",
			wantLive: "8080",
		},
		{
			name:     "another site stays",
			live:     "40000-40100,50100-50200",
			shares:   ours + others,
			ours:     "40000-40100,50100-50200",
			sites:    []string{"other.org"},
			wantFile: others + reservedKey + " = 40000-40100\n",
			wantLive: "40000-40100",
		},
		{
			name:     "another site has the same ports",
			live:     "50100-50300",
			shares:   ours + "# Of other.org: 50150-50300\n",
			ours:     "50100-50300",
			wantFile: "# Of other.org: 50150-50300\n" + reservedKey + " = 50150-50300\n",
			wantLive: "50150-50300",
		},
		{name: "another site alone", live: "40000-40100", shares: others, ours: "40000-40100"},
		{name: "of a version that named no sites", live: "50000-50200", ours: "50000-50200", sites: []string{"example.org"}, wantFile: "-"},
		{name: "a container's host", live: "", shares: ours, ours: "50100-50200", readOnly: true, wantFile: "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := suite.Fake{Files: map[string]string{}, Answer: func(argv string) host.Result {
				if strings.HasPrefix(argv, "cat ") {
					return host.Result{Stdout: []byte("32768\t60999\n" + c.live + "\n")}
				}
				return host.Result{Code: map[bool]int{true: 1}[c.readOnly]}
			}}
			if c.ours != "" {
				o.Files[sysctlFile] = head + c.shares + reservedKey + " = " + c.ours + "\n"
			}
			for p, v := range c.others {
				o.Files[p] = reservedKey + " = " + v + "\n"
			}
			f, err := probePorts(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			f.sites = c.sites
			d := f.decide(&steps.Site{Name: "example.org"})
			if diff := cmp.Diff(steps.Refs(steps.EntryEffect, "ports"), d.Stands); diff != "" || len(d.Findings) > 0 {
				t.Errorf("%s%s", suite.Summaries(d.Findings), diff)
			}
			if c.wantFile == "" {
				if len(d.Changes) > 0 {
					t.Fatal(suite.Words(d))
				}
				return
			}
			files := suite.Only(t, d.Changes).(*steps.Files)
			got := strings.TrimPrefix(files.Edits[0].Text.Masked(), head)
			if files.Edits[0].Remove {
				got = "-"
			}
			if got != c.wantFile || !c.readOnly && (!strings.Contains(files.Activate, "'"+c.wantLive+"'") || !strings.Contains(files.Reactivate, "'"+c.live+"'")) {
				t.Errorf("file %q, live %q, undo %q", got, files.Activate, files.Reactivate)
			}
			if c.readOnly && files.Activate != "" {
				t.Errorf("it writes to the kernel: %s", files.Activate)
			}
			if diff := cmp.Diff(steps.Effects{Ends: []string{"ports reserved"}}, files.Effects); diff != "" {
				t.Error(diff)
			}
		})
	}
}
