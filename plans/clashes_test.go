package plans

import (
	"fmt"
	"strings"
	"testing"
)

// Two sites that clash: everything is said at once, at the second one.
func TestClashes(t *testing.T) {
	_, mistakes := load("hosts.hcl", []byte(rightFile+secondSite), LoadOptions{Environ: environ})
	var got []string
	for _, m := range mistakes {
		got = append(got, fmt.Sprintf("%d:%d %s", m.Line, m.Column, m.Summary))
	}
	want := []string{
		`21:3 the container name livekit-sfu belongs to the SFU of site "x.test" already (line 5)`,
		`23:12 this URL belongs to the SFU of site "x.test" already (line 7)`,
		`24:5 port 7880 belongs to the SFU of site "x.test" already (line 5)`,
		`24:5 port 7881 belongs to the SFU of site "x.test" already (line 5)`,
		`25:13 the UDP range 50200-50300 overlaps with 50100-50200, which the SFU of site "x.test" has (line 5)`,
		`28:3 port 8080 belongs to the JWT service of site "x.test" already (line 9)`,
		`28:3 the container name element-call-jwt belongs to the JWT service of site "x.test" already (line 9)`,
		`30:12 this URL belongs to the JWT service of site "x.test" already (line 11)`,
		`36:12 the file /var/www/x.test/client belongs to the announcement of site "x.test" already (line 17)`,
	}
	if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
		t.Errorf("got\n%s\nexpected\n%s", a, b)
	}
}

// Two sites below one name would each write a server block for it.
func TestNameOfTwoSites(t *testing.T) {
	second := strings.NewReplacer(`"https://sfu.x.test"`, `"https://sfu.x.test/y"`, `"https://jwt.x.test"`, `"https://jwt.y.test"`).Replace(secondSite)
	_, mistakes := load("hosts.hcl", []byte(rightFile+second), LoadOptions{Environ: environ})
	var got []string
	for _, m := range mistakes {
		if strings.Contains(m.Summary, "the name ") {
			got = append(got, fmt.Sprintf("%d:%d %s", m.Line, m.Column, m.Summary))
		}
	}
	want := []string{`23:12 the name sfu.x.test belongs to site "x.test" already (line 7)`}
	if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
		t.Errorf("got\n%s\nexpected\n%s", a, b)
	}
}
