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
	sfuURL, authURL := `url  = "https://sfu.x.test"`, `url  = "https://jwt.x.test"`
	tests := []struct {
		name            string
		old, new        string
		severity        Severity
		mark, what, fix string
	}{
		{"unknown attribute", sfuURL, sfuURL + "\n    contaner = \"a\"", "error", "contaner", `sfu {} has no attribute "contaner"`, "did you mean container?"},
		{"unknown block", sfuURL, sfuURL + "\n    prts {}", "error", "prts", `sfu {} has no block "prts"`, "did you mean ports?"},
		{"unknown block of the file", "site \"x.test\" {", "hots \"y\" {}\nsite \"x.test\" {", "error", `hots "y"`, `the plan file has no block "hots"`, "did you mean host?"},
		{"attribute as a block", sfuURL, sfuURL + "\n    ports = 1", "error", "ports", "ports is a block", "ports { ... }"},
		{"block as an attribute", sfuURL, sfuURL + "\n    image {}", "error", "image", "image is an attribute", "image = "},
		{"missing attribute", "    " + authURL + "\n", "", "error", "auth", "auth {} needs url", "add url = "},
		{"missing SFU", "  sfu {\n    host = host.x\n    " + sfuURL + "\n  }\n", "", "error", `site "x.test"`, `site "x.test" has no sfu {}`, "add sfu {\n  host = host.NAME\n  url = "},
		{"missing block", "  proxy \"nginx\" { host = host.x }\n", "", "error", `site "x.test"`, `site "x.test" has no proxy {}`, `add proxy "nginx"`},
		{"second block", sfuURL + "\n  }", sfuURL + "\n  }\n  sfu {}", "error", "sfu", "sfu {}: duplicate block", "the first is in line 5"},
		{"unknown host", "host = host.x", "host = host.xy", "error", "host.xy", `there is no host "xy"`, "did you mean host.x?"},
		{"unknown host in text", "host = host.x", `host = "y"`, "error", `"y"`, `there is no host "y"`, "host.x"},
		{"bare name", "host = host.x", "host = x", "error", "x", `unknown name "x"`, "did you mean host.x?"},
		{"unknown variable", sfuURL, "url = var.nope", "error", "var.nope", `there is no variable "nope"`, "add variable"},
		{"unknown function", sfuURL, `url = uper("a")`, "error", "uper", "unknown function", "upper"},
		{"wrong type", authURL, authURL + "\n    port = \"many\"", "error", `"many"`, "port must be a whole number", "port = 8080"},
		{"fraction", authURL, authURL + "\n    port = 80.5", "error", "80.5", "port must be a whole number", "port = 8080"},
		{"null", authURL, authURL + "\n    port = null", "error", "null", "port has no value", "default"},
		{"bad port", authURL, authURL + "\n    port = 70000", "error", "70000", "port 70000 is not a port", "1024 to 65535"},
		{"port 0", authURL, authURL + "\n    port = 0", "error", "0", "port 0 is not a port", "1024 to 65535"},
		{"privileged port", sfuURL, sfuURL + "\n    ports {\n      tcp = 443\n    }", "error", "443", "tcp 443 needs root", "1024"},
		{"same port twice", sfuURL, sfuURL + "\n    ports {\n      tcp = 7880\n    }", "error", "7880", "signalling and tcp are both port 7880", "another port"},
		{"port of the other service", authURL, authURL + "\n    port = 7881", "error", "7881", `port 7881 belongs to the SFU of site "x.test" already`, "port = "},
		{"bad range", sfuURL, sfuURL + "\n    ports {\n      udp = \"50100\"\n    }", "error", `"50100"`, "udp is no range", "50100-50200"},
		{"range backwards", sfuURL, sfuURL + "\n    ports {\n      udp = \"50200-50100\"\n    }", "error", `"50200-50100"`, "udp ends before it begins", "50100-50200"},
		{"small range", sfuURL, sfuURL + "\n    participants = 51", "error", "51", "101 UDP ports are too few for 51 participants, who need 2 each", `"50100-50201"`},
		{"small given range", sfuURL, sfuURL + "\n    ports {\n      udp = \"50100-50110\"\n    }", "error", `"50100-50110"`, "11 UDP ports are too few for 40", `"50100-50179"`},
		{"trailing slash", sfuURL, `url = "https://sfu.x.test/"`, "error", `"https://sfu.x.test/"`, "url ends in a slash", "write https://sfu.x.test"},
		{"http", authURL, `url = "http://jwt.x.test"`, "error", `"http://jwt.x.test"`, "not encrypted", "write https://jwt.x.test"},
		{"wss", sfuURL, `url = "wss://sfu.x.test"`, "error", `"wss://sfu.x.test"`, "wss://", "write https://sfu.x.test"},
		{"no URL", sfuURL, `url = "sfu.x.test"`, "error", `"sfu.x.test"`, "url is no URL", "https://"},
		{"an endpoint", authURL, `url = "https://jwt.x.test/sfu/get"`, "error", `"https://jwt.x.test/sfu/get"`, "/sfu/get", "write https://jwt.x.test"},
		{"odd path", authURL, `url = "https://jwt.x.test/a%20b"`, "error", `"https://jwt.x.test/a%20b"`, "cannot be a prefix", "/livekit/jwt"},
		{"query", authURL, `url = "https://jwt.x.test/?a=b"`, "error", `"https://jwt.x.test/?a=b"`, "more than a name and a path", "https://jwt.x.test"},
		{"URL with a port", authURL, `url = "https://jwt.x.test:8443"`, "error", `"https://jwt.x.test:8443"`, "443 only", "external"},
		{"same URL twice", authURL, `url = "https://sfu.x.test"`, "error", `"https://sfu.x.test"`, `this URL belongs to the SFU of site "x.test" already (line 7)`, "/livekit/jwt"},
		{"old JWT service", authURL, authURL + "\n    image = \"ghcr.io/element-hq/lk-jwt-service:0.7.1\"", "error", `"ghcr.io/element-hq/lk-jwt-service:0.7.1"`, "GHSA-rq24-fh66-rq7x", "0.8.0"},
		{"release candidate", authURL, authURL + "\n    image = \"x/lk-jwt-service:v0.8.0-rc.1\"", "error", `"x/lk-jwt-service:v0.8.0-rc.1"`, "GHSA-rq24-fh66-rq7x", "0.8.0"},
		{"latest", sfuURL, sfuURL + "\n    image = \"livekit/livekit-server:latest\"", "warning", `"livekit/livekit-server:latest"`, `the tag "latest" moves`, "v1.13.9"},
		{"floating tag", sfuURL, sfuURL + "\n    image = \"livekit/livekit-server:v1.13\"", "warning", `"livekit/livekit-server:v1.13"`, `the tag "v1.13" moves`, "v1.13.9"},
		{"no tag", sfuURL, sfuURL + "\n    image = \"livekit/livekit-server\"", "warning", `"livekit/livekit-server"`, "image has no tag", "v1.13.9"},
		{"no image", sfuURL, sfuURL + "\n    image = \"a b\"", "error", `"a b"`, "no image reference", "NAME:TAG"},
		{"bad container", sfuURL, sfuURL + "\n    container = \"a b\"", "error", `"a b"`, "no name for a container", "letters"},
		{"same container", sfuURL, sfuURL + "\n    container = \"element-call-jwt\"", "error", "auth", "the container name element-call-jwt belongs to the SFU", "container = "},
		{"root in a container", sfuURL, sfuURL + "\n    uid = 0", "error", "0", "uid 0 is root", "number"},
		{"name for an address", sfuURL, sfuURL + "\n    node_ip = \"sfu.x.test\"", "error", `"sfu.x.test"`, "node_ip is no IP address", "203.0.113.10"},
		{"loopback for clients", sfuURL, sfuURL + "\n    node_ip = \"127.0.0.1\"", "error", `"127.0.0.1"`, "clients cannot reach", "public address"},
		{"private for clients", sfuURL, sfuURL + "\n    node_ip = \"172.29.0.5\"", "warning", `"172.29.0.5"`, "node_ip 172.29.0.5 is private: only clients of that network can take part", "public address"},
		{"behind a provider's NAT", sfuURL, sfuURL + "\n    node_ip = \"100.64.0.5\"", "warning", `"100.64.0.5"`, "only clients of that network", "external_ip"},
		{"link-local for clients", sfuURL, sfuURL + "\n    node_ip = \"169.254.3.4\"", "warning", `"169.254.3.4"`, "only clients of that network", "public address"},
		{"private next to public", sfuURL, sfuURL + "\n    node_ip = \"203.0.113.1,fd00::1\"", "warning", `"203.0.113.1,fd00::1"`, "node_ip fd00::1 is private", "public address"},
		{"loopback in disguise", sfuURL, sfuURL + "\n    node_ip = \"::ffff:127.0.0.1\"", "error", `"::ffff:127.0.0.1"`, "clients cannot reach", "public address"},
		{"unspecified next to public", sfuURL, sfuURL + "\n    node_ip = \"203.0.113.1,::\"", "error", `"203.0.113.1,::"`, "clients cannot reach node_ip ::", "public address"},
		{"two of IPv4", sfuURL, sfuURL + "\n    node_ip = \"203.0.113.1,203.0.113.2\"", "error", `"203.0.113.1,203.0.113.2"`, "node_ip is no IP address", "one of IPv4 and one of IPv6"},
		{"three addresses", sfuURL, sfuURL + "\n    node_ip = \"203.0.113.1,2001:db8::1,2001:db8::2\"", "error", `"203.0.113.1,2001:db8::1,2001:db8::2"`, "node_ip is no IP address", "one of IPv4 and one of IPv6"},
		{"SFU open to the world", sfuURL, sfuURL + "\n    bind = \"0.0.0.0\"", "error", `"0.0.0.0"`, "the SFU on x listens on all addresses, without encryption", "remove the line"},
		{"JWT service open to the world", authURL, authURL + "\n    bind = \"::\"", "error", `"::"`, "the JWT service on x listens on all addresses, without encryption", "remove the line"},
		{"open behind an external proxy", `url  = "https://jwt.x.test"` + "\n  }\n  synapse \"debian\" { host = host.x }\n  proxy \"nginx\" { host = host.x }", authURL + "\n    bind = \"::ffff:0.0.0.0\"\n  }\n  synapse \"debian\" { host = host.x }\n  proxy \"external\" {}", "error", `"::ffff:0.0.0.0"`, "listens on all addresses", "remove the line"},
		{"both addresses", sfuURL, sfuURL + "\n    node_ip = \"203.0.113.1\"\n    external_ip = true", "error", "true", "node_ip and external_ip", "keep"},
		{"several SFUs", "host = host.x", "hosts = [host.x, host.x]", "error", "[host.x, host.x]", "several hosts is not built yet", "one host"},
		{"nobody may call", authURL, authURL + "\n    full_access = []", "error", "[]", "full_access is empty", "remove"},
		{"everybody may call", authURL, authURL + "\n    full_access = [\"*\"]", "warning", `["*"]`, "every homeserver", "server names"},
		{"devkey", sfuURL + "\n  }", sfuURL + "\n  }\n  livekit_keys {\n    key = \"devkey\"\n    secret = env(\"S\")\n  }", "error", "key", "devkey", "remove livekit_keys {}"},
		{"short secret", sfuURL + "\n  }", sfuURL + "\n  }\n  livekit_keys {\n    key = \"k\"\n    secret = \"0123456789012345678901234567890\"\n  }", "error", "secret", "secret is shorter than 32 characters", "openssl rand"},
		{"odd secret", sfuURL + "\n  }", sfuURL + "\n  }\n  livekit_keys {\n    key = \"k\"\n    secret = \"*1234567890123456789012345678901\"\n  }", "error", "secret", "secret must begin with a letter or a digit", "openssl rand"},
		{"odd key", sfuURL + "\n  }", sfuURL + "\n  }\n  livekit_keys {\n    key = \"a,b\"\n    secret = env(\"S\")\n  }", "error", "key", "key must begin with a letter or a digit and hold nothing else", "letters and digits"},
		{"key without quotes", sfuURL + "\n  }", sfuURL + "\n  }\n  livekit_keys {\n    key = API\n    secret = env(\"S\")\n  }", "error", "API", "this is no text", "quotes"},
		{"secret in the file", sfuURL + "\n  }", sfuURL + "\n  }\n  livekit_keys {\n    key = \"k\"\n    secret = \"01234567890123456789012345678901\"\n  }", "warning", "secret", "the secret stands in the plan file", "env("},
		{"half the credentials", sfuURL + "\n  }", sfuURL + "\n  }\n  livekit_keys {\n    key = \"k\"\n  }", "error", "livekit_keys", "wants key and secret", "remove the block"},
		{"traefik", `proxy "nginx" { host = host.x }`, `proxy "traefik" { host = host.x }`, "error", `"traefik"`, `proxy "traefik" is not supported`, `proxy "external"`},
		{"a space for Caddy", `proxy "nginx" { host = host.x }`, "proxy \"caddy\" {\n    host = host.x\n    certificate = \"/etc/my certs/c.pem\"\n    key = \"/etc/k.pem\"\n  }", "error", `"/etc/my certs/c.pem"`, "would need quotes in a Caddyfile", "letters"},
		{"synapse in docker", `synapse "debian"`, `synapse "docker"`, "error", `"docker"`, `synapse "docker" is not supported`, `synapse "external"`},
		{"firewalld", `  address = "203.0.113.10"`, "  address = \"203.0.113.10\"\n  firewall \"firewalld\" {}", "error", `"firewalld"`, `firewall "firewalld" is not supported`, `firewall "none"`},
		{"well-known elsewhere", `well_known "file" {`, `well_known "s3" {`, "error", `"s3"`, `well_known "s3" is not supported`, `well_known "external"`},
		{"misspelt variant", `proxy "nginx"`, `proxy "ngnix"`, "error", `"ngnix"`, `there is no proxy "ngnix"`, `did you mean proxy "nginx"?`},
		{"no label", `proxy "nginx"`, `proxy`, "error", `proxy`, "proxy {} needs a label", `proxy "nginx"`},
		{"web", sfuURL + "\n  }", sfuURL + "\n  }\n  web {}", "error", "web", "the Element Call app (web {}) is not built yet", "remove the block"},
		{"strict of nothing", sfuURL + "\n  }", sfuURL + "\n  }\n  verify {\n    level = \"http\"\n    strict = true\n  }", "error", `true`, "strict is about media", `level = "media"`},
		{"from nowhere", sfuURL + "\n  }", sfuURL + "\n  }\n  verify { from = [host.nobody] }", "error", `host.nobody`, "nobody", ``},
		{"two tokens", sfuURL + "\n  }", sfuURL + "\n  }\n  verify {\n    access_token {\n      env = \"A\"\n      file = \"b\"\n    }\n  }", "error", `access_token`, "needs exactly one source", `env = "NAME"`},
		{"unknown level", sfuURL + "\n  }", sfuURL + "\n  }\n  verify { level = \"all\" }", "error", `"all"`, `there is no level "all"`, `level = "media"`},
		{"dollar", `path = "/var/www/x.test/client"`, `path = "/var/www/$x/client"`, "error", `"/var/www/$x/client"`, "path holds a $", "move"},
		{"line end", `path = "/var/www/x.test/client"`, `path = "/var/www/\nx/client"`, "error", `"/var/www/\nx/client"`, "line end", "move"},
		{"relative path", `path = "/var/www/x.test/client"`, `path = "client"`, "error", `"client"`, "not an absolute path", "/etc"},
		{"half a certificate", `{ host = host.x }` + "\n  well_known", "{\n    host = host.x\n    key = \"/k\"\n  }\n  well_known", "error", `"/k"`, "key is there and certificate is not", "both"},
		{"bad duration", `synapse "debian" { host = host.x }`, "synapse \"debian\" {\n    host = host.x\n    start_timeout = \"soon\"\n  }", "error", `"soon"`, "start_timeout is no duration", "90s"},
		{"bad delay", `synapse "debian" { host = host.x }`, "synapse \"debian\" {\n    host = host.x\n    max_event_delay = \"1 day\"\n  }", "error", `"1 day"`, "max_event_delay is no duration", "24h"},
		{"unused host", "site \"x.test\"", "host \"y\" { address = \"y\" }\nsite \"x.test\"", "warning", `"y"`, `host "y" is used by no site`, "remove it"},
		{"host twice", "site \"x.test\"", "host \"x\" { address = \"y\" }\nsite \"x.test\"", "error", `"x"`, `host "x": duplicate block`, "another name"},
		{"user in an address", `"203.0.113.10"`, `"root@203.0.113.10"`, "error", `"root@203.0.113.10"`, "address holds a user", "user = "},
		{"bad SSH port", `  address = "203.0.113.10"`, "  address = \"a\"\n  port = 0", "error", "0", "port 0 is not a port", "1 to 65535"},
		{"bad become", `  address = "203.0.113.10"`, "  address = \"a\"\n  become = \"su\"", "error", `"su"`, `there is no way "su"`, `"sudo"`},
		{"two passwords", `  address = "203.0.113.10"`, "  address = \"a\"\n  sudo_password {\n    ask = true\n    env = \"P\"\n  }", "error", "sudo_password", "needs exactly one source", "one of ask"},
		{"server name", `site "x.test"`, `site "https://x.test"`, "error", `"https://x.test"`, "the site's label is a URL", "behind the colon"},
		{"loopback for another proxy", `sfu {` + "\n    host = host.x", "sfu {\n    host = host.s", "error", "sfu", "listens on 127.0.0.1, where the proxy on x cannot reach it", "bind = "},
		{"syntax", sfuURL, "url  = ", "error", "\n", "invalid expression", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
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
		})
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
