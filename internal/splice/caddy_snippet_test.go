package splice

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/hosttest/ports"
)

func TestCaddySite(t *testing.T) {
	got, err := CaddySite("rtc.example.org", []string{"/etc/ssl/c.pem", "/etc/ssl/k.pem"}, []CaddyRoute{
		{Name: "jwt", Prefix: "/livekit/jwt", Upstream: "127.0.0.1:8080", Set: [][2]string{{"Access-Control-Allow-Origin", "*"}}},
		{Name: "sfu", Upstream: "[::1]:7880", Quiet: true, Flush: true, Linger: 24 * time.Hour},
	})
	const want = `rtc.example.org {
	tls /etc/ssl/c.pem /etc/ssl/k.pem
	@ecdeploy_jwt {
		host rtc.example.org
		path /livekit/jwt /livekit/jwt/*
	}
	handle @ecdeploy_jwt {
		uri strip_prefix /livekit/jwt
		header {
			Access-Control-Allow-Origin "*"
			defer
		}
		reverse_proxy 127.0.0.1:8080
	}
	@ecdeploy_sfu {
		host rtc.example.org
	}
	handle @ecdeploy_sfu {
		vars {
			log_skip true
			skip_log true
		}
		reverse_proxy [::1]:7880 {
			flush_interval -1
			stream_close_delay 86400s
		}
	}
	respond 404
}
`
	if err != nil || got != want {
		t.Fatalf("%v\n%s", err, got)
	}
	c := readCaddy(t, caddySource(got))
	if i, doubt := c.SiteFor("rtc.example.org", ""); i != 0 || doubt != "" || len(c.Blocks[0].Directives) != 6 {
		t.Errorf("%d, %s, %s", i, doubt, flatCaddy(c))
	}
}

// Nothing that would end a token or a block gets into the text.
func TestCaddySnippetRefused(t *testing.T) {
	good := CaddyRoute{Name: "sfu", Prefix: "/sfu", Upstream: "127.0.0.1:7880"}
	for name, change := range map[string]func(r *CaddyRoute){
		"a name":           func(r *CaddyRoute) { r.Name = "a b" },
		"no name":          func(r *CaddyRoute) { r.Name = "" },
		"a slash":          func(r *CaddyRoute) { r.Prefix = "/" },
		"a slash too many": func(r *CaddyRoute) { r.Prefix = "/sfu/" },
		"a wildcard":       func(r *CaddyRoute) { r.Prefix = "/s*" },
		"a placeholder":    func(r *CaddyRoute) { r.Prefix = "/{env.X}" },
		"no port":          func(r *CaddyRoute) { r.Upstream = "127.0.0.1" },
		"a line break":     func(r *CaddyRoute) { r.Upstream = "127.0.0.1:1\n}" },
		"no file":          func(r *CaddyRoute) { r.File = "well-known" },
		"a file of dots":   func(r *CaddyRoute) { r.File = "/var/../x" },
		"a file in quotes": func(r *CaddyRoute) { r.File = "/var/a b" },
		"a file for all":   func(r *CaddyRoute) { r.File, r.Prefix = "/var/x", "" },
		"a header name":    func(r *CaddyRoute) { r.Set = [][2]string{{"-X", "y"}} },
		"a header value":   func(r *CaddyRoute) { r.Set = [][2]string{{"X", "y\"\n}"}} },
	} {
		r := good
		change(&r)
		if text, err := CaddySnippet("a.test", []CaddyRoute{r}); err == nil {
			t.Errorf("%s: %s", name, text)
		}
	}
	for _, host := range []string{"", "*.test", "a {", "{$X}"} {
		if _, err := CaddySnippet(host, []CaddyRoute{good}); err == nil {
			t.Errorf("host %q", host)
		}
	}
	if _, err := CaddySite("a.test", []string{"a b"}, nil); err == nil {
		t.Error("tls with a space")
	}
}

// What the site sets, our routes replace, and no token gets into its access log.
func TestCaddyRouteIsReal(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "https://service")
		fmt.Fprint(w, "service "+r.URL.Path)
	}))
	defer service.Close()
	for _, caddy := range findCaddies(t) {
		port, log := ports.Free(t), filepath.Join(t.TempDir(), "log")
		r := CaddyRoute{Name: "sfu", Prefix: "/sfu", Upstream: service.Listener.Addr().String(), Quiet: true}
		r.Set = [][2]string{{"Access-Control-Allow-Origin", "*"}}
		ours, err := CaddySnippet("a.test", []CaddyRoute{r})
		if err != nil {
			t.Fatal(err)
		}
		host := fmt.Sprintf("a.test:%d", port)
		stop := runCaddy(t, caddy, fmt.Sprintf("{\n\tadmin off\n}\nhttp://a.test:%d {\n%s\tlog {\n\t\toutput file %s\n\t}\n"+
			"\theader Access-Control-Allow-Origin https://site\n\trespond other\n}\n", port, ours, log))
		if got := askCaddy(t, port, host, "/sfu/rtc?access_token=secret"); got != "service /rtc" {
			t.Errorf("%s: %s", caddy, got)
		}
		if got := askCaddy(t, port, host, "/logged"); got != "other" {
			t.Errorf("%s: %s", caddy, got)
		}
		resp := getCaddy(t, port, host, "/sfu/")
		if got := strings.Join(resp.Header.Values("Access-Control-Allow-Origin"), " and "); got != "*" {
			t.Errorf("%s: allows %s", caddy, got)
		}
		stop()
		text, err := os.ReadFile(log)
		if err != nil || !strings.Contains(string(text), "/logged") || strings.Contains(string(text), "secret") {
			t.Errorf("%s: %v, %s", caddy, err, text)
		}
	}
}

// A file is served with our headers, from anywhere, under another name, whatever
// the site does with all other paths.
func TestCaddyFileIsReal(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "announcement"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, caddy := range findCaddies(t) {
		port := ports.Free(t)
		r := CaddyRoute{Name: "announce", Prefix: "/.well-known/matrix/client", File: filepath.Join(dir, "announcement")}
		r.Set = [][2]string{{"Content-Type", "application/json"}, {"Access-Control-Allow-Origin", "*"}}
		ours, err := CaddySnippet("a.test", []CaddyRoute{r})
		if err != nil {
			t.Fatal(err)
		}
		runCaddy(t, caddy, fmt.Sprintf("{\n\tadmin off\n}\nhttp://a.test:%d {\n%s\theader Access-Control-Allow-Origin https://site\n"+
			"\thandle /.well-known/* {\n\t\trespond other\n\t}\n\trespond other\n}\n", port, ours))
		host := fmt.Sprintf("a.test:%d", port)
		for path, want := range map[string]string{
			"/.well-known/matrix/client": "{} as application/json for *", "/.well-known/matrix/server": "other", "/.well-known/matrix/client/x": "other",
		} {
			resp := getCaddy(t, port, host, path)
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.TrimSpace(string(body))
			if got == "{}" {
				got += " as " + strings.Join(resp.Header.Values("Content-Type"), " and ") + " for " +
					strings.Join(resp.Header.Values("Access-Control-Allow-Origin"), " and ")
			}
			if got != want {
				t.Errorf("%s: %s is %s", caddy, path, got)
			}
		}
	}
}

// getCaddy asks for a path of a host.
func getCaddy(t *testing.T, port int, host, path string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}
