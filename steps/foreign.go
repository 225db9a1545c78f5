package steps

import (
	"errors"
	"fmt"

	"github.com/emdecloud/ecdeploy/internal/splice"
)

// ForeignFile is an edit of a file that somebody else wrote.
func ForeignFile(path string, before []byte, edits []splice.Edit) (FileEdit, error) {
	after, err := splice.Apply(before, edits)
	if err != nil {
		return FileEdit{}, fmt.Errorf("edit %s: %w", path, err)
	}
	return FileEdit{Path: path, Before: Digest(before, Secrets{}), After: Digest(after, Secrets{}), Edits: edits,
		Diff: unified(path, string(before), string(after), 0)}, nil
}

// Refusal is the finding for an edit that splice would not make.
func Refusal(what string, err error) Finding {
	hint := "make the change by hand, then run ecdeploy again"
	if r, ok := errors.AsType[*splice.RefusedError](err); ok && r.Lines != "" {
		hint = "add by hand, then run ecdeploy again:\n" + r.Lines
	}
	return Error.Finding(what+" cannot be edited safely: "+err.Error(), hint)
}
