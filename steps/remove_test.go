package steps

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/internal/splice"
)

func decideStep(t *testing.T, s Step, o host.Observer) Decision {
	t.Helper()
	facts, err := s.Probe(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var shared Shared
	facts.Share(&shared)
	d, err := facts.Diff(shared)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// inWords is a decision as a plan would show it, a line for each thing.
func inWords(d Decision) string {
	var out []string
	for _, c := range d.Changes {
		s := c.Summary()
		out = append(out, s.Verb+" "+s.Title)
		out = append(out, s.Details...)
	}
	for _, f := range d.Findings {
		out = append(out, string(f.Severity)+": "+f.Summary)
	}
	return strings.Join(out, "\n")
}

func TestRemoveReservedPorts(t *testing.T) {
	const head = "# Ports that outgoing connections must not take. Written by ecdeploy.\n"
	for _, c := range []struct {
		name     string
		live     string
		ours     string // what our file reserves; "" for no such file
		before   string // what it says was reserved before
		others   map[string]string
		sites    []string
		wantFile string // "-" removed, "" no change
		wantLive string
	}{
		{name: "nothing was reserved"},
		{name: "the last site", live: "50100-50200", ours: "50100-50200", wantFile: "-", wantLive: ""},
		{name: "an admin's file reserves, too", live: "8080,50050-50200", ours: "8080,50050-50200", others: map[string]string{"/etc/sysctl.d/10-web.conf": "8080,50050-50120"}, wantFile: "-", wantLive: "8080,50050-50120"},
		{name: "reserved by hand beside ours", live: "9000,50100-50200", ours: "50100-50200", wantFile: "-", wantLive: "9000"},
		{name: "reserved by hand before the first apply", live: "8080,50100-50200", before: "8080", ours: "8080,50100-50200", wantFile: "-", wantLive: "8080"},
		{name: "another site stays", live: "40000-40100,50100-50200", ours: "40000-40100,50100-50200", sites: []string{"other.org"}, wantFile: "40000-40100", wantLive: "40000-40100"},
		{name: "an older range of the last site", live: "50000-50200", ours: "50000-50200", sites: []string{"example.org"}, wantFile: "-", wantLive: ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := fakeObserver{files: map[string]string{}, answer: func(argv string) host.Result {
				if strings.HasPrefix(argv, "cat ") {
					return host.Result{Stdout: []byte("32768\t60999\n" + c.live + "\n")}
				}
				return host.Result{}
			}}
			if c.ours != "" {
				o.files[sysctlFile] = reservedText(parseRanges(c.ours), parseRanges(c.before)).Masked()
			}
			for p, v := range c.others {
				o.files[p] = reservedKey + " = " + v + "\n"
			}
			f, err := probePorts(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			f.sites = c.sites
			d := f.giveBack(testSite())
			if c.wantFile == "" {
				if len(d.Changes) > 0 {
					t.Fatal(inWords(d))
				}
				return
			}
			files := d.Changes[0].(*Files)
			got := strings.TrimSpace(strings.TrimPrefix(files.Edits[0].Text.Masked(), head+reservedKey+" = "))
			if files.Edits[0].Remove {
				got = "-"
			}
			if got != c.wantFile || !strings.Contains(files.Activate, "'"+c.wantLive+"'") || !strings.Contains(files.Reactivate, "'"+c.live+"'") {
				t.Errorf("file %q, live %q, undo %q", got, files.Activate, files.Reactivate)
			}
		})
	}
}

func TestSubtractRanges(t *testing.T) {
	for _, c := range [][3]string{
		{"1-10", "3-4", "1-2,5-10"}, {"1-10", "1-10", ""}, {"1-10", "20", "1-10"}, {"1-10,20", "5-20", "1-4"}, {"5", "1-9", ""}, {"1-3,4-6", "", "1-6"}, {"10-20", "5-10,20-30", "11-19"},
	} {
		if got := formatRanges(subtractRanges(parseRanges(c[0]), parseRanges(c[1]))); got != c[2] {
			t.Errorf("%s without %s is %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestRemoveComponent(t *testing.T) {
	const secret = "TheSecretOfTheTest0123456789abcdefghijklmnop"
	container := func(labels string) host.Result {
		return host.Result{Stdout: []byte(`[{"Id":"old","Image":"sha256:i","State":{"Running":true},"HostConfig":{"RestartPolicy":{"Name":"always"}},"Config":{"Labels":{` + labels + `}}}]`)}
	}
	files := map[string]string{"/etc/ecdeploy/example.org/sfu/livekit-config.yaml": "port: 7880\n", "/etc/ecdeploy/example.org/sfu/keys.yaml": "TheKeyOfTheTest: " + secret + "\n"}
	removed := "- /etc/ecdeploy/example.org/sfu/livekit-config.yaml\n- /etc/ecdeploy/example.org/sfu/keys.yaml"
	for _, c := range []struct {
		name      string
		container host.Result
		engine    int
		files     map[string]string
		want      string
		others    string
	}{
		{"ours", container(`"ecdeploy.site":"example.org"`), 0, files, "- container livekit-sfu\nit is set aside until `ecdeploy prune`\nits image is kept\n" + removed, ""},
		{"another site's", container(`"ecdeploy.site":"other.org"`), 0, nil, "note: container livekit-sfu on h is not the site's and stays", ""},
		{"somebody else's", container(""), 0, files, "- files of sfu\n" + removed + "\nnote: container livekit-sfu on h is not the site's and stays", ""},
		{"gone", host.Result{Code: 1}, 0, files, "- files of sfu\n" + removed, ""},
		{"all gone", host.Result{Code: 1}, 0, nil, "", ""},
		{"the engine is down", host.Result{Code: 1}, 1, files, "error: the Docker engine on h does not answer", ""},
		{"no Docker any more", host.Result{Code: 127}, 127, nil, "", ""},
		{"another name, and one that was set aside", host.Result{Code: 1}, 0, files, "- container my-sfu\nthe site's, though the plan file does not name it any more\nit is set aside until `ecdeploy prune`\n- files of sfu\n" + removed,
			"id1\tmy-sfu\nid2\telement-call-jwt\nid3\tlivekit-sfu.ecdeploy-R\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := fakeObserver{files: c.files, answer: func(argv string) host.Result {
				switch {
				case strings.HasPrefix(argv, "docker version"):
					return host.Result{Code: c.engine}
				case strings.HasPrefix(argv, "docker ps"):
					return host.Result{Stdout: []byte(c.others)}
				}
				return c.container
			}}
			d := decideStep(t, RemoveSFU(testSite()), o)
			if diff := cmp.Diff(c.want, inWords(d)); diff != "" {
				t.Error(diff)
			}
			for _, change := range d.Changes {
				b, err := MarshalChange(change)
				if err != nil || strings.Contains(string(b), secret) {
					t.Errorf("%s, %v", b, err)
				}
				if _, err := change.Resolve(t.Context(), Env{Host: o, Run: "R", Secrets: KeySecrets(livekit.Keys{Key: host.NewSecret("TheKeyOfTheTest"), Secret: host.NewSecret(secret)})}); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// layersOf is a host on which runs have made of a file each second text out of the
// one before, and on which it is now as in now.
func layersOf(title, path, now string, texts ...string) fakeObserver {
	o := fakeObserver{files: map[string]string{path: now}}
	var listed strings.Builder
	for i := 0; i+1 < len(texts); i += 2 {
		dir := Root + "/origins/example.org/" + string(rune('0'+i))
		o.files[dir+"/before"], o.files[dir+"/after"] = texts[i], texts[i+1]
		listed.WriteString(dir + "/before\t" + dir + "/after\t" + title + "\t" + path + "\n")
	}
	o.answer = func(argv string) host.Result {
		if strings.Contains(argv, "origins/") {
			return host.Result{Stdout: []byte(listed.String())}
		}
		return host.Result{}
	}
	return o
}

func TestRemoveWellKnown(t *testing.T) {
	const path = "/var/www/client"
	before := `{"m.homeserver": {"base_url": "https://a"}}` + "\n"
	ours := func(url string) string {
		edits, err := splice.RTCFoci([]byte(before), url)
		if err != nil {
			t.Fatal(err)
		}
		b, err := splice.Apply([]byte(before), edits)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	one, two := ours("https://one.example.org"), ours("https://two.example.org")
	for _, c := range []struct {
		name  string
		now   string
		texts []string
		want  string // the file afterwards
		says  string
	}{
		{"one run", one, []string{before, one}, before, ""},
		{"two runs", two, []string{before, one, one, two}, before, ""},
		{"a human in between", strings.Replace(two, "https://a", "https://b", 1), []string{before, one, one, two}, strings.Replace(before, "https://a", "https://b", 1), ""},
		{"a human between the runs", strings.Replace(two, "https://a", "https://b", 1),
			[]string{before, one, strings.Replace(one, "https://a", "https://b", 1), strings.Replace(two, "https://a", "https://b", 1)}, strings.Replace(before, "https://a", "https://b", 1), ""},
		{"nothing was done", before, nil, before, ""},
		{"a human took it out", before, []string{before, one}, before, ""},
		{"a human wrote another URL", strings.Replace(one, "one", "own", 1), []string{before, one}, strings.Replace(one, "one", "own", 1), "warning: somebody else changed in /var/www/client"},
		{"a human wrote all anew", strings.ReplaceAll(ours(testSite().Auth.URL), " ", ""), []string{before, ours(testSite().Auth.URL)}, strings.ReplaceAll(ours(testSite().Auth.URL), " ", ""), "error: /var/www/client would still announce https://matrix-rtc-jwt.example.org"},
		{"nobody remembers", ours(testSite().Auth.URL), nil, ours(testSite().Auth.URL), "error: /var/www/client would still announce"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := layersOf(titleWellKnown, path, c.now, c.texts...)
			d := decideStep(t, RemoveWellKnown(testSite(), WellKnownFile{Host: "h", Path: path}), o)
			got := c.now
			if len(d.Changes) > 0 {
				files := d.Changes[0].(*Files)
				b, err := splice.Apply([]byte(c.now), files.Edits[0].Edits)
				if err != nil {
					t.Fatal(err)
				}
				got = string(b)
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if !strings.Contains(inWords(d), c.says) || c.says == "" && len(d.Findings) > 0 {
				t.Error(inWords(d))
			}
		})
	}
	o := layersOf(titleWellKnown, path, one, before, one)
	delete(o.files, path)
	if got := inWords(decideStep(t, RemoveWellKnown(testSite(), WellKnownFile{Path: path}), o)); got != "note: /var/www/client is not there any more: there is nothing to take back in it" {
		t.Error(got)
	}
	// Layers of other parts of the site are not its business.
	if got := inWords(decideStep(t, RemoveWellKnown(testSite(), WellKnownFile{Path: path}), layersOf(titleNginx, path, one, before, one))); got != "" {
		t.Error(got)
	}
}
