package host

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// counted is a host that notes what reaches it. before, where it is set, runs
// ahead of every call and may fail it.
type counted struct {
	Observer
	before func(ctx context.Context, asked []string) error

	mu    sync.Mutex
	calls [][]string // paths, or argument lists joined by spaces
}

func (c *counted) arrive(ctx context.Context, asked []string) error {
	c.mu.Lock()
	c.calls = append(c.calls, asked)
	c.mu.Unlock()
	if c.before == nil {
		return nil
	}
	return c.before(ctx, asked)
}

func (c *counted) Read(ctx context.Context, paths ...string) ([]File, error) {
	if err := c.arrive(ctx, paths); err != nil {
		return nil, err
	}
	return c.Observer.Read(ctx, paths...)
}

func (c *counted) Query(ctx context.Context, cmds ...Cmd) ([]Result, error) {
	var asked []string
	for _, c := range cmds {
		asked = append(asked, strings.Join(c.Argv, " "))
	}
	if err := c.arrive(ctx, asked); err != nil {
		return nil, err
	}
	return c.Observer.Query(ctx, cmds...)
}

// echo is a host where every command says its own arguments, and every path
// holds itself.
type echo struct{}

func (echo) Name() string { return "h" }

func (echo) Read(_ context.Context, paths ...string) ([]File, error) {
	var out []File
	for _, p := range paths {
		out = append(out, File{Path: p, Real: p, Exists: true, Data: []byte(p)})
	}
	return out, nil
}

func (echo) Query(_ context.Context, cmds ...Cmd) ([]Result, error) {
	var out []Result
	for _, c := range cmds {
		out = append(out, Result{Stdout: []byte(strings.Join(c.Argv, " "))})
	}
	return out, nil
}

// commands are commands of one word each.
func commands(words ...string) []Cmd {
	var out []Cmd
	for _, w := range words {
		out = append(out, Cmd{Argv: []string{w}})
	}
	return out
}

// checkEcho wants each of words to have answered with itself.
func checkEcho(t *testing.T, res []Result, err error, words ...string) {
	t.Helper()
	var got []string
	for _, r := range res {
		got = append(got, string(r.Stdout))
	}
	if err != nil || !slices.Equal(got, words) {
		t.Errorf("answers %q (%v), want %q", got, err, words)
	}
}

// A round answers as its host does, patterns in their place, and asks for each
// path once.
func TestRoundReads(t *testing.T) {
	h := &counted{Observer: &machine{shell: startLocalShell(t, shells["dash"])}}
	dir := t.TempDir()
	for _, name := range []string{"a1", "a2", "b1"} {
		write(t, dir+"/"+name, "text of "+name)
	}
	if err := os.Mkdir(dir+"/d", 0o755); err != nil {
		t.Fatal(err)
	}
	in := func(names ...string) []string {
		for i := range names {
			names[i] = dir + "/" + names[i]
		}
		return names
	}
	r := NewRound(h)
	for _, c := range []struct{ asked, sent []string }{
		{in("a*", "a1", "none*", "[ab]1", "a*", "missing"), in("a*", "a1", "none*", "[ab]1", "missing")},
		{in("missing", "*1", "a*", "b1", "none*", "d"), in("*1", "b1", "d")},
		{in("*1", "b1", "a?", "a1", "a*"), in("a?")},
		{in("d", "a*"), nil},
		{nil, nil},
	} {
		h.calls = nil
		got, err := r.Read(t.Context(), c.asked...)
		if err != nil {
			t.Fatal(err)
		}
		if sent := slices.Concat(h.calls...); !slices.Equal(sent, c.sent) || len(h.calls) > 1 {
			t.Errorf("asked for %q, it sent %q", c.asked, h.calls)
		}
		want, err := h.Observer.Read(t.Context(), c.asked...)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q: %s", c.asked, d)
		}
	}
}

