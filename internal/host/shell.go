package host

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed driver.sh
var driver string

// lane says which scripts may run at the same time on the host.
type lane string

// Questions run beside each other, changes one after the other.
const (
	laneQuery lane = "q"
	laneRun   lane = "r"
)

// grace is what an answer may come later than the host's own time-out: the
// way, and the driver's pause between SIGTERM and SIGKILL.
const grace = 30 * time.Second

// errChannelLost says that the shell channel is gone. Whether a script that was
// under way ran to its end is then not known.
var errChannelLost = errors.New("the connection was lost")

// shell is the shell channel of one host: a driver at the far end, requests
// there, answers back, in any order.
type shell struct {
	nonce string
	trace func(string, ...any)

	writing sync.Mutex
	w       io.Writer

	mu      sync.Mutex
	last    int
	waiting map[int]*answer
	ready   chan struct{} // closed when the driver has said so
	uid     string
	gone    chan struct{} // closed when the channel has ended
	err     error         // why, once gone is closed
}

type answer struct {
	result Result
	err    error
	done   chan struct{}
}

// newNonce is 128 random bits in hexadecimal.
func newNonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see its documentation
	return fmt.Sprintf("%x", b)
}

// driverCommand is the program and its arguments that make a shell a driver.
// Nothing in it means anything to sh, bash, fish or csh within the quotes.
func driverCommand(nonce string) string {
	text := fmt.Sprintf("EC_MAX=%d\n%s", MaxOutput+1, driver)
	return fmt.Sprintf(`sh -c 'eval "$(printf %%s "$2" | base64 -d)"' sh %s %s`, nonce, base64.StdEncoding.EncodeToString([]byte(text)))
}

// newShell speaks with the driver that answers on r and listens on w. When r
// ends, why tells the reason.
func newShell(nonce string, w io.Writer, r io.Reader, why func() error, trace func(string, ...any)) *shell {
	s := &shell{nonce: nonce, trace: trace, w: w, waiting: map[int]*answer{}, ready: make(chan struct{}), gone: make(chan struct{})}
	go func() {
		s.read(r)
		s.end(why())
	}()
	return s
}

func (s *shell) read(r io.Reader) {
	in := bufio.NewReaderSize(r, 64<<10)
	var err error
	for err == nil {
		var line string
		line, err = in.ReadString('\n')
		if fields := strings.Fields(line); len(fields) >= 3 && fields[0] == s.nonce {
			s.take(fields[1], fields[2:])
		}
	}
}

// take reads one line of the driver.
func (s *shell) take(id string, rest []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == "ready" {
		if s.uid == "" {
			s.uid = rest[0]
			close(s.ready)
		}
		return
	}
	n, err := strconv.Atoi(id)
	a := s.waiting[n]
	if err != nil || a == nil || len(rest) != 2 && rest[0] != "r" {
		return
	}
	switch rest[0] {
	case "o":
		a.result.Stdout, err = appendBase64(a.result.Stdout, rest[1])
	case "e":
		a.result.Stderr, err = appendBase64(a.result.Stderr, rest[1])
	case "r":
		if len(rest) != 2 {
			err = errors.New("the driver was killed")
			break
		}
		a.result.Code, err = strconv.Atoi(rest[1])
	}
	if err != nil {
		a.err = fmt.Errorf("the host's answer is garbled: %w", err)
	}
	if rest[0] == "r" {
		s.trace("answer %d: status %d, %d and %d bytes", n, a.result.Code, len(a.result.Stdout), len(a.result.Stderr))
		delete(s.waiting, n)
		close(a.done)
	}
}

// appendBase64 decodes one line. A line holds whole groups, as base64 cuts its
// output at multiples of four characters.
func appendBase64(b []byte, text string) ([]byte, error) {
	return base64.StdEncoding.AppendDecode(b, []byte(text))
}

// end lets everybody who waits know why there will be no answer.
func (s *shell) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	close(s.gone)
}

// request is one script to run.
type request struct {
	script  string
	timeout time.Duration
}

// do sends all requests in one flight and waits for all answers.
func (s *shell) do(ctx context.Context, in lane, reqs []request) ([]Result, error) {
	answers := make([]*answer, len(reqs))
	var flight bytes.Buffer
	deadline := time.Duration(0)
	s.mu.Lock()
	for i, r := range reqs {
		if r.timeout <= 0 {
			r.timeout = DefaultTimeout
		}
		deadline += r.timeout
		s.last++
		answers[i] = &answer{done: make(chan struct{})}
		s.waiting[s.last] = answers[i]
		fmt.Fprintf(&flight, "%s %d %d %s %s\n", s.nonce, s.last, int64((r.timeout+time.Second-1)/time.Second), in, base64.StdEncoding.EncodeToString([]byte(r.script)))
	}
	s.mu.Unlock()
	s.trace("%d requests of lane %s, %d bytes", len(reqs), in, flight.Len())
	ctx, cancel := context.WithTimeoutCause(ctx, deadline+grace, fmt.Errorf("no answer for %s", deadline+grace))
	defer cancel()
	if err := s.send(ctx, flight.Bytes()); err != nil {
		return nil, err
	}
	results := make([]Result, len(reqs))
	for i, a := range answers {
		select {
		case <-a.done:
		case <-s.gone:
			select {
			case <-a.done: // it came just before the end
			default:
				return nil, s.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if a.err != nil {
			return nil, a.err
		}
		results[i] = cut(a.result)
	}
	return results, nil
}

// send writes a flight. A window that stays closed must not outlast ctx, so the
// writing goes on beside.
func (s *shell) send(ctx context.Context, flight []byte) error {
	sent := make(chan error, 1)
	go func() {
		s.writing.Lock()
		defer s.writing.Unlock()
		_, err := s.w.Write(flight)
		sent <- err
	}()
	select {
	case err := <-sent:
		if err == nil {
			return nil
		}
		// The channel's end tells more than the failed write.
		select {
		case <-s.gone:
			return s.err
		case <-time.After(time.Second):
			return fmt.Errorf("%w: %w", errChannelLost, err)
		}
	case <-s.gone:
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// cut drops what lies beyond MaxOutput.
func cut(r Result) Result {
	for _, b := range []*[]byte{&r.Stdout, &r.Stderr} {
		if len(*b) > MaxOutput {
			*b = (*b)[:MaxOutput]
			r.Truncated = true
		}
	}
	return r
}
