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
		{
			name:     "unknown block of the file",
			old:      "site \"x.test\" {",
			new:      "hots \"y\" {}\nsite \"x.test\" {",
			severity: "error",
			mark:     `hots "y"`,
			what:     `the plan file has no block "hots"`,
			fix:      "did you mean host?",
		},
		{"attribute as a block", sfuURL, sfuURL + "\n    ports = 1", "error", "ports", "ports is a block", "ports { ... }"},
		{"block as an attribute", sfuURL, sfuURL + "\n    image {}", "error", "image", "image is an attribute", "image = "},
		{"missing attribute", "    " + authURL + "\n", "", "error", "auth", "auth {} needs url", "add url = "},
		{
			name:     "missing SFU",
			old:      "  sfu {\n    host = host.x\n    " + sfuURL + "\n  }\n",
			new:      "",
			severity: "error",
			mark:     `site "x.test"`,
			what:     `site "x.test" has no sfu {}`,
			fix:      "add sfu {\n  host = host.NAME\n  url = ",
		},
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
		{
			name:     "range backwards",
			old:      sfuURL,
			new:      sfuURL + "\n    ports {\n      udp = \"50200-50100\"\n    }",
			severity: "error",
			mark:     `"50200-50100"`,
			what:     "udp ends before it begins",
			fix:      "50100-50200",
		},
		{"small range", sfuURL, sfuURL + "\n    participants = 51", "error", "51", "101 UDP ports are too few for 51 participants, who need 2 each", `"50100-50201"`},
		{
			name:     "small given range",
			old:      sfuURL,
			new:      sfuURL + "\n    ports {\n      udp = \"50100-50110\"\n    }",
			severity: "error",
			mark:     `"50100-50110"`,
			what:     "11 UDP ports are too few for 40",
			fix:      `"50100-50179"`,
		},
		{"trailing slash", sfuURL, `url = "https://sfu.x.test/"`, "error", `"https://sfu.x.test/"`, "url ends in a slash", "write https://sfu.x.test"},
		{"http", authURL, `url = "http://jwt.x.test"`, "error", `"http://jwt.x.test"`, "not encrypted", "write https://jwt.x.test"},
		{"wss", sfuURL, `url = "wss://sfu.x.test"`, "error", `"wss://sfu.x.test"`, "wss://", "write https://sfu.x.test"},
		{"no URL", sfuURL, `url = "sfu.x.test"`, "error", `"sfu.x.test"`, "url is no URL", "https://"},
		{"an endpoint", authURL, `url = "https://jwt.x.test/sfu/get"`, "error", `"https://jwt.x.test/sfu/get"`, "/sfu/get", "write https://jwt.x.test"},
		{"odd path", authURL, `url = "https://jwt.x.test/a%20b"`, "error", `"https://jwt.x.test/a%20b"`, "cannot be a prefix", "/livekit/jwt"},
		{"query", authURL, `url = "https://jwt.x.test/?a=b"`, "error", `"https://jwt.x.test/?a=b"`, "more than a name and a path", "https://jwt.x.test"},
		{"URL with a port", authURL, `url = "https://jwt.x.test:8443"`, "error", `"https://jwt.x.test:8443"`, "443 only", "external"},
		{
			name:     "same URL twice",
			old:      authURL,
			new:      `url = "https://sfu.x.test"`,
			severity: "error",
			mark:     `"https://sfu.x.test"`,
			what:     `this URL belongs to the SFU of site "x.test" already (line 7)`,
			fix:      "/livekit/jwt",
		},
		{
			name:     "old JWT service",
			old:      authURL,
			new:      authURL + "\n    image = \"ghcr.io/element-hq/lk-jwt-service:0.7.1\"",
			severity: "error",
			mark:     `"ghcr.io/element-hq/lk-jwt-service:0.7.1"`,
			what:     "GHSA-rq24-fh66-rq7x",
			fix:      "0.8.0",
		},
		{
			name:     "release candidate",
			old:      authURL,
			new:      authURL + "\n    image = \"x/lk-jwt-service:v0.8.0-rc.1\"",
			severity: "error",
			mark:     `"x/lk-jwt-service:v0.8.0-rc.1"`,
			what:     "GHSA-rq24-fh66-rq7x",
			fix:      "0.8.0",
		},
		{
			name:     "latest",
			old:      sfuURL,
			new:      sfuURL + "\n    image = \"livekit/livekit-server:latest\"",
			severity: "warning",
			mark:     `"livekit/livekit-server:latest"`,
			what:     `the tag "latest" moves`,
			fix:      "v1.13.9",
		},
		{
			name:     "floating tag",
			old:      sfuURL,
			new:      sfuURL + "\n    image = \"livekit/livekit-server:v1.13\"",
			severity: "warning",
			mark:     `"livekit/livekit-server:v1.13"`,
			what:     `the tag "v1.13" moves`,
			fix:      "v1.13.9",
		},
		{"no tag", sfuURL, sfuURL + "\n    image = \"livekit/livekit-server\"", "warning", `"livekit/livekit-server"`, "image has no tag", "v1.13.9"},
		{"no image", sfuURL, sfuURL + "\n    image = \"a b\"", "error", `"a b"`, "no image reference", "NAME:TAG"},
		{"bad container", sfuURL, sfuURL + "\n    container = \"a b\"", "error", `"a b"`, "no name for a container", "letters"},
		{
			name:     "same container",
			old:      sfuURL,
			new:      sfuURL + "\n    container = \"element-call-jwt\"",
			severity: "error",
			mark:     "auth",
			what:     "the container name element-call-jwt belongs to the SFU",
			fix:      "container = ",
		},
		{"root in a container", sfuURL, sfuURL + "\n    uid = 0", "error", "0", "uid 0 is root", "number"},
		{"name for an address", sfuURL, sfuURL + "\n    node_ip = \"sfu.x.test\"", "error", `"sfu.x.test"`, "node_ip is no IP address", "203.0.113.10"},
		{"loopback for clients", sfuURL, sfuURL + "\n    node_ip = \"127.0.0.1\"", "error", `"127.0.0.1"`, "clients cannot reach", "public address"},
		{
			name:     "private for clients",
			old:      sfuURL,
			new:      sfuURL + "\n    node_ip = \"172.29.0.5\"",
			severity: "warning",
			mark:     `"172.29.0.5"`,
			what:     "node_ip 172.29.0.5 is private: only clients of that network can take part",
			fix:      "public address",
		},
		{"behind a provider's NAT", sfuURL, sfuURL + "\n    node_ip = \"100.64.0.5\"", "warning", `"100.64.0.5"`, "only clients of that network", "external_ip"},
		{"link-local for clients", sfuURL, sfuURL + "\n    node_ip = \"169.254.3.4\"", "warning", `"169.254.3.4"`, "only clients of that network", "public address"},
		{
			name:     "private next to public",
			old:      sfuURL,
			new:      sfuURL + "\n    node_ip = \"203.0.113.1,fd00::1\"",
			severity: "warning",
			mark:     `"203.0.113.1,fd00::1"`,
			what:     "node_ip fd00::1 is private",
			fix:      "public address",
		},
		{"loopback in disguise", sfuURL, sfuURL + "\n    node_ip = \"::ffff:127.0.0.1\"", "error", `"::ffff:127.0.0.1"`, "clients cannot reach", "public address"},
		{
			name:     "unspecified next to public",
			old:      sfuURL,
			new:      sfuURL + "\n    node_ip = \"203.0.113.1,::\"",
			severity: "error",
			mark:     `"203.0.113.1,::"`,
			what:     "clients cannot reach node_ip ::",
			fix:      "public address",
		},
		{
			name:     "two of IPv4",
			old:      sfuURL,
			new:      sfuURL + "\n    node_ip = \"203.0.113.1,203.0.113.2\"",
			severity: "error",
			mark:     `"203.0.113.1,203.0.113.2"`,
			what:     "node_ip is no IP address",
			fix:      "one of IPv4 and one of IPv6",
		},
		{
			name:     "three addresses",
			old:      sfuURL,
			new:      sfuURL + "\n    node_ip = \"203.0.113.1,2001:db8::1,2001:db8::2\"",
			severity: "error",
			mark:     `"203.0.113.1,2001:db8::1,2001:db8::2"`,
			what:     "node_ip is no IP address",
			fix:      "one of IPv4 and one of IPv6",
		},
		{
			name:     "SFU open to the world",
			old:      sfuURL,
			new:      sfuURL + "\n    bind = \"0.0.0.0\"",
			severity: "error",
			mark:     `"0.0.0.0"`,
			what:     "the SFU on x listens on all addresses, without encryption",
			fix:      "remove the line",
		},
		{
			name:     "JWT service open to the world",
			old:      authURL,
			new:      authURL + "\n    bind = \"::\"",
			severity: "error",
			mark:     `"::"`,
			what:     "the JWT service on x listens on all addresses, without encryption",
			fix:      "remove the line",
		},
		{
			name:     "open behind an external proxy",
			old:      `url  = "https://jwt.x.test"` + "\n  }\n  synapse \"debian\" { host = host.x }\n  proxy \"nginx\" { host = host.x }",
			new:      authURL + "\n    bind = \"::ffff:0.0.0.0\"\n  }\n  synapse \"debian\" { host = host.x }\n  proxy \"external\" {}",
			severity: "error",
			mark:     `"::ffff:0.0.0.0"`,
			what:     "listens on all addresses",
			fix:      "remove the line",
		},
		{"both addresses", sfuURL, sfuURL + "\n    node_ip = \"203.0.113.1\"\n    external_ip = true", "error", "true", "node_ip and external_ip", "keep"},
		{"several SFUs", "host = host.x", "hosts = [host.x, host.x]", "error", "[host.x, host.x]", "several hosts is not built yet", "one host"},
		{"nobody may call", authURL, authURL + "\n    full_access = []", "error", "[]", "full_access is empty", "remove"},
		{"everybody may call", authURL, authURL + "\n    full_access = [\"*\"]", "warning", `["*"]`, "every homeserver", "server names"},
		{
			name:     "devkey",
			old:      sfuURL + "\n  }",
			new:      sfuURL + "\n  }\n  livekit_keys {\n    key = \"devkey\"\n    secret = env(\"S\")\n  }",
			severity: "error",
			mark:     "key",
			what:     "devkey",
			fix:      "remove livekit_keys {}",
		},
		{
			name:     "short secret",
			old:      sfuURL + "\n  }",
			new:      sfuURL + "\n  }\n  livekit_keys {\n    key = \"k\"\n    secret = \"0123456789012345678901234567890\"\n  }",
			severity: "error",
			mark:     "secret",
			what:     "secret is shorter than 32 characters",
			fix:      "openssl rand",
		},
		{
			name:     "odd secret",
			old:      sfuURL + "\n  }",
			new:      sfuURL + "\n  }\n  livekit_keys {\n    key = \"k\"\n    secret = \"*1234567890123456789012345678901\"\n  }",
			severity: "error",
			mark:     "secret",
			what:     "secret must begin with a letter or a digit",
			fix:      "openssl rand",
		},
		{
			name:     "odd key",
			old:      sfuURL + "\n  }",
			new:      sfuURL + "\n  }\n  livekit_keys {\n    key = \"a,b\"\n    secret = env(\"S\")\n  }",
			severity: "error",
			mark:     "key",
			what:     "key must begin with a letter or a digit and hold nothing else",
			fix:      "letters and digits",
		},
		{
			name:     "key without quotes",
			old:      sfuURL + "\n  }",
			new:      sfuURL + "\n  }\n  livekit_keys {\n    key = API\n    secret = env(\"S\")\n  }",
			severity: "error",
			mark:     "API",
			what:     "this is no text",
			fix:      "quotes",
		},
		{
			name:     "secret in the file",
			old:      sfuURL + "\n  }",
			new:      sfuURL + "\n  }\n  livekit_keys {\n    key = \"k\"\n    secret = \"01234567890123456789012345678901\"\n  }",
			severity: "warning",
			mark:     "secret",
			what:     "the secret stands in the plan file",
			fix:      "env(",
		},
		{
			name:     "half the credentials",
			old:      sfuURL + "\n  }",
			new:      sfuURL + "\n  }\n  livekit_keys {\n    key = \"k\"\n  }",
			severity: "error",
			mark:     "livekit_keys",
			what:     "wants key and secret",
			fix:      "remove the block",
		},
		{
			name:     "traefik",
			old:      `proxy "nginx" { host = host.x }`,
			new:      `proxy "traefik" { host = host.x }`,
			severity: "error",
			mark:     `"traefik"`,
			what:     `proxy "traefik" is not supported`,
			fix:      `proxy "external"`,
		},
		{
			name:     "a space for Caddy",
			old:      `proxy "nginx" { host = host.x }`,
			new:      "proxy \"caddy\" {\n    host = host.x\n    certificate = \"/etc/my certs/c.pem\"\n    key = \"/etc/k.pem\"\n  }",
			severity: "error",
			mark:     `"/etc/my certs/c.pem"`,
			what:     "would need quotes in a Caddyfile",
			fix:      "letters",
		},
		{"synapse in docker", `synapse "debian"`, `synapse "docker"`, "error", `"docker"`, `synapse "docker" is not supported`, `synapse "external"`},
		{
			name:     "firewalld",
			old:      `  address = "203.0.113.10"`,
			new:      "  address = \"203.0.113.10\"\n  firewall \"firewalld\" {}",
			severity: "error",
			mark:     `"firewalld"`,
			what:     `firewall "firewalld" is not supported`,
			fix:      `firewall "none"`,
		},
		{"well-known elsewhere", `well_known "file" {`, `well_known "s3" {`, "error", `"s3"`, `well_known "s3" is not supported`, `well_known "external"`},
		{"misspelt variant", `proxy "nginx"`, `proxy "ngnix"`, "error", `"ngnix"`, `there is no proxy "ngnix"`, `did you mean proxy "nginx"?`},
		{"no label", `proxy "nginx"`, `proxy`, "error", `proxy`, "proxy {} needs a label", `proxy "nginx"`},
		{"web", sfuURL + "\n  }", sfuURL + "\n  }\n  web {}", "error", "web", "the Element Call app (web {}) is not built yet", "remove the block"},
		{
			name:     "strict of nothing",
			old:      sfuURL + "\n  }",
			new:      sfuURL + "\n  }\n  verify {\n    level = \"http\"\n    strict = true\n  }",
			severity: "error",
			mark:     `true`,
			what:     "strict is about media",
			fix:      `level = "media"`,
		},
		{"from nowhere", sfuURL + "\n  }", sfuURL + "\n  }\n  verify { from = [host.nobody] }", "error", `host.nobody`, "nobody", ``},
		{
			name:     "two tokens",
			old:      sfuURL + "\n  }",
			new:      sfuURL + "\n  }\n  verify {\n    access_token {\n      env = \"A\"\n      file = \"b\"\n    }\n  }",
			severity: "error",
			mark:     `access_token`,
			what:     "needs exactly one source",
			fix:      `env = "NAME"`,
		},
		{"unknown level", sfuURL + "\n  }", sfuURL + "\n  }\n  verify { level = \"all\" }", "error", `"all"`, `there is no level "all"`, `level = "media"`},
		{"dollar", `path = "/var/www/x.test/client"`, `path = "/var/www/$x/client"`, "error", `"/var/www/$x/client"`, "path holds a $", "move"},
		{"line end", `path = "/var/www/x.test/client"`, `path = "/var/www/\nx/client"`, "error", `"/var/www/\nx/client"`, "line end", "move"},
		{"relative path", `path = "/var/www/x.test/client"`, `path = "client"`, "error", `"client"`, "not an absolute path", "/etc"},
		{
			name:     "half a certificate",
			old:      `{ host = host.x }` + "\n  well_known",
			new:      "{\n    host = host.x\n    key = \"/k\"\n  }\n  well_known",
			severity: "error",
			mark:     `"/k"`,
			what:     "key is there and certificate is not",
			fix:      "both",
		},
		{
			name:     "bad duration",
			old:      `synapse "debian" { host = host.x }`,
			new:      "synapse \"debian\" {\n    host = host.x\n    start_timeout = \"soon\"\n  }",
			severity: "error",
			mark:     `"soon"`,
			what:     "start_timeout is no duration",
			fix:      "90s",
		},
		{
			name:     "bad delay",
			old:      `synapse "debian" { host = host.x }`,
			new:      "synapse \"debian\" {\n    host = host.x\n    max_event_delay = \"1 day\"\n  }",
			severity: "error",
			mark:     `"1 day"`,
			what:     "max_event_delay is no duration",
			fix:      "24h",
		},
		{"unused host", "site \"x.test\"", "host \"y\" { address = \"y\" }\nsite \"x.test\"", "warning", `"y"`, `host "y" is used by no site`, "remove it"},
		{"host twice", "site \"x.test\"", "host \"x\" { address = \"y\" }\nsite \"x.test\"", "error", `"x"`, `host "x": duplicate block`, "another name"},
		{"user in an address", `"203.0.113.10"`, `"root@203.0.113.10"`, "error", `"root@203.0.113.10"`, "address holds a user", "user = "},
		{"bad SSH port", `  address = "203.0.113.10"`, "  address = \"a\"\n  port = 0", "error", "0", "port 0 is not a port", "1 to 65535"},
		{"bad become", `  address = "203.0.113.10"`, "  address = \"a\"\n  become = \"su\"", "error", `"su"`, `there is no way "su"`, `"sudo"`},
		{
			name:     "two passwords",
			old:      `  address = "203.0.113.10"`,
			new:      "  address = \"a\"\n  sudo_password {\n    ask = true\n    env = \"P\"\n  }",
			severity: "error",
			mark:     "sudo_password",
			what:     "needs exactly one source",
			fix:      "one of ask",
		},
		{"server name", `site "x.test"`, `site "https://x.test"`, "error", `"https://x.test"`, "the site's label is a URL", "behind the colon"},
		{
			name:     "loopback for another proxy",
			old:      `sfu {` + "\n    host = host.x",
			new:      "sfu {\n    host = host.s",
			severity: "error",
			mark:     "sfu",
			what:     "listens on 127.0.0.1, where the proxy on x cannot reach it",
			fix:      "bind = ",
		},
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
