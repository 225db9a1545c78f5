// Package splice makes the smallest byte edits of text that a human wrote:
// YAML, JSON, and configuration of nginx and Caddy.
//
// It parses only to learn where things are, replaces or inserts as few bytes as
// it can there, and then parses the result again: everything but the edited
// place must be as before, and that place must be as wanted. Where this does
// not hold it returns a *RefusedError with the lines to add by hand. Right or
// refused, never wrong; and computing an edit again after applying it gives no
// edits. Undo alone knows text and no language: it undoes edits in a file that
// others went on writing, and leaves it to whatever reads the file to judge.
//
// The package is pure: no files, no clock, no randomness, and it knows nothing
// of hosts or steps.
package splice
