package steps

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// As `ufw status verbose` of ufw 0.36 prints it.
const ufwStatus = `Status: active
Logging: on (low)
Default: deny (incoming), allow (outgoing), disabled (routed)
New profiles: skip

To                         Action      From
--                         ------      ----
22/tcp                     ALLOW IN    Anywhere
80,443/tcp (Nginx Full)    ALLOW IN    Anywhere
50000:60000/udp            ALLOW IN    Anywhere                   # media of somebody
7880/tcp                   ALLOW IN    10.0.0.0/24
3000/tcp                   DENY IN     Anywhere
22/tcp (v6)                ALLOW IN    Anywhere (v6)
25/tcp                     DENY OUT    Anywhere
`

func TestUFWEffect(t *testing.T) {
	var f ufwFacts
	f.parseStatus(ufwStatus)
	if !f.active || f.allowAll {
		t.Fatalf("active %v, allowAll %v; want true, false", f.active, f.allowAll)
	}
	for _, c := range []struct {
		open opening
		want string
	}{
		{opening{"udp", 50100, 50200, ""}, "open"}, // inside a wider rule of the admin's
		{opening{"udp", 50100, 61000, ""}, ""},     // only partly inside
		{opening{"tcp", 7881, 7881, ""}, ""},
		{opening{"tcp", 7880, 7880, "10.0.0.7"}, "open"},
		{opening{"tcp", 7880, 7880, "10.0.1.7"}, ""},
		{opening{"tcp", 7880, 7880, ""}, ""}, // open to a network is not open to the world
		{opening{"tcp", 3000, 3000, ""}, "closed"},
		{opening{"tcp", 25, 25, ""}, ""}, // a rule for outgoing says nothing
	} {
		if got, _ := f.effect(c.open); got != c.want {
			t.Errorf("effect(%s) = %q, want %q", c.open, got, c.want)
		}
	}
}

func TestUFWDecide(t *testing.T) {
	f := ufwFacts{name: "h", installed: true, active: true}
	f.parseStatus(ufwStatus)
	site := testSite()
	d := f.decide(site, openings(site, "h", Shared{}))
	var titles []string
	for _, c := range d.Changes {
		titles = append(titles, c.Summary().Title)
	}
	// The media range is covered by the admin's wider rule: no change.
	if diff := cmp.Diff([]string{"ufw allow 7881/tcp"}, titles); diff != "" {
		t.Error(diff)
	}
}
