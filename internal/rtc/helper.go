package rtc

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"al.essio.dev/pkg/shellescape"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// echoText is what runs on a host: perl, which every Debian has (perl-base is
// essential there), the same on every architecture, and readable.
//
//go:embed echo.pl
var echoText string

// Bounds of an echo.
const (
	echoes     = 20 // packets to a port
	echoEvery  = 10 * time.Millisecond
	echoWait   = time.Second // for the last answer
	echoClean  = 20 * time.Second
	echoStart  = 15 * time.Second
	echoPieces = 3 // of the range: ports that are listened to
)

// errNoHelper says that a host has not what the helper needs.
var errNoHelper = errors.New("this host has no perl or no systemd, which the helper needs")

// echo is the helper on one host, and how to take it away.
type echo struct {
	h     host.Host
	name  string // 64 random bits, of its unit and its folder
	nonce []byte // what it answers to, 16 bytes
	pid   string
	ports []echoPort
}

// echoPort is what became of one port.
type echoPort struct {
	tcp     bool
	port    int
	sent    int // from here
	back    int // answers that arrived here
	arrived int // at the helper
	replied int // by the helper; less than arrived where its host's netfilter drops them
}

func (p echoPort) String() string {
	proto := "udp"
	if p.tcp {
		proto = "tcp"
	}
	return fmt.Sprintf("%s %d: %d sent, %d arrived at the helper, %d answered, %d answers came back", proto, p.port, p.sent, p.arrived, p.replied, p.back)
}

// echoOn lets a helper listen at addr on the SFU's host, on ports of the range that
// are free and on the TCP port if that is, sends to it, and takes it away, whatever
// happens. It is for who has leave to run it.
func (t Target) echoOn(ctx context.Context, network string, addr netip.Addr) (ports []echoPort, err error) {
	h := t.Hosts[t.SFU.Host]
	if h == nil || t.SFU.TCP == 0 {
		return nil, errors.New("there is no connection to the SFU's host")
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	e := &echo{h: h, name: random(8), nonce: make([]byte, 16)}
	_, _ = rand.Read(e.nonce) // never fails, see its documentation
	// Also where the start fails: it may go on at the host all the same.
	defer func() { err = errors.Join(err, e.stop(ctx)) }()
	if err := e.start(ctx, t, addr); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var wg sync.WaitGroup
	for i := range e.ports {
		p := &e.ports[i]
		to := netip.AddrPortFrom(addr, uint16(p.port)).String()
		version := network[len(network)-1:]
		if p.tcp {
			wg.Go(func() { p.sent, p.back = e.overTCP(ctx, "tcp"+version, to) })
		} else {
			wg.Go(func() { p.sent, p.back = e.overUDP(ctx, "udp"+version, to) })
		}
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := e.count(ctx); err != nil {
		return nil, err
	}
	return e.ports, nil
}

// random is n random bytes in hexadecimal.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see its documentation
	return fmt.Sprintf("%x", b)
}

func (e *echo) folder() string { return "/run/ecdeploy-echo." + e.name }
func (e *echo) unit() string   { return "ecdeploy-echo-" + e.name }

// startText is sh text that starts the helper and prints its process and title.
// The folder's name is made here, not by mktemp, so that it can be taken away
// whatever is known of how far this came. systemd ends the helper after a minute,
// also when nobody is there any more to stop it.
const startText = `[ -d /run/systemd/system ] && command -v perl >/dev/null && command -v systemd-run >/dev/null || exit 3
mkdir -m 700 %[1]s || exit 4
echo %[2]s | base64 -d >%[1]s/echo.pl && echo %[3]s | base64 -d >%[1]s/nonce &&
systemd-run --quiet --collect --unit=%[4]s -p RuntimeMaxSec=60 -p TimeoutStopSec=5 -p MemoryMax=128M -p TasksMax=4 perl %[1]s/echo.pl %[1]s %[5]s || { rm -rf %[1]s; exit 5; }
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	p=$(systemctl show -p MainPID --value %[4]s)
	t=$(tr '\0' ' ' <"/proc/$p/cmdline" 2>/dev/null)
	case $t in ecdeploy-echo-*) echo "$p $t"; exit 0 ;; esac
	sleep 0.1
done
journalctl -q -o cat -n 3 -u %[4]s >&2
exit 6`

// start starts the helper. Its text and nonce are part of a request to the host's
// shell, so no process has them as an argument. The end of ctx does not interrupt it
// short: a request that nobody waits for may reach the host after the one that
// stops the helper.
func (e *echo) start(ctx context.Context, t Target, addr netip.Addr) error {
	first, last := t.SFU.UDPRange()
	args := []string{addr.String(), strconv.Itoa(t.SFU.TCP)}
	for i := range echoPieces {
		args = append(args, strconv.Itoa(first+(last-first)*i/(echoPieces-1)), strconv.Itoa(first), strconv.Itoa(last))
	}
	code := base64.StdEncoding.EncodeToString
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), echoStart)
	defer cancel()
	res, err := e.h.Run(ctx, fmt.Sprintf(startText, e.folder(), code([]byte(echoText)), code(e.nonce), e.unit(), shellescape.QuoteCommand(args)), echoStart)
	if err != nil {
		return fmt.Errorf("start the helper on %s: %w", e.h.Name(), err)
	}
	switch res.Code {
	case 0:
	case 3:
		return errNoHelper
	default:
		return fmt.Errorf("start the helper on %s: %s (status %d)", e.h.Name(), host.Said(string(res.Stderr), 3), res.Code)
	}
	pid, title, _ := strings.Cut(strings.TrimSpace(string(res.Stdout)), " ")
	if number(pid) <= 1 {
		return fmt.Errorf("start the helper on %s: it has no process", e.h.Name())
	}
	e.pid = pid
	if e.ports, err = parseEcho(title); err == nil && len(e.ports) == 0 {
		err = errors.New("it listens nowhere")
	}
	return err
}

