package machine

import (
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
)

// removeReservedPortsCases are the cases of TestRemoveReservedPorts.
var removeReservedPortsCases = []struct {
	name     string
	live     string
	ours     string // what our file reserves; "" for no such file
	before   string // what it says was reserved before
	others   map[string]string
	sites    []string
	wantFile string // "-" removed, "" no change
	wantLive string
}{
	{name: "nothing was reserved"},
	{name: "the last site", live: "50100-50200", ours: "50100-50200", wantFile: "-", wantLive: ""},
	{
		name:     "an admin's file reserves, too",
		live:     "8080,50050-50200",
		ours:     "8080,50050-50200",
		others:   map[string]string{"/etc/sysctl.d/10-web.conf": "8080,50050-50120"},
		wantFile: "-",
		wantLive: "8080,50050-50120",
	},
	{name: "reserved by hand next to ours", live: "9000,50100-50200", ours: "50100-50200", wantFile: "-", wantLive: "9000"},
	{name: "reserved by hand before the first apply", live: "8080,50100-50200", before: "8080", ours: "8080,50100-50200", wantFile: "-", wantLive: "8080"},
	{
		name:     "another site stays",
		live:     "40000-40100,50100-50200",
		ours:     "40000-40100,50100-50200",
		sites:    []string{"other.org"},
		wantFile: "40000-40100",
		wantLive: "40000-40100",
	},
	{name: "an older range of the last site", live: "50000-50200", ours: "50000-50200", sites: []string{"example.org"}, wantFile: "-", wantLive: ""},
}

func TestRemoveReservedPorts(t *testing.T) {
	const head = "# Ports that outgoing connections must not take. Written by ecdeploy.\n"
	for _, c := range removeReservedPortsCases {
		t.Run(c.name, func(t *testing.T) {
			o := suite.Fake{Files: map[string]string{}, Answer: func(argv string) host.Result {
				if strings.HasPrefix(argv, "cat ") {
					return host.Result{Stdout: []byte("32768\t60999\n" + c.live + "\n")}
				}
				return host.Result{}
			}}
			if c.ours != "" {
				o.Files[sysctlFile] = reservedText(steps.ParseRanges(c.ours), steps.ParseRanges(c.before)).Masked()
			}
			for p, v := range c.others {
				o.Files[p] = reservedKey + " = " + v + "\n"
			}
			f, err := probePorts(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			f.sites, f.name = c.sites, "h"
			d := f.giveBack(suite.OneHost())
			if c.wantFile == "" {
				if len(d.Changes) > 0 {
					t.Fatal(suite.Words(d))
				}
				return
			}
			files := d.Changes[0].(*steps.Files)
			got := strings.TrimSpace(strings.TrimPrefix(files.Edits[0].Text.Masked(), head+reservedKey+" = "))
			if files.Edits[0].Remove {
				got = "-"
			}
			if got != c.wantFile || !strings.Contains(files.Activate, "'"+c.wantLive+"'") || !strings.Contains(files.Reactivate, "'"+c.live+"'") {
				t.Errorf("file %q, live %q, undo %q", got, files.Activate, files.Reactivate)
			}
		})
	}
}

func TestSubtractRanges(t *testing.T) {
	for _, c := range [][3]string{
		{"1-10", "3-4", "1-2,5-10"},
		{"1-10", "1-10", ""},
		{"1-10", "20", "1-10"},
		{"1-10,20", "5-20", "1-4"},
		{"5", "1-9", ""},
		{"1-3,4-6", "", "1-6"},
		{"10-20", "5-10,20-30", "11-19"},
	} {
		if got := steps.FormatRanges(steps.SubtractRanges(steps.ParseRanges(c[0]), steps.ParseRanges(c[1]))); got != c[2] {
			t.Errorf("%s without %s is %q, want %q", c[0], c[1], got, c[2])
		}
	}
}
