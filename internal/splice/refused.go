package splice

import (
	"errors"
	"fmt"
)

// RefusedError says that an edit cannot be made safely by a program. The
// caller shows Lines to a person, who adds them by hand.
type RefusedError struct {
	Reason string // why, one line, lower case; never text out of the file
	Lines  string // what to write by hand, in the file's language, with line ends; "" where there is no such thing
}

// Error is the reason alone.
func (e *RefusedError) Error() string { return e.Reason }

// refuse makes a RefusedError without Lines; the exported functions add them.
func refuse(format string, args ...any) error {
	return &RefusedError{Reason: fmt.Sprintf(format, args...)}
}

// refused makes err a RefusedError with Lines.
func refused(err error, lines string) error {
	if r, ok := errors.AsType[*RefusedError](err); ok {
		return &RefusedError{Reason: r.Reason, Lines: lines}
	}
	return &RefusedError{Reason: err.Error(), Lines: lines}
}
