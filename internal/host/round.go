package host

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
)

// Round is a host as one round of planning asks it: a question is a value, and
// what two steps or two sites ask alike goes to the host once, whoever asks
// first. Answers are never forgotten, so a Round is as old as its first
// question: make one for each set of plans, and none that outlives it.
//
// Everybody gets a copy of an answer and may do with it what they like. An error
// is no answer: it goes to the one whose call failed, and who waited for that
// call asks for themselves. So nobody fails because somebody else gave up.
type Round struct {
	host  Observer
	files once[[]File]
	said  once[Result]
}

var _ Observer = (*Round)(nil)

// NewRound begins a round of questions to o.
func NewRound(o Observer) *Round { return &Round{host: o} }

// Name implements Observer.
func (r *Round) Name() string { return r.host.Name() }

// Read implements Observer. A pattern is one question, its matches are the
// answer. What of paths nobody has asked for yet is one Read of the host.
func (r *Round) Read(ctx context.Context, paths ...string) ([]File, error) {
	found, err := r.files.ask(ctx, paths, func(missing []int) ([][]File, error) {
		asked := pick(paths, missing)
		files, err := r.host.Read(ctx, asked...)
		if err != nil {
			return nil, err
		}
		return byPath(asked, files)
	})
	if err != nil {
		return nil, err
	}
	var out []File
	for _, f := range slices.Concat(found...) {
		f.Data, f.Names = bytes.Clone(f.Data), slices.Clone(f.Names)
		out = append(out, f)
	}
	return out, nil
}

// Query implements Observer. A question is a Cmd with all that it holds. What of
// cmds nobody has asked yet is one Query of the host.
func (r *Round) Query(ctx context.Context, cmds ...Cmd) ([]Result, error) {
	keys := make([]string, len(cmds))
	for i, c := range cmds {
		keys[i] = c.key()
	}
	found, err := r.said.ask(ctx, keys, func(missing []int) ([]Result, error) { return r.host.Query(ctx, pick(cmds, missing)...) })
	if err != nil {
		return nil, err
	}
	for i := range found {
		found[i].Stdout, found[i].Stderr = bytes.Clone(found[i].Stdout), bytes.Clone(found[i].Stderr)
	}
	return found, nil
}

// key is the same for two commands that are the same question.
func (c Cmd) key() string {
	return fmt.Sprintf("%q %t %q %d", c.Argv, c.Stdin != nil, c.Stdin, cmp.Or(max(c.Timeout, 0), DefaultTimeout))
}

// byPath parts what a Read of paths, all different, found: the files of each.
func byPath(paths []string, files []File) ([][]File, error) {
	out := make([][]File, len(paths))
	next := 0
	for i, p := range paths {
		from := next
		for next < len(files) && cmp.Or(files[next].Pattern, files[next].Path) == p {
			next++
		}
		if next == from {
			return nil, fmt.Errorf("%w: it says nothing about %s", errGarbled, p)
		}
		out[i] = files[from:next]
	}
	if next < len(files) {
		return nil, fmt.Errorf("%w: it tells of %.200q, which nobody asked for", errGarbled, files[next].Path)
	}
	return out, nil
}

// pick are the elements of all at these places.
func pick[T any](all []T, places []int) []T {
	out := make([]T, len(places))
	for i, p := range places {
		out[i] = all[p]
	}
	return out
}