// What a caller does to an answer is seen by nobody else.
func TestRoundGivesCopies(t *testing.T) {
	r := NewRound(&machine{shell: startLocalShell(t, shells["dash"])})
	dir := t.TempDir()
	write(t, dir+"/file", "text")
	for range 2 {
		files, err := r.Read(t.Context(), dir+"/file", dir)
		if err != nil || string(files[0].Data) != "text" || files[1].Names[0] != "file" {
			t.Fatalf("%+v, %v", files, err)
		}
		res, err := r.Query(t.Context(), Sh("echo out; echo err >&2"))
		if err != nil || string(res[0].Stdout) != "out\n" || string(res[0].Stderr) != "err\n" {
			t.Fatalf("%+v, %v", res, err)
		}
		files[0].Data[0], files[1].Names[0], res[0].Stdout[0], res[0].Stderr[0] = 'X', "X", 'X', 'X'
	}
}

// Commands that differ in anything are different questions.
func TestRoundTellsCommandsApart(t *testing.T) {
	h := &counted{Observer: echo{}}
	r := NewRound(h)
	different := []Cmd{
		{Argv: []string{"a b"}}, {Argv: []string{"a", "b"}}, {Argv: []string{`a" "b`}}, {Argv: []string{"a", "b", ""}}, {Argv: []string{"a\xff"}}, {Argv: []string{`a\xff`}}, {Argv: []string{"a\ufffd"}},
		{Argv: []string{"a", "b"}, Stdin: []byte{}}, {Argv: []string{"a", "b"}, Stdin: []byte("in")}, {Argv: []string{"a", "b"}, Timeout: 1}, {Argv: []string{"a", "b"}, Stdin: []byte("in"), Timeout: 1},
	}
	for range 2 {
		if _, err := r.Query(t.Context(), different...); err != nil {
			t.Fatal(err)
		}
	}
	if len(h.calls) != 1 || len(h.calls[0]) != len(different) {
		t.Errorf("%q", h.calls)
	}
	// No time-out is the default one.
	if _, err := r.Query(t.Context(), Cmd{Argv: []string{"a", "b"}, Timeout: DefaultTimeout}); err != nil || len(h.calls) != 1 {
		t.Errorf("%q, %v", h.calls, err)
	}
}

// Who asks while others wait sends what is new in one call, and waits for the
// rest.
func TestRoundSharesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		h := &counted{Observer: echo{}, before: func(context.Context, []string) error { <-answer; return nil }}
		r := NewRound(h)
		var all sync.WaitGroup
		for _, words := range [][]string{{"a", "b"}, {"b", "c", "a", "d"}, {"d", "b", "b"}} {
			all.Go(func() {
				res, err := r.Query(t.Context(), commands(words...)...)
				checkEcho(t, res, err, words...)
			})
			synctest.Wait()
		}
		if want := [][]string{{"a", "b"}, {"c", "d"}}; !cmp.Equal(want, h.calls) {
			t.Errorf("it sent %q, want %q", h.calls, want)
		}
		close(answer)
		all.Wait()
	})
}

// A caller that gives up fails nobody else: who waited for its call asks again,
// and who only waited goes at once.
func TestRoundOfSomebodyWhoGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		h := &counted{Observer: echo{}, before: func(ctx context.Context, _ []string) error {
			select {
			case <-answer:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}}
		r := NewRound(h)
		gone := errors.New("gave up")
		ask := func(ctx context.Context, words ...string) <-chan error {
			done := make(chan error, 1)
			go func() {
				res, err := r.Query(ctx, commands(words...)...)
				if err == nil {
					checkEcho(t, res, err, words...)
				}
				done <- err
			}()
			synctest.Wait()
			return done
		}
		first, cancelFirst := context.WithCancelCause(t.Context())
		waiter, cancelWaiter := context.WithCancelCause(t.Context())
		asker, stays, leaves := ask(first, "a", "b"), ask(t.Context(), "b", "c"), ask(waiter, "a")
		cancelWaiter(gone)
		if err := <-leaves; !errors.Is(err, gone) {
			t.Errorf("who waited and gave up: %v", err)
		}
		cancelFirst(gone)
		if err := <-asker; !errors.Is(err, gone) {
			t.Errorf("who asked and gave up: %v", err)
		}
		close(answer)
		if err := <-stays; err != nil {
			t.Errorf("who stays: %v", err)
		}
		if err := <-ask(t.Context(), "a", "b", "c"); err != nil {
			t.Errorf("who comes later: %v", err)
		}
		if want := [][]string{{"a", "b"}, {"c"}, {"b"}, {"a"}}; !cmp.Equal(want, h.calls) {
			t.Errorf("it sent %q, want %q", h.calls, want)
		}
	})
}

