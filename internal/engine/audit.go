package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// AuditLog is a host's audit log. audit.sh writes it and says what a line is.
const AuditLog = Root + "/audit.log"

// AuditHead is the last line of an audit log that somebody saw: its number, from
// 1, and its hash, which stands for all lines up to it.
type AuditHead struct {
	N    int    `json:"n"`
	Hash string `json:"hash"` // SHA-256 in hex
}

// IsZero reports whether nothing was seen.
func (h AuditHead) IsZero() bool { return h.Hash == "" }

var auditHashes = regexp.MustCompile(`^[0-9a-f]{64}$`)

// IsAuditHash reports whether s can be the hash of a line.
func IsAuditHash(s string) bool { return auditHashes.MatchString(s) }

// AuditEntry is one line of an audit log.
type AuditEntry struct {
	AuditHead
	Time  time.Time `json:"time"` // by the host's clock
	Run   string    `json:"run"`
	Event string    `json:"event"` // "begun", "kept", "done", "committed", "taken-back", "undone", "not-undone", "left", "rolled-back", "pruned"
	Text  string    `json:"text"`
}

// Audit is what an audit log says, and what is wrong with it.
type Audit struct {
	Host    string       `json:"host"`
	Entries []AuditEntry `json:"entries"`
	Torn    int          `json:"torn,omitempty"`  // lines that were interrupted while they were written
	Taken   int          `json:"taken,omitempty"` // flaws up to the line that was accepted as it is
	// Flaws say where the chain does not hold: somebody changed the log, or took
	// lines out of it.
	Flaws []string `json:"flaws,omitempty"`
}

var auditLine = regexp.MustCompile(`^(\d+) (\S+) (\S+) (\S+) (.*?) ?=([0-9a-f]{64})$`)

// auditBytes is the most of a log that is read, from its end; some 30,000 lines.
const auditBytes = 6 << 20

// ReadAudit reads and checks a host's audit log. seen is the line that the
// laptop saw last, accepted the one up to which a person took the log as it is.
func ReadAudit(ctx context.Context, h host.Observer, seen, accepted AuditHead) (Audit, error) {
	res, err := h.Query(ctx, host.Sh(`[ ! -e "$1" ] || { wc -c <"$1" && tail -c "$2" "$1"; }`, AuditLog, strconv.Itoa(auditBytes)))
	if err != nil {
		return Audit{}, err
	}
	if err := failed("read "+AuditLog, res[0], nil); err != nil {
		return Audit{}, err
	}
	size, text, _ := strings.Cut(string(res[0].Stdout), "\n")
	whole := true
	if n, _ := strconv.Atoi(strings.TrimSpace(size)); n > auditBytes {
		_, text, _ = strings.Cut(text, "\n") // the first line may be a part of one
		whole = false
	}
	a := checkAudit(text, seen, accepted, whole)
	a.Host = h.Name()
	return a, nil
}

// checkAudit follows the chain. A log that is not intact begins anywhere.
func checkAudit(text string, seen, accepted AuditHead, whole bool) Audit {
	var a Audit
	var last AuditHead
	found := seen.IsZero()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		m := auditLine.FindStringSubmatch(line)
		if m == nil {
			if line != "" {
				a.Torn++
			}
			continue
		}
		n, _ := strconv.Atoi(m[1]) // zero for a number that no log has
		e := AuditEntry{AuditHead: AuditHead{n, m[6]}, Run: host.Clean(m[3]), Event: host.Clean(m[4]), Text: host.Clean(m[5])}
		e.Time, _ = time.Parse(time.RFC3339, m[2]) // the hash says whether it was tampered with
		body := strings.TrimSuffix(line, " ="+m[6])
		switch first := len(a.Entries) == 0; {
		case first && !whole:
		case n != last.N+1:
			a.Flaws = append(a.Flaws, fmt.Sprintf("line %d follows line %d: lines are missing", n, last.N))
		case auditHash(last.Hash, body) != m[6]:
			a.Flaws = append(a.Flaws, fmt.Sprintf("line %d is not what was written there, or does not follow what stands before it", n))
		}
		last = e.AuditHead
		found = found || last == seen
		a.Entries = append(a.Entries, e)
		if last == accepted {
			a.Taken, a.Flaws = len(a.Flaws), nil
		}
	}
	if !found && (whole || len(a.Entries) == 0 || seen.N >= a.Entries[0].N) {
		a.Flaws = append(a.Flaws, fmt.Sprintf("line %d, which this laptop has seen, is not there any more: the log was truncated or rewritten", seen.N))
	}
	return a
}

func auditHash(before, body string) string {
	sum := sha256.Sum256([]byte(before + " " + body))
	return hex.EncodeToString(sum[:])
}

// auditSince reads what ec_audit_since printed, among other lines: the last line of
// the log, reached from seen; zero where there is none, or where nobody got to look.
// truncated says that the log has no longer that line, or that what follows it does
// not hold.
func auditSince(out []byte, seen AuditHead) (head AuditHead, truncated bool) {
	var text strings.Builder
	looked := false
	for line := range strings.Lines(string(out)) {
		if l, ok := strings.CutPrefix(line, "audit "); ok {
			looked = true
			text.WriteString(l)
		}
	}
	if !looked {
		return AuditHead{}, false
	}
	a := checkAudit(text.String(), seen, AuditHead{}, false)
	switch {
	case len(a.Entries) == 0:
		return AuditHead{}, !seen.IsZero()
	case !seen.IsZero() && (a.Entries[0].AuditHead != seen || len(a.Flaws) > 0):
		return AuditHead{}, true
	}
	return a.Entries[len(a.Entries)-1].AuditHead, false
}

// withoutAudit is out without the lines that auditSince reads.
func withoutAudit(out []byte) string {
	var b strings.Builder
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "audit ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// askAudit is sh text that prints for auditSince.
func askAudit(seen AuditHead) string { return "ec_audit_since " + shellescape.Quote(seen.Hash) }
