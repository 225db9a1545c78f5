package lab

import (
	"strings"
	"testing"
)

// What the laptop is there for: it knows the hosts' names, and a firewall in
// front of a host stands between both, which the host's own loopback does not meet.
func TestE2ELaptop(t *testing.T) {
	Require(t)
	h := Up(t, Light, "vfylaptop")[0]
	get := func(names map[string]string) string {
		out, err := LaptopWith(t,
			names, "curl", "-sk", "-o", "/dev/null", "--max-time", "2", "-w",
			"%{http_code} %{remote_ip} %{local_ip}",
			"https://"+h.Domain+"/").Output()
		_ = err // the words say it
		return string(out)
	}
	live := "/etc/letsencrypt/live/" + h.Domain
	h.Exec(t,
		"echo 'server { listen 443 ssl; ssl_certificate "+live+"/fullchain.pem; ssl_certificate_key "+live+
			"/privkey.pem; return 204; }' >/etc/nginx/conf.d/laptop.conf; systemctl reload nginx")
	const want = "204 "
	if got := get(nil); !strings.HasPrefix(got, want+h.IP+" ") || strings.HasSuffix(got, ".1") {
		t.Errorf("from the laptop: %q", got)
	}
	if got := get(map[string]string{h.Domain: ""}); strings.HasPrefix(got, want) {
		t.Errorf("a name that is not to resolve: %q", got)
	}
	Outer(t, h.Name, "to tcp dport 443")
	if got := get(nil); strings.HasPrefix(got, want) {
		t.Errorf("past the firewall: %q", got)
	}
	if got := h.Exec(t, "curl -sk -o /dev/null -w '%{http_code}' https://"+h.Domain+"/"); got != "204" {
		t.Errorf("on the host itself: %q", got)
	}
	Outer(t, h.Name)
	if got := get(nil); !strings.HasPrefix(got, want) {
		t.Errorf("with the firewall open again: %q", got)
	}
}