// A failed call is an answer to none of its questions.
func TestRoundKeepsNoErrors(t *testing.T) {
	down := errors.New("down")
	h := &counted{Observer: echo{}, before: func(context.Context, []string) error { return down }}
	r := NewRound(h)
	if _, err := r.Read(t.Context(), "/a", "/b"); !errors.Is(err, down) {
		t.Error(err)
	}
	if _, err := r.Query(t.Context(), commands("a")...); !errors.Is(err, down) {
		t.Error(err)
	}
	h.before = nil
	if files, err := r.Read(t.Context(), "/b", "/a"); err != nil || string(files[0].Data) != "/b" || string(files[1].Data) != "/a" {
		t.Errorf("%+v, %v", files, err)
	}
	res, err := r.Query(t.Context(), commands("a")...)
	checkEcho(t, res, err, "a")
}

// However calls overlap and fail, all that a caller gets is right, and the host
// answers nothing twice.
func TestRoundUnderLoad(t *testing.T) {
	var mu sync.Mutex
	answered := map[string]int{}
	lost := errors.New("lost")
	h := &counted{Observer: echo{}, before: func(_ context.Context, asked []string) error {
		if rand.IntN(3) == 0 {
			return lost
		}
		mu.Lock()
		defer mu.Unlock()
		for _, a := range asked {
			answered[a]++
		}
		return nil
	}}
	r := NewRound(h)
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			for range 25 {
				var words []string
				for range 1 + rand.IntN(6) {
					words = append(words, fmt.Sprintf("/%d", rand.IntN(200)))
				}
				if res, err := r.Query(t.Context(), commands(words...)...); !errors.Is(err, lost) {
					checkEcho(t, res, err, words...)
				}
			}
		})
	}
	all.Wait()
	for a, n := range answered {
		if n != 1 {
			t.Errorf("%s was answered %d times", a, n)
		}
	}
}

// vague is a host that does not answer what it is asked.
type vague struct {
	echo
	files   []File
	results []Result
}

func (v vague) Read(context.Context, ...string) ([]File, error) { return v.files, nil }

func (v vague) Query(context.Context, ...Cmd) ([]Result, error) { return v.results, nil }

func TestRoundOfVagueAnswers(t *testing.T) {
	for _, files := range [][]File{nil, {{Path: "/a"}}, {{Path: "/b"}, {Path: "/a"}}, {{Path: "/a"}, {Path: "/b"}, {Path: "/c"}}, {{Path: "/a"}, {Path: "/x", Pattern: "/x*"}, {Path: "/b"}}} {
		if got, err := NewRound(vague{files: files}).Read(t.Context(), "/a", "/b"); !errors.Is(err, errGarbled) {
			t.Errorf("%+v: %+v, %v", files, got, err)
		}
	}
	for n := range 4 {
		if got, err := NewRound(vague{results: make([]Result, n)}).Query(t.Context(), commands("a", "b")...); errors.Is(err, errGarbled) == (n == 2) {
			t.Errorf("%d results: %+v, %v", n, got, err)
		}
	}
}
