package hint

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
)

func TestSplit(t *testing.T) {
	busy := New("host busy", "wait")
	for _, c := range []struct {
		name, shown, text string
		err               error
		hints             []string
	}{
		{"no hint", "EOF", "EOF", io.EOF, nil},
		{"one", "host busy\nhint: wait", "host busy", busy, []string{"wait"}},
		{"wrapped", "a: host busy\nhint: wait", "a: host busy", fmt.Errorf("a: %w", busy), []string{"wait"}},
		{"text after it", "host busy\nhint: wait\nrolled back", "host busy\nrolled back", fmt.Errorf("%w\n%w", busy, errors.New("rolled back")), []string{"wait"}},
		{"joined", "host busy\nhint: wait\nEOF\nhint: try 3 times", "host busy\nEOF", errors.Join(busy, Wrapf(io.EOF, "try %d times", 3)), []string{"wait", "try 3 times"}},
		{"the same twice", "a: host busy\nhint: wait\nb: host busy\nhint: wait", "a: host busy\nb: host busy",
			errors.Join(fmt.Errorf("a: %w", busy), fmt.Errorf("b: %w", busy)), []string{"wait"}},
		{"two on one", "host busy\nhint: wait\nhint: or reboot", "host busy", Wrap(busy, "or reboot"), []string{"wait", "or reboot"}},
		{"one begins like the other", "host busy\nhint: wait longer\nhost busy\nhint: wait", "host busy\nhost busy",
			errors.Join(New("host busy", "wait longer"), busy), []string{"wait longer", "wait"}},
		{"what a machine said is no hint", "it said: x\nhint: curl", "it said: x\nhint: curl", errors.New("it said: x\nhint: curl"), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, hints := Split(c.err)
			if c.err.Error() != c.shown || text != c.text || !slices.Equal(hints, c.hints) {
				t.Errorf("%q is %q with %q; want %q, %q with %q", c.err, text, hints, c.shown, c.text, c.hints)
			}
		})
	}
}

// A hint hides nothing from errors.Is and errors.As.
func TestHintIsTransparent(t *testing.T) {
	err := fmt.Errorf("a: %w", Wrap(fmt.Errorf("b: %w", io.EOF), "read again"))
	e, ok := errors.AsType[*Error](err)
	if !errors.Is(err, io.EOF) || !ok || e.Hint != "read again" {
		t.Errorf("%v is not EOF with its hint: %+v", err, e)
	}
}
