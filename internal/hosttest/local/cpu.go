package local

import (
	"syscall"
	"testing"
	"time"
)

const prSetChildSubreaper = 36 // of linux/prctl.h

// Adopt makes this process the parent of all that commands of hosts leave behind,
// as their queries do, so that CPU can count it. For benchmarks alone: nothing
// that is left behind goes away until CPU is called.
func Adopt(t testing.TB) {
	t.Helper()
	if _, _, errno := syscall.Syscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		t.Skipf("cannot adopt processes: %v", errno)
	}
}

// CPU is the time that this process's children have used, in user and in system
// mode, since it began. It waits for all of them: the clients of every host have
// to be gone.
func (h *Host) CPU(t testing.TB) time.Duration {
	t.Helper()
	h.clients.Wait()
	for {
		switch _, err := syscall.Wait4(-1, nil, 0, nil); err {
		case nil, syscall.EINTR:
			continue
		case syscall.ECHILD:
		default:
			t.Fatal(err)
		}
		break
	}
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
