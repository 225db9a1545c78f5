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

// Questions run at the same time, changes one after the other.
const (
	laneQuery lane = "q"
	laneRun   lane = "r"
)

// grace is what an answer may come later than the host's own time-out: the
// way, and the driver's pause between SIGTERM and SIGKILL.
const grace = 30 * time.Second

// maxLine is the longest line that a driver sends, in bytes: forty lines of
// base64 and what stands before them, with room to spare.
const maxLine = 16 << 10

// maxHeld is the most that all unfinished answers of a channel may hold
// together, in bytes. It is more than any flight of ours asks for.
const maxHeld = 64 << 20

// errGarbled says that a host answers what no driver would. Nothing that came
// over its channel can be trusted.
var errGarbled = errors.New("the host's answer is garbled")

// errChannelLost says that the shell channel is gone. Whether a script that was
// under way ran to its end is then not known.
var errChannelLost = errors.New("the connection was lost")

// shell is the shell channel of one host: a driver at the far end, requests
// there, answers back, in any order.
type shell struct {
	nonce string
	trace func(string, ...any)

	writing chan struct{} // holds one while a flight is written
	w       io.Writer

	mu      sync.Mutex
	last    int
	waiting map[int]*answer
	held    int           // bytes of the answers in waiting
	ready   chan struct{} // closed when the driver has said so
	uid     string
	records string        // "i" and "o" where sudo records what comes in and goes out
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
	s := &shell{
		nonce:   nonce,
		trace:   trace,
		w:       w,
		writing: make(chan struct{}, 1),
		waiting: map[int]*answer{},
		ready:   make(chan struct{}),
		gone:    make(chan struct{}),
	}
	go func() {
		if err := s.read(r); err != nil {
			s.end(err)
			return
		}
		s.end(why())
	}()
	return s
}

// read takes lines until the channel ends, or says what no driver would. What
// does not begin with the nonce is somebody else's, and not kept.
func (s *shell) read(r io.Reader) error {
	in := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		ours := bytes.HasPrefix(line, []byte(s.nonce+" "))
		for errors.Is(err, bufio.ErrBufferFull) {
			if ours {
				return fmt.Errorf("%w: a line of more than %d bytes", errGarbled, maxLine)
			}
			_, err = in.ReadSlice('\n')
		}
		if err != nil {
			return nil
		}
		if !ours {
			continue
		}
		if fields := strings.Fields(string(line)); len(fields) >= 3 {
			if err := s.take(fields[1], fields[2:]); err != nil {
				return err
			}
		}
	}
}

// take reads one line of the driver. Answers that nobody waits for are passed
// over.
func (s *shell) take(id string, rest []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == "ready" {
		if s.uid == "" {
			s.uid, s.records = rest[0], strings.Join(rest[1:], "")
			close(s.ready)
		}
		return nil
	}
	n, err := strconv.Atoi(id)
	a := s.waiting[n]
	if err != nil || a == nil {
		return nil
	}
	switch {
	case rest[0] == "o" && len(rest) == 2:
		err = s.keep(&a.result.Stdout, rest[1])
	case rest[0] == "e" && len(rest) == 2:
		err = s.keep(&a.result.Stderr, rest[1])
	case rest[0] == "r" && len(rest) <= 2:
		return s.finish(n, strings.Join(rest[1:], ""))
	default:
		err = fmt.Errorf("a line of kind %.20q", rest[0])
	}
	if err != nil {
		return fmt.Errorf("%w: answer %d: %w", errGarbled, n, err)
	}
	return nil
}

// keep decodes one line of an answer. A line holds whole groups, as base64 cuts
// its output at multiples of four characters. What lies beyond MaxOutput is
// dropped here, too: a host may say more than its driver would let through.
func (s *shell) keep(to *[]byte, text string) error {
	if len(*to) > MaxOutput {
		return nil
	}
	before := len(*to)
	b, err := base64.StdEncoding.AppendDecode(*to, []byte(text))
	if err != nil {
		return err
	}
	*to = b
	s.held += len(b) - before
	if s.held > maxHeld {
		return fmt.Errorf("more than %d MiB at once", maxHeld>>20)
	}
	return nil
}

// finish hands answer n to whoever waits for it.
func (s *shell) finish(n int, status string) error {
	a := s.waiting[n]
	code, err := strconv.ParseUint(status, 10, 8)
	switch {
	case status == "":
		a.err = errors.New("what ran the script on the host was killed")
	case err != nil:
		return fmt.Errorf("%w: answer %d: exit status %.20q", errGarbled, n, status)
	}
	a.result.Code = int(code)
	s.trace("answer %d: status %d, %d and %d bytes", n, a.result.Code, len(a.result.Stdout), len(a.result.Stderr))
	s.held -= len(a.result.Stdout) + len(a.result.Stderr)
	delete(s.waiting, n)
	close(a.done)
	return nil
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
	for _, r := range reqs {
		if strings.Contains(r.script, "\x00") { // a shell would leave it out
			return nil, errors.New("a command holds a NUL, which no program can be given")
		}
	}
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
		fmt.Fprintf(&flight,
			"%s %d %d %s %s\n", s.nonce, s.last,
			int64((r.timeout+time.Second-1)/time.Second),
			in,
			base64.StdEncoding.EncodeToString([]byte(r.script)))
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
		results[i] = capOutput(a.result)
	}
	return results, nil
}

// send writes a flight. A window that stays closed must not outlast ctx, so the
// writing goes on meanwhile. What ctx ends before its turn came is never written: it
// would reach the host after what was asked later.
func (s *shell) send(ctx context.Context, flight []byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case s.writing <- struct{}{}:
	case <-s.gone:
		return nil // whose answers came before the end, do knows
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	sent := make(chan error, 1)
	go func() {
		defer func() { <-s.writing }()
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
		return nil // likewise
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// capOutput drops what lies beyond MaxOutput.
func capOutput(r Result) Result {
	for _, b := range []*[]byte{&r.Stdout, &r.Stderr} {
		if len(*b) > MaxOutput {
			*b = (*b)[:MaxOutput]
			r.Truncated = true
		}
	}
	return r
}
