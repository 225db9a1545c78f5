package host

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// endless gives the same bytes again and again, n of them.
type endless struct {
	line []byte
	left int
	at   int
}

func (e *endless) Read(b []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := 0
	for n < len(b) && e.left > 0 {
		b[n] = e.line[e.at]
		e.at = (e.at + 1) % len(e.line)
		n++
		e.left--
	}
	return n, nil
}

// measureAllocation is how much memory do asks for, all in all, in bytes.
func measureAllocation(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// startHostileShell starts a channel whose far end says the whole of r once n requests
// are asked.
func startHostileShell(n int, r io.Reader) *shell {
	var s *shell
	begun := make(chan struct{})
	s = newShell("n", io.Discard, readerFunc(func(b []byte) (int, error) {
		<-begun
		for s.asked() < n {
			time.Sleep(time.Millisecond)
		}
		return r.Read(b)
	}), func() error { return errChannelLost }, func(string, ...any) {})
	close(begun)
	return s
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// A channel that is flooded takes no more memory than it is allowed, and says
// what is wrong.
func TestFloodedChannel(t *testing.T) {
	full := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), 3000))
	for _, c := range []struct {
		name   string
		says   io.Reader
		asks   int
		most   uint64 // bytes that are allocated
		want   error
		text   string
		output int
	}{
		{name: "no line ever ends", says: &endless{line: []byte("x"), left: 64 << 20}, asks: 1, most: 1 << 20, want: errChannelLost},
		{name: "lines that are for nobody", says: &endless{line: []byte("motd\n"), left: 16 << 20}, asks: 1, most: 1 << 20, want: errChannelLost},
		{name: "a line of ours never ends", says: io.MultiReader(strings.NewReader("n 1 o "), &endless{line: []byte("YWJj"), left: 64 << 20}), asks: 1, most: 1 << 20, want: errGarbled, text: "a line of more than"},
		{name: "an answer without end", says: io.MultiReader(&endless{line: []byte("n 1 o " + full + "\n"), left: 64 << 20}, strings.NewReader("\nn 1 r 0\n")), asks: 1, most: 400 << 20, output: MaxOutput},
		{name: "all answers at once", says: &flood{full: full, answers: 20}, asks: 20, most: 1 << 30, want: errGarbled, text: "more than 64 MiB at once"},
		{name: "answers that nobody asked for", says: &endless{line: []byte("n 9 o " + full + "\n"), left: 16 << 20}, asks: 1, most: 100 << 20, want: errChannelLost},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []Result
			var err error
			used := measureAllocation(func() {
				s := startHostileShell(c.asks, c.says)
				got, err = s.do(t.Context(), laneQuery, make([]request, c.asks))
				<-s.gone
			})
			if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %v %q", err, c.want, c.text)
			}
			if err == nil && (len(got[0].Stdout) != c.output || !got[0].Truncated) {
				t.Errorf("%d bytes, truncated %v", len(got[0].Stdout), got[0].Truncated)
			}
			if used > c.most {
				t.Errorf("it took %d MiB, and may take %d", used>>20, c.most>>20)
			}
		})
	}
}

// flood answers several requests by turns.
type flood struct {
	full    string
	answers int
	n       int
	rest    []byte
}

func (f *flood) Read(b []byte) (int, error) {
	if len(f.rest) == 0 {
		f.rest = fmt.Appendf(nil, "n %d o %s\n", f.n%f.answers+1, f.full)
		f.n++
	}
	n := copy(b, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// What no driver says ends the channel at once, and nobody waits for the
// time-out.
func TestGarbledChannel(t *testing.T) {
	for says, want := range map[string]string{
		"n 1 o !!!!\n":                   "answer 1: illegal base64",
		"n 1 o YWJ\n":                    "answer 1: illegal base64",
		"n 1 r -1\n":                     `exit status "-1"`,
		"n 1 r 256\n":                    `exit status "256"`,
		"n 1 r 18446744073709551616\n":   "exit status",
		"n 1 r \x1b]0;x\x07\n":           `exit status "\x1b]0;x\a"`,
		"n 1 x y\n":                      `a line of kind "x"`,
		"n 1 o\tYQ== YQ==\n":             `a line of kind "o"`,
		"n 1 e YQ==\nn 1 \u202ee YQ==\n": `a line of kind "\u202ee"`,
	} {
		s := startHostileShell(1, io.MultiReader(strings.NewReader(says), &endless{line: []byte("x\n"), left: 1 << 40}))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err := s.do(ctx, laneQuery, make([]request, 1))
		cancel()
		if !errors.Is(err, errGarbled) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q: %v, want %q", says, err, want)
		}
	}
}

// Where only what ran a script is gone, the channel goes on.
func TestKilledScript(t *testing.T) {
	s := startHostileShell(2, strings.NewReader("n 1 r\nn 2 o YQ==\nn 2 r 0\n"))
	first := make(chan error, 1)
	go func() {
		_, err := s.do(t.Context(), laneRun, make([]request, 1))
		first <- err
	}()
	for s.asked() < 1 {
		time.Sleep(time.Millisecond)
	}
	got, err := s.do(t.Context(), laneRun, make([]request, 1))
	if err != nil || string(got[0].Stdout) != "a" {
		t.Errorf("the second: %+v, %v", got, err)
	}
	if err := <-first; err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("the first: %v", err)
	}
}