// parseEcho reads the helper's title: ecdeploy-echo-NAME tcp 7881 CAME/SENT udp ... .
// Its end is a dot, as the kernel cuts titles that are too long.
func parseEcho(title string) ([]echoPort, error) {
	f := strings.Fields(title)
	if len(f) < 2 || len(f) > 2+3*(echoPieces+1) || !strings.HasPrefix(f[0], "ecdeploy-echo-") || f[len(f)-1] != "." || len(f)%3 != 2 {
		return nil, fmt.Errorf("read the helper's title: %.100q", host.Clean(title))
	}
	var out []echoPort
	for f = f[1 : len(f)-1]; len(f) > 0; f = f[3:] {
		came, sent, _ := strings.Cut(f[2], "/")
		p := echoPort{tcp: f[0] == "tcp", port: int(number(f[1])), arrived: int(number(came)), replied: int(number(sent))}
		if p.port < 1 || p.port > 65535 || p.arrived < 0 || p.replied < 0 {
			return nil, fmt.Errorf("read the helper's title: %.100q", host.Clean(title))
		}
		out = append(out, p)
	}
	return out, nil
}

// overUDP sends packets and counts the answers.
func (e *echo) overUDP(ctx context.Context, network, to string) (sent, back int) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, to)
	if err != nil {
		return 0, 0
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = c.SetReadDeadline(time.Now().Add(echoes*echoEvery + echoWait)) // a closed connection ends it, too
		seen := map[string]bool{}
		for b := make([]byte, 64); len(seen) < echoes; {
			n, err := c.Read(b)
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() || errors.Is(err, net.ErrClosed) {
				break
			}
			if err == nil && strings.HasPrefix(string(b[:n]), string(e.nonce)) {
				seen[string(b[:n])] = true
			}
		}
		back = len(seen)
	})
	for i := range echoes {
		if _, err := fmt.Fprintf(c, "%s%04d", e.nonce, i); err == nil {
			sent++
		}
		time.Sleep(echoEvery)
	}
	wg.Wait()
	return sent, back
}

// overTCP opens one connection and says the nonce.
func (e *echo) overTCP(ctx context.Context, network, to string) (sent, back int) {
	c, err := (&net.Dialer{Timeout: dialTime}).DialContext(ctx, network, to)
	if err != nil {
		return 1, 0
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(dialTime)) // without it ctx ends the wait
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if _, err := c.Write(e.nonce); err != nil {
		return 1, 0
	}
	b := make([]byte, len(e.nonce))
	if _, err := io.ReadFull(c, b); err == nil && string(b) == string(e.nonce) {
		return 1, 1
	}
	return 1, 0
}

// count asks the helper what arrived.
func (e *echo) count(ctx context.Context) error {
	res, err := e.h.Query(ctx, host.Sh(`tr '\0' ' ' <"/proc/$1/cmdline"`, e.pid))
	if err != nil {
		return fmt.Errorf("ask the helper on %s: %w", e.h.Name(), err)
	}
	now, err := parseEcho(string(res[0].Stdout))
	if err != nil {
		return err
	}
	for i := range e.ports {
		for _, p := range now {
			if p.tcp == e.ports[i].tcp && p.port == e.ports[i].port {
				e.ports[i].arrived, e.ports[i].replied = p.arrived, p.replied
			}
		}
	}
	return nil
}

// stopText ends the helper and prints what is left of it. It runs after a start
// that may still go on, as the host runs one such text after the other.
const stopText = `systemctl stop %[2]s.service 2>/dev/null
rm -rf %[1]s
[ ! -e %[1]s ] || echo "the folder %[1]s"
! systemctl -q is-active %[2]s.service || echo "the unit %[2]s"
for p in $(grep -lz -e '^[e]cdeploy-echo-%[3]s ' -e '^/run/[e]cdeploy-echo.%[3]s/' /proc/[0-9]*/cmdline 2>/dev/null); do echo "the process $p"; done
exit 0`

// stop takes the helper away and looks that nothing is left, also when ctx has
// ended.
func (e *echo) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), echoClean)
	defer cancel()
	res, err := e.h.Run(ctx, fmt.Sprintf(stopText, e.folder(), e.unit(), e.name), echoClean)
	if err != nil {
		return fmt.Errorf("take the helper away from %s (unit %s, which systemd ends within a minute): %w", e.h.Name(), e.unit(), err)
	}
	if left := strings.TrimSpace(string(res.Stdout)); left != "" || !res.OK() {
		return fmt.Errorf("take the helper away from %s: there is still %s (status %d)", e.h.Name(), host.Said(left, 3), res.Code)
	}
	return nil
}
