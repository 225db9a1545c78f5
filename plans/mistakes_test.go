package plans

import (
	"fmt"
	"strings"
	"testing"
)

// rightFile is a plan file without mistakes, of which tests spoil one line.
const rightFile = `host "x" {
  address = "203.0.113.10"
}
site "x.test" {
  sfu {
    host = host.x
    url  = "https://sfu.x.test"
  }
  auth {
    host = host.x
    url  = "https://jwt.x.test"
  }
  synapse "debian" { host = host.x }
  proxy "nginx" { host = host.x }
  well_known "file" {
    host = host.x
    path = "/var/www/x.test/client"
  }
}
`

// environ is an empty environment.
func environ(string) (string, bool) { return "", false }

// spoilLines replaces each old line by a new one; "-" drops it.
func spoilLines(t *testing.T, text string, lines ...string) string {
	t.Helper()
	for i := 0; i+1 < len(lines); i += 2 {
		if strings.Count(text, lines[i]) == 0 {
			t.Fatalf("no %q to replace", lines[i])
		}
		text = strings.Replace(text, lines[i], lines[i+1], 1)
	}
	return text
}

// Every mistake has its place, says what is wrong, and ends in a way to fix
// it. The place is asserted as the text that is marked.
func TestMistakes(t *testing.T) {
	for _, tt := range mistakeCases() {
		t.Run(tt.name, func(t *testing.T) { checkMistake(t, tt) })
	}
}

// checkMistake loads rightFile with the replacement of a case.
func checkMistake(t *testing.T, tt mistakeCase) {
	t.Helper()
	text := spoilLines(t, rightFile, tt.old, tt.new)
	if strings.HasSuffix(tt.new, "host.s") {
		text = "host \"s\" { address = \"s\" }\n" + text
	}
	f, mistakes := load("hosts.hcl", []byte(text), LoadOptions{Environ: environ, Validate: true})
	if (f == nil) != (tt.severity == SeverityError) {
		t.Errorf("file is nil: %v", f == nil)
	}
	if len(mistakes) != 1 {
		t.Fatalf("%d mistakes: %+v", len(mistakes), mistakes)
	}
	m := mistakes[0]
	if m.Severity != tt.severity || !strings.Contains(m.Summary, tt.what) || !strings.Contains(m.Detail, tt.fix) {
		t.Errorf("%+v", m)
	}
	if got := markMistake(text, m); tt.mark != "\n" && got != tt.mark {
		t.Errorf("marked %q, expected %q", got, tt.mark)
	}
	if m.Detail == "" {
		t.Error("no way to fix it")
	}
}

// markMistake is the text that a mistake points at.
func markMistake(text string, m Mistake) string {
	line := strings.Split(text, "\n")[m.Line-1]
	if m.End-1 > len(line) {
		return fmt.Sprintf("%q from column %d to %d", line, m.Column, m.End)
	}
	return line[m.Column-1 : m.End-1]
}

// secondSite is a site that clashes with rightFile's in everything.
const secondSite = `site "y.test" {
  sfu {
    host = host.x
    url  = "https://sfu.x.test"
    ports {
      udp = "50200-50300"
    }
  }
  auth {
    host = host.x
    url  = "https://jwt.x.test"
  }
  synapse "debian" { host = host.x }
  proxy "nginx" { host = host.x }
  well_known "file" {
    host = host.x
    path = "/var/www/x.test/client"
  }
}
`
