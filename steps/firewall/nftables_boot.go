package firewall

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// nftBoot is what keeps our rules over a reboot: a file of our own for each chain,
// loaded by a drop-in of nftables.service after the host's own rules.
//
// Not by a line in the admin's file: nft loads a file as a whole or not at all, so on
// the day on which the admin renames a chain, an "insert rule" that is included there
// would leave the host with no firewall. A "table inet filter { chain input { ... } }"
// would not, but adds behind what is there, where a final drop comes first; included
// before the admin's, it has to declare the chain with the same hook and priority, or
// the whole load fails again. What ExecStartPost=- and ExecReload=- load comes after
// the admin's rules, to the top of the chain, and where it fails nothing else does.
// For the same reason the files are not in /etc/nftables.d, which many admins' files
// include as a whole. The price: "nft -f /etc/nftables.conf" by hand loses our
// rules, "systemctl reload nftables" does not.
type nftBoot struct {
	enabled bool   // nftables.service runs at boot
	reloads bool   // it can reload
	nft     string // path of nft
	files   map[string]host.File
	own     []host.File // our files for the site
}

const nftDropIns = "/etc/systemd/system/nftables.service.d"

func nftDir(site *steps.Site) string { return site.Dir() + "/nftables" }

func nftDropIn(site *steps.Site) string {
	return nftDropIns + "/ecdeploy-" + path.Base(site.Dir()) + ".conf"
}

func nftBootPaths(site *steps.Site) []string {
	return []string{"/etc/ecdeploy", site.Dir(), nftDir(site), nftDir(site) + "/*.nft", nftDropIns, nftDropIn(site)}
}

// nftPath is what may stand in a unit without quotes.
var nftPath = regexp.MustCompile(`^/[A-Za-z0-9/._-]+$`)

func readNFTBoot(files map[string]host.File, all []host.File, which, unit host.Result) nftBoot {
	b := nftBoot{nft: strings.TrimSpace(string(which.Stdout)), files: files}
	if !nftPath.MatchString(b.nft) {
		b.nft = "/usr/sbin/nft"
	}
	for line := range strings.Lines(string(unit.Stdout)) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), "="); key {
		case "UnitFileState":
			b.enabled = value == "enabled"
		case "ExecReload":
			b.reloads = b.reloads || value != ""
		}
	}
	for _, f := range all {
		if f.Exists && f.Mode.IsRegular() && path.Ext(f.Path) == ".nft" {
			b.own = append(b.own, f)
		}
	}
	return b
}

// decide makes the files say what rules say, and none where there are no rules or
// where nobody would load them.
func (b nftBoot) decide(on string, site *steps.Site, rules []nftOwn) (changes []steps.Change, stands []steps.Ref, findings []steps.Finding) {
	if len(rules) > 0 && !b.enabled {
		rules = nil
		findings = []steps.Finding{steps.Warning.Finding("nftables.service is not enabled on "+on+": what ecdeploy opens there is closed again after a reboot, "+
			"unless something else saves the rules",
			"systemctl enable nftables (it loads /etc/nftables.conf), then run ecdeploy again")}
	}
	texts := nftBootFiles(site, rules)
	paths := slices.Sorted(maps.Keys(texts))
	var edits []steps.FileEdit
	for _, p := range paths {
		if e, needed := steps.OwnFile(p, b.files[p], steps.Lit(texts[p]), 0o644, 0, steps.Secrets{}); needed {
			edits = append(edits, e)
		}
	}
	if len(paths) > 0 {
		if e, needed := steps.OwnFile(nftDropIn(site), b.files[nftDropIn(site)], steps.Lit(b.dropIn(site, paths)), 0o644, 0, steps.Secrets{}); needed {
			edits = append(edits, e)
		}
	}
	if stands = steps.Refs(steps.EntryFile, paths...); len(paths) > 0 {
		stands = append(stands, steps.Ref{Kind: steps.EntryFile, Name: nftDropIn(site)})
	}
	edits = append(edits, b.unwanted(site, paths)...)
	if len(edits) == 0 {
		return nil, stands, findings
	}
	c := &steps.Files{Title: "nftables at boot", Dirs: b.dirs(site, paths), Edits: edits, Action: steps.DaemonReload}
	return []steps.Change{c}, stands, findings
}

// nftBootFiles are our files by path. The lines are sorted: the order of the rules in
// the kernel, which comes from several runs, makes no difference.
func nftBootFiles(site *steps.Site, rules []nftOwn) map[string]string {
	lines := map[string][]string{}
	for _, r := range rules {
		p := nftDir(site) + "/" + strings.ReplaceAll(r.Chain, " ", ".") + ".nft"
		lines[p] = append(lines[p], "insert rule "+r.line(nftComment(site))+"\n")
	}
	texts := map[string]string{}
	for p, l := range lines {
		slices.Sort(l)
		texts[p] = "# What ecdeploy opens for " + site.Name + ". Written by ecdeploy; loaded by\n# " + nftDropIn(site) + "\n" +
			strings.Join(slices.Compact(l), "")
	}
	return texts
}

// dropIn makes nftables.service load the files after its own, each by itself.
func (b nftBoot) dropIn(site *steps.Site, paths []string) string {
	var s strings.Builder
	s.WriteString("# What ecdeploy opens for " + site.Name + ", after the host's own rules. Written by ecdeploy.\n" +
		"# The - means: where this fails, the host's own rules stay loaded.\n[Service]\n")
	for _, p := range paths {
		s.WriteString("ExecStartPost=-" + b.nft + " -f " + p + "\n")
	}
	if b.reloads { // a unit that cannot reload must not seem to
		for _, p := range paths {
			s.WriteString("ExecReload=-" + b.nft + " -f " + p + "\n")
		}
	}
	return s.String()
}

// unwanted removes our files of other chains, and the drop-in with the last one.
func (b nftBoot) unwanted(site *steps.Site, paths []string) []steps.FileEdit {
	var out []steps.FileEdit
	remove := func(f host.File) {
		if f.Exists && f.Mode.IsRegular() {
			out = append(out, steps.FileEdit{Path: f.Path, Before: steps.Digest(f.Data, steps.Secrets{}), Remove: true})
		}
	}
	for _, f := range b.own {
		if !slices.Contains(paths, f.Path) {
			remove(f)
		}
	}
	if len(paths) == 0 {
		remove(b.files[nftDropIn(site)])
	}
	return out
}

func (b nftBoot) dirs(site *steps.Site, paths []string) []steps.Dir {
	if len(paths) == 0 {
		return nil
	}
	dirs := []steps.Dir{{Path: "/etc/ecdeploy", Mode: 0o755}, {Path: site.Dir(), Mode: 0o755}, {Path: nftDir(site), Mode: 0o755}}
	if !b.files[nftDropIns].Exists { // else it is somebody else's
		dirs = append(dirs, steps.Dir{Path: nftDropIns, Mode: 0o755})
	}
	return steps.MissingDirs(dirs, b.files)
}
