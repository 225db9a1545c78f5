package lab

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// Laptop is a command that runs on a machine of its own next to the hosts, which
// reaches them as anybody would and knows their names.
func Laptop(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	return LaptopWith(t, nil, name, args...)
}

// LaptopWith is Laptop where some names lead to other addresses, or, to "",
// nowhere.
func LaptopWith(t testing.TB, names map[string]string, name string, args ...string) *exec.Cmd {
	t.Helper()
	dir, err := root()
	if err != nil {
		t.Fatalf("find the module: %v", err)
	}
	words := []string{"laptop"}
	for n, address := range names {
		words = append(words, "--name", n+"="+address)
	}
	return exec.Command(filepath.Join(dir, "scripts", "lab"), slices.Concat(words, []string{name}, args)...)
}

// Outer puts a firewall in front of a host, as a router or a cloud has one, which
// drops what matches: "to udp dport 50100-50200" on the way to the host, "from ..."
// on the way from it. It takes the place of the one before; none lets all pass.
func Outer(t testing.TB, host string, drops ...string) {
	t.Helper()
	if len(drops) == 0 {
		script(t, "outer", host, "off")
		return
	}
	script(t, slices.Concat([]string{"outer", host, "on"}, drops)...)
}
