package steps

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
)

// layer is what one run did to a file that somebody else wrote.
type layer struct {
	Path   string
	Before []byte
	After  []byte
}

// foreignFiles are files of others that hold something of a site.
type foreignFiles struct {
	layers []layer              // oldest first
	gone   []string             // files of ours that go: no line of one word and such a path stays
	files  map[string]host.File // as they are now, by the path in layers
}

// undo makes the edits that undo all layers, the newest first. What
// somebody else changed since stays, and a finding says so. The files as they will
// be are texts, by path.
func (f foreignFiles) undo() (edits []FileEdit, texts map[string][]byte, findings []Finding, err error) {
	texts = map[string][]byte{}
	var paths []string
	for _, l := range f.layers {
		if !slices.Contains(paths, l.Path) {
			paths = append(paths, l.Path)
		}
	}
	for _, p := range paths {
		now := f.files[p]
		switch {
		case !now.Exists:
			findings = append(findings, Note.Finding(p+" is not there any more: there is nothing to undo in it", ""))
			continue
		case now.Err != "" || !now.Mode.IsRegular():
			findings = append(findings, Error.Finding(p+" cannot be read: "+cmp.Or(now.Err, "it is no regular file"), "see what became of it"))
			continue
		}
		text := now.Data
		var kept []string
		for _, l := range slices.Backward(f.layers) {
			if l.Path != p {
				continue
			}
			back, k := splice.Undo(l.Before, l.After, text)
			kept = append(kept, k...)
			if text, err = splice.Apply(text, back); err != nil {
				return nil, nil, nil, fmt.Errorf("undo what was done to %s: %w", p, err)
			}
		}
		if text, err = withoutIncludes(text, f.gone); err != nil {
			return nil, nil, nil, err
		}
		if len(kept) > 0 {
			findings = append(findings, Warning.Finding("somebody else changed in "+p+" what ecdeploy had put there; theirs stays",
				"look for it, and take it out by hand if nothing needs it. It was:\n"+maskSecrets(splice.Lines(kept))))
		}
		if json.Valid(now.Data) && !json.Valid(text) {
			findings = append(findings, Error.Finding(p+" would be no JSON any more without what ecdeploy put there", "take it out by hand, then run ecdeploy again"))
			continue
		}
		texts[now.Real] = text
		if back := splice.Between(now.Data, text); len(back) > 0 {
			e, err := ForeignFile(now.Real, now.Data, back)
			if err != nil {
				return nil, nil, nil, err
			}
			edits = append(edits, e)
		}
	}
	return edits, texts, findings, nil
}

// withoutIncludes is a text without the lines that say nothing but a word and one of
// these paths, as in `include PATH;`: somebody may have moved them since.
func withoutIncludes(text []byte, paths []string) ([]byte, error) {
	var edits []splice.Edit
	at := 0
	for line := range bytes.Lines(text) {
		words := strings.Fields(strings.TrimRight(string(line), "; \t\r\n"))
		if len(words) == 2 && slices.Contains(paths, words[1]) {
			edits = append(edits, splice.Edit{Off: at, Len: len(line)})
		}
		at += len(line)
	}
	return splice.Apply(text, edits)
}
