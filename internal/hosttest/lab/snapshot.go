package lab

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aymanbagabas/go-udiff"
)

// Snapshot is a host at one moment: what a plan must not touch and a rollback
// must give back. It maps a thing ("mode /etc/hosts", "container livekit-sfu",
// "iptables filter INPUT") to what it is like.
//
// It has no times, no counters, no images, which a rollback keeps, and nothing
// of the journal. snapshot.sh says which files it covers.
type Snapshot map[string]string

//go:embed snapshot.sh
var snapshotScript string

// Snapshot looks at the host. It writes nothing there. What watches over a run
// looks once a second whether that is over, so it is given some seconds to end; one
// that goes on all the same is in the snapshot.
func (h *Host) Snapshot(t testing.TB) Snapshot {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		s, err := Look(h.Name)
		if err != nil {
			t.Fatal(err)
		}
		if !s.busy() || time.Now().After(end) {
			return s
		}
	}
}

// busy reports whether a process of a run was there.
func (s Snapshot) busy() bool {
	for k := range s {
		if strings.HasPrefix(k, "process ") {
			return true
		}
	}
	return false
}

// Look is Snapshot where there is no test. more is sh text that prints further things, as
// snapshot.sh does.
func Look(name string, more ...string) (Snapshot, error) {
	cmd := exec.Command("docker", "exec", "-i", "ecdeploy-lab-"+name, "sh", "-s")
	cmd.Stdin = strings.NewReader(snapshotScript + strings.Join(more, ""))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w\n%s", name, err, &errs)
	}
	s := parseSnapshot(string(out))
	for _, want := range []string{
		"mode /etc/passwd", "bytes /etc/passwd", "sysctl net.ipv4.ip_local_reserved_ports",
		"iptables filter INPUT", "unit ssh.service",
	} {
		if _, ok := s[want]; !ok {
			return nil, fmt.Errorf("the snapshot of %s has no %q, so it would miss changes", name, want)
		}
	}
	return s, nil
}

// parseSnapshot reads what snapshot.sh prints: a line "== KIND" and then the
// things of that kind, one in a line.
func parseSnapshot(out string) Snapshot {
	s := Snapshot{}
	kind, table := "", ""
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		if k, ok := strings.CutPrefix(line, "== "); ok {
			kind, table = k, ""
			continue
		}
		switch {
		case kind == "bytes": // sha256sum: DIGEST, two spaces, PATH
			digest, path, _ := strings.Cut(line, "  ")
			s["bytes "+path] = digest
		case kind == "iptables", kind == "ip6tables":
			table = s.firewall(kind, table, line)
		case kind == "ufw", strings.HasPrefix(kind, "nft "):
			s[kind] += line + "\n"
		default: // NAME, a tab, what it is like
			name, value, _ := strings.Cut(line, "\t")
			if kind == "container" {
				value = sortMounts(value)
			}
			// The engine says "nothing" in several ways, and otherwise after its start.
			value = nothing.ReplaceAllString(value, ":null")
			s[kind+" "+name] = value
		}
	}
	return s
}

// sortMounts puts the list of mounts at the end of what is told of a container in
// order: the engine keeps it as a map, and tells it in any.
func sortMounts(value string) string {
	i := strings.LastIndex(value, " [")
	if i < 0 {
		return value
	}
	var mounts []json.RawMessage
	if err := json.Unmarshal([]byte(value[i+1:]), &mounts); err != nil {
		return value
	}
	slices.SortFunc(mounts, func(a, b json.RawMessage) int { return bytes.Compare(a, b) })
	b, err := json.Marshal(mounts)
	if err != nil {
		return value
	}
	return value[:i+1] + string(b)
}

var nothing = regexp.MustCompile(`:(\[\]|\{\})`)

var counters = regexp.MustCompile(`\s*\[\d+:\d+\]`)

// firewall reads one line of iptables-save and returns the table it belongs to.
// Rules are kept in the order in which they apply, chain by chain; the order of
// the chains among each other means nothing and differs from time to time.
func (s Snapshot) firewall(kind, table, line string) string {
	f := strings.Fields(line)
	switch {
	case len(f) == 0 || strings.HasPrefix(line, "#") || line == "COMMIT":
	case line[0] == '*':
		return line[1:]
	case line[0] == ':':
		s[kind+" "+table+" "+f[0][1:]] += "policy " + f[1] + "\n"
	case len(f) > 1 && f[0] == "-A":
		s[kind+" "+table+" "+f[1]] += counters.ReplaceAllString(line, "") + "\n"
	}
	return table
}

// Diff says what differs between two snapshots of a host, one thing in a line;
// it is empty where they are alike.
func Diff(a, b Snapshot) string {
	keys := slices.Sorted(maps.Keys(a))
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var out strings.Builder
	for _, k := range keys {
		before, was := a[k]
		after, is := b[k]
		switch {
		case was && is && before == after:
		case !was:
			fmt.Fprintf(&out, "new: %s: %s\n", k, strings.TrimSpace(after))
		case !is:
			fmt.Fprintf(&out, "gone: %s: %s\n", k, strings.TrimSpace(before))
		case strings.Contains(before+after, "\n"):
			fmt.Fprintf(&out, "changed: %s:\n%s\n", k, strings.Join(lineDiff(before, after), "\n"))
		default:
			fmt.Fprintf(&out, "changed: %s: %s, was %s\n", k, after, before)
		}
	}
	return out.String()
}

// LineDiff is the lines that changed between two texts, as a unified diff
// without context shows them: "-" or "+" and the line, without trailing space.
func LineDiff(t testing.TB, before, after string) []string {
	t.Helper()
	return lineDiff(before, after)
}

func lineDiff(before, after string) []string {
	d, err := udiff.ToUnified("a", "b", before, udiff.Lines(before, after), 0)
	if err != nil {
		return []string{err.Error()}
	}
	var lines []string
	inHunk := false
	for line := range strings.Lines(d) {
		switch {
		case strings.HasPrefix(line, "@@"):
			inHunk = true
		case inHunk && strings.ContainsAny(line[:1], "+-"):
			lines = append(lines, strings.TrimRight(line, " \t\r\n"))
		}
	}
	return lines
}
