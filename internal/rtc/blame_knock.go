package rtc

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// Bounds of knocking. A port gets enough datagrams that scans of strangers, which
// every public host sees a few of each second, do not matter next to them, and few
// enough that no firewall takes them for an attack: 400 a second for 150 ms.
const (
	knocks     = 60
	knockEvery = 2500 * time.Microsecond
	knockWait  = 150 * time.Millisecond // for what the host says to the last of them

	connects    = 60
	connectTime = 1500 * time.Millisecond // in which Linux sends a SYN twice
)

// knocked is what became of knocking, as it is seen from here.
type knocked struct {
	sent      int   // datagrams, or attempts to connect
	refused   int   // ICMP "port unreachable" or TCP reset that came back
	forbidden int   // ICMP "prohibited" that came back, from whoever is on the way
	open      int   // connections that came about
	local     error // why this machine does not send
}

// note counts what the kernel says of an earlier datagram or of an attempt.
func (k *knocked) note(err error) {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		k.refused++
	case errors.Is(err, syscall.EPERM):
		k.local = err
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EACCES):
		k.forbidden++
	}
}

// knockUDP sends datagrams to one port. On a connected socket Linux hands out what
// ICMP says of earlier ones, as the error of the next call, and of that only what
// is final: of "unreachable" it is the port's, and what is prohibited
// (net/ipv4/icmp.c, icmp_err_convert).
func knockUDP(ctx context.Context, network string, to netip.AddrPort) knocked {
	var k knocked
	c, err := (&net.Dialer{}).DialContext(ctx, network, to.String())
	if err != nil { // nothing is sent yet: this machine has no route
		k.local = err
		return k
	}
	defer c.Close()
	tick := time.NewTicker(knockEvery)
	defer tick.Stop()
	for tries := 0; k.sent < knocks && tries < 2*knocks && k.local == nil; tries++ {
		select {
		case <-ctx.Done():
			return k
		case <-tick.C:
		}
		if _, err := c.Write([]byte("ecdeploy looks who is there")); err != nil {
			k.note(err)
			continue
		}
		k.sent++
	}
	_ = c.SetReadDeadline(time.Now().Add(knockWait)) // without it the loop ends with its count
	for b := make([]byte, 64); k.refused+k.forbidden < 2*knocks; {
		_, err := c.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			k.note(err)
		}
	}
	return k
}

// knockTCP tries to connect several times at once, and says nothing where that
// comes about.
func knockTCP(ctx context.Context, network string, to netip.AddrPort) knocked {
	var k knocked
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range connects {
		wg.Go(func() {
			c, err := (&net.Dialer{Timeout: connectTime}).DialContext(ctx, network, to.String())
			if err == nil {
				_ = c.Close() // nothing was said
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				k.sent++
				k.open++
			case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EADDRNOTAVAIL):
				k.local = err // what a router says is EHOSTUNREACH, or nothing
			default:
				k.sent++
				k.note(err)
			}
		})
	}
	wg.Wait()
	return k
}
