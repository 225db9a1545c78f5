package engine

import (
	"encoding/json"
	"fmt"
	"strings"

	"al.essio.dev/pkg/shellescape"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// entries are the files of a change's folder that become entries of the host's ledger.
func (j journal) entries(a action) ([]host.Upload, error) {
	var out []host.Upload
	for i, in := range a.resolved.Ledger.Enter {
		e := in.Entry
		e.Format, e.Run, e.Stage, e.Step = steps.LedgerFormat, j.run, a.stage, a.step
		b, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("encode an entry of the ledger: %w", err)
		}
		out = append(out, host.Upload{Path: fmt.Sprintf("%s/%d.entry", j.changeDir(a.n), i), Mode: 0o600, Data: append(b, '\n')})
	}
	return out, nil
}

// ledgerText is sh text that makes the moves, for after a change has begun and before
// anything is done.
func ledgerText(m steps.LedgerMoves) string {
	var b strings.Builder
	if len(m.Leave) > 0 {
		b.WriteString("ec_ledger_leave " + shellescape.QuoteCommand(m.Leave) + " || exit 1\n")
	}
	for i, in := range m.Enter {
		about := fmt.Sprint(in.Edit)
		if in.Entry.Kind == steps.EntryFolder {
			about = in.Entry.Name
		}
		fmt.Fprintf(&b, "ec_ledger_enter %s %d %s || exit 1\n", shellescape.Quote(in.Entry.ID), i, shellescape.Quote(about))
	}
	return b.String()
}
