package machine

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
)

func TestReservedPorts(t *testing.T) {
	const head = "# Ports that outgoing connections must not take. Written by ecdeploy.\n"
	const share, other = "# Of example.org: 50100-50200\n", "# Of other.org: 40000-40100\n"
	for _, c := range []struct {
		name       string
		proc       string
		files      map[string]string
		sites      []string // that have a folder on the host
		auth       int
		readOnly   bool
		wantFile   string // "" for no change
		wantBefore string
		wantShares string // "" for the site's, of all that the file reserves
		wantLive   string
		wantUndo   string
		wantFinds  string
	}{
		{name: "Debian's default", proc: "32768\t60999\n\n", wantFile: "50100-50200", wantLive: "'50100-50200'", wantUndo: "''"},
		{
			name:       "an admin's own are kept",
			proc:       "32768\t60999\n8080,50050-50120\n",
			wantFile:   "8080,50050-50200",
			wantBefore: beforeLine + "8080,50050-50120\n",
			wantShares: share,
			wantLive:   "'8080,50050-50200'",
			wantUndo:   "'8080,50050-50120'",
		},
		{
			name:       "another site's are kept",
			proc:       "32768\t60999\n40000-40100\n",
			files:      map[string]string{sysctlFile: head + other + reservedKey + " = 40000-40100\n"},
			sites:      []string{"example.org", "other.org"},
			wantFile:   "40000-40100,50100-50200",
			wantShares: share + other,
			wantLive:   "'40000-40100,50100-50200'",
			wantUndo:   "'40000-40100'",
		},
		{
			name:       "of a version that named no sites, where there are others",
			proc:       "32768\t60999\n40000-40100\n",
			files:      map[string]string{sysctlFile: head + reservedKey + " = 40000-40100\n"},
			sites:      []string{"other.org"},
			wantFile:   "40000-40100,50100-50200",
			wantShares: share + "# Of others: 40000-40100\n",
			wantLive:   "'40000-40100,50100-50200'",
			wantUndo:   "'40000-40100'",
		},
		{
			name:     "of a version that named no sites, where there are none",
			proc:     "32768\t60999\n8080,40000-40100\n",
			files:    map[string]string{sysctlFile: head + reservedKey + " = 40000-40100\n"},
			sites:    []string{"example.org"},
			wantFile: "50100-50200",
			wantLive: "'8080,50100-50200'",
			wantUndo: "'8080,40000-40100'",
		},
		{
			name:     "another range than before",
			proc:     "32768\t60999\n50000-50150\n",
			files:    map[string]string{sysctlFile: head + "# Of example.org: 50000-50150\n" + reservedKey + " = 50000-50150\n"},
			wantFile: "50100-50200",
			wantLive: "'50100-50200'",
			wantUndo: "'50000-50150'",
		},
		{
			name:       "the file alone survived",
			proc:       "32768\t60999\n\n",
			files:      map[string]string{sysctlFile: head + other + reservedKey + " = 40000-40100\n"},
			wantFile:   "40000-40100,50100-50200",
			wantShares: share + other,
			wantLive:   "'50100-50200'",
			wantUndo:   "''",
		},
		{name: "reserved by somebody else", proc: "32768\t60999\n50000-51000\n"},
		{name: "ours, as it should be", proc: "32768\t60999\n50100-50200\n", files: map[string]string{sysctlFile: head + share + reservedKey + " = 50100-50200\n"}},
		{name: "no overlap", proc: "1024\t32000\n\n", wantFile: "7880-7881,8080", wantLive: "'7880-7881,8080'", wantUndo: "''"},
		{name: "an ephemeral range above", proc: "52000\t60999\n\n"},
		{name: "JWT port in the range", proc: "32768\t60999\n\n", auth: 40080, wantFile: "40080,50100-50200", wantLive: "'40080,50100-50200'", wantUndo: "''"},
		{name: "a container's host", proc: "32768\t60999\n\n", readOnly: true, wantFinds: "warning: the kernel may give ports of 50100-50200"},
		{
			name:      "a later file removes them",
			proc:      "32768\t60999\n50000-51000\n",
			files:     map[string]string{"/etc/sysctl.d/90-web.conf": "# web\n-net/ipv4/ip_local_reserved_ports=8080\n"},
			wantFinds: "warning: /etc/sysctl.d/90-web.conf sets " + reservedKey + " too",
		},
		{
			name:      "sysctl.conf is read last",
			proc:      "32768\t60999\n50000-51000\n",
			files:     map[string]string{"/etc/sysctl.conf": reservedKey + " = 8080\n"},
			wantFinds: "warning: /etc/sysctl.conf sets",
		},
		{
			name:  "a later file that has them",
			proc:  "32768\t60999\n50000-51000\n",
			files: map[string]string{"/etc/sysctl.d/90-web.conf": reservedKey + " = 8080,50000-51000\n"},
		},
		{
			name:  "an earlier file, and a comment",
			proc:  "32768\t60999\n50000-51000\n",
			files: map[string]string{"/etc/sysctl.d/10-web.conf": reservedKey + " = 8080\n", "/usr/lib/sysctl.d/99-x.conf": "#" + reservedKey + " = 1\n"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := suite.Fake{Files: c.files, Answer: func(argv string) host.Result {
				switch {
				case strings.HasPrefix(argv, "cat "):
					return host.Result{Stdout: []byte(c.proc)}
				case strings.HasPrefix(argv, "test -w") && c.readOnly:
					return host.Result{Code: 1}
				}
				return host.Result{}
			}}
			site := suite.OneHost()
			if c.auth != 0 {
				site.Parts[1].Listens[0].First, site.Parts[1].Listens[0].Last = c.auth, c.auth
			}
			facts, err := probePorts(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			facts.sites = c.sites
			d := facts.decide(site)
			if diff := cmp.Diff(steps.Refs(steps.EntryEffect, "ports"), d.Stands); diff != "" {
				t.Error(diff)
			}
			if got := suite.Summaries(d.Findings); !strings.HasPrefix(got, c.wantFinds) || c.wantFinds == "" && got != "" {
				t.Errorf("says %q, want %q", got, c.wantFinds)
			}
			if c.wantFile == "" {
				if len(d.Changes) != 0 {
					t.Errorf("plans %+v", d.Changes[0])
				}
				return
			}
			if len(d.Changes) != 1 {
				t.Fatalf("%d changes, want 1", len(d.Changes))
			}
			f := d.Changes[0].(*steps.Files)
			if c.wantShares == "" {
				c.wantShares = "# Of example.org: " + c.wantFile + "\n"
			}
			if diff := cmp.Diff(steps.Effects{Makes: []string{"ports reserved"}}, f.Effects); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(head+c.wantBefore+c.wantShares+reservedKey+" = "+c.wantFile+"\n", f.Edits[0].Text.Masked()); diff != "" {
				t.Error(diff)
			}
			// The real texts, on a file that stands for /proc's.
			proc := filepath.Join(t.TempDir(), "reserved")
			run := func(text string) string {
				text = "ec_note() { :; }\n" + strings.ReplaceAll(text, procReserved, proc)
				if out, err := exec.Command("sh", "-c", text).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				b, err := os.ReadFile(proc)
				if err != nil {
					t.Fatal(err)
				}
				return "'" + strings.TrimSpace(string(b)) + "'"
			}
			for _, step := range []struct{ text, want string }{{f.Activate, c.wantLive}, {f.Reactivate, c.wantUndo}, {f.Reactivate, c.wantUndo}} {
				if got := run(step.text); got != step.want {
					t.Errorf("%s leaves %s, want %s", step.text, got, step.want)
				}
			}
		})
	}
}

func TestRanges(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		"50100-50200,7881":          "7881,50100-50200",
		"1-5,6-9,20,21":             "1-9,20-21",
		"50150-50160,50100-50200,7": "7,50100-50200",
	} {
		if got := steps.FormatRanges(steps.MergeRanges(steps.ParseRanges(in))); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
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