// An SFTP server or engine that is to be started, and floods instead.
func TestSkipTo(t *testing.T) {
	for text, ok := range map[string]bool{"mark\n": true, "a\n\nmark\n": true, "xmark\nmark": false, strings.Repeat("x", 5000) + "mark\n": false, strings.Repeat("x", 5000) + "mark\nmark\n": true, "": false} {
		if err := skipTo(bufio.NewReader(strings.NewReader(text)), "mark"); (err == nil) != ok {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	if used := measureAllocation(func() { _ = skipTo(bufio.NewReader(&endless{line: []byte("x"), left: 64 << 20}), "mark") }); used > 1<<20 {
		t.Errorf("it took %d KiB", used>>10)
	}
}

// hostileEngine serves the API of an engine by answer, over connections that
// only exist in memory.
func hostileEngine(t *testing.T, answer http.HandlerFunc) *engine {
	t.Helper()
	conns := make(chan net.Conn)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/_ping" {
			w.Header().Set("Api-Version", "1.44")
			return
		}
		answer(w, r)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(pipeListener{conns, make(chan struct{}), &sync.Once{}}) }()
	e, err := newEngine(t.Context(), "h", func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		conns <- far
		return near, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.api.Close()
		srv.Close()
		<-done
	})
	return e
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   *sync.Once
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l pipeListener) Close() error { l.once.Do(func() { close(l.closed) }); return nil }
func (pipeListener) Addr() net.Addr { return &net.UnixAddr{} }

// An engine may say whatever it likes, at any length.
func TestHostileEngine(t *testing.T) {
	send := func(r func() io.Reader) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.Copy(w, r())
		}
	}
	frame := func(size uint32, text string) string {
		var head [8]byte
		head[0] = 1
		binary.BigEndian.PutUint32(head[4:], size)
		return string(head[:]) + text
	}
	inspect := func(e *engine) error { _, _, err := e.Inspect(t.Context(), "c"); return err }
	image := func(e *engine) error { _, _, err := e.ImageID(t.Context(), "i"); return err }
	pull := func(e *engine) error { return e.Pull(t.Context(), "i", "linux/amd64", func(string) {}) }
	load := func(e *engine) error { return e.Load(t.Context(), strings.NewReader("x")) }
	logs := func(want string) func(*engine) error {
		return func(e *engine) error {
			got, err := e.Logs(t.Context(), "c", 10)
			if err == nil && got != want {
				return fmt.Errorf("the log is %.100q", got)
			}
			return err
		}
	}
	for _, c := range []struct {
		name string
		says func() io.Reader
		do   func(*engine) error
		want string // in the error; "" for none
	}{
		{"a container without end", func() io.Reader {
			return io.MultiReader(strings.NewReader(`{"Id":"`), &endless{line: []byte("x"), left: 256 << 20})
		}, inspect, "too large"},
		{"one of endless depth", func() io.Reader { return &endless{line: []byte(`{"a":`), left: 256 << 20} }, inspect, "max depth"},
		{"an image without end", func() io.Reader {
			return io.MultiReader(strings.NewReader(`"`), &endless{line: []byte("x"), left: 256 << 20})
		}, image, "too large"},
		{"a message without end", func() io.Reader {
			return io.MultiReader(strings.NewReader(`{"status":"`), &endless{line: []byte("x"), left: 256 << 20})
		}, pull, "too large"},
		{"the same while it is sent one", func() io.Reader {
			return io.MultiReader(strings.NewReader(`{"status":"`), &endless{line: []byte("x"), left: 256 << 20})
		}, load, "too large"},
		{"no JSON", func() io.Reader { return strings.NewReader("\x1b[2J") }, pull, "invalid character"},
		{"an error that steers", func() io.Reader { return strings.NewReader(`{"error":"\u001b]52;c;YQ==\u0007no"}`) }, pull, "no"},
		{"null", func() io.Reader { return strings.NewReader("null") }, inspect, "incomplete"},
		{"a frame that lies", func() io.Reader { return strings.NewReader(frame(1<<32-1, "short")) }, logs("short"), ""},
		{"frames", func() io.Reader { return strings.NewReader(frame(2, "a\x1b") + frame(0, "") + frame(1, "b")) }, logs("ab"), ""},
		{"half a frame", func() io.Reader { return strings.NewReader(frame(1, "a") + "\x01\x00") }, logs("a"), ""},
		{"a frame of no kind", func() io.Reader { return strings.NewReader("garbage!") }, logs(""), "kind"},
		{"a log without end", func() io.Reader { return &endless{line: []byte(frame(4, "abc\n")), left: 64 << 20} }, func(e *engine) error {
			got, err := e.Logs(t.Context(), "c", 10)
			if len(got) > MaxOutput {
				return fmt.Errorf("%d bytes", len(got))
			}
			return err
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := hostileEngine(t, send(c.says))
			var err error
			used := measureAllocation(func() { err = c.do(e) })
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if used > 256<<20 {
				t.Errorf("it took %d MiB", used>>20)
			}
		})
	}
}
