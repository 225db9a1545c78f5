package plans

import (
	"encoding/json"
	"strings"
	"testing"
)

// namedCanary stands for a secret; it begins like a name, so that nothing but the place
// tells that it is not one.
const namedCanary = "APIsYt0cAnArY9x"

// No message quotes a secret, be the attribute or the block right or wrong. Each
// line is put into a plan file together with a mistake in the same line or block.
func TestMistakesQuoteNoSecrets(t *testing.T) {
	inHost := func(text string) string {
		return strings.Replace(rightFile, "  address = ", "  "+text+"\n  address = ", 1)
	}
	inSite := func(text string) string { return strings.Replace(rightFile, "  synapse", "  "+text+"\n  synapse", 1) }
	for _, text := range []string{
		inSite("verify {\n    access_token = \"CANARY\"\n  }"), inSite("verify {\n    token = \"CANARY\"\n  }"),
		inSite("verify {\n    access_token {\n      value = \"CANARY\"\n    }\n  }"), inSite("access_token = \"CANARY\""),
		inHost("sudo_password {\n    value = \"CANARY\"\n  }"), inHost("sudo_pass = \"CANARY\""), inHost("passphrase = \"CANARY\""),
		inHost("sudo_password = \"CANARY\""), inHost("sudo_password \"CANARY\" {\n    ask = true\n  }"),
		inHost("sudo_password {\n    env = \"CANARY\"\n    aks = true\n  }"), inHost("sudo_password {\n    ask = \"CANARY\"\n  }"),
		inSite("livekit_keys = \"CANARY: CANARY\""), inSite("livekit_keys {\n    key = CANARY\n  }"),
		inSite("livekit_keys {\n    kye = \"CANARY\"\n  }"), inSite("livekit_kyes {\n    secret = \"CANARY\"\n  }"),
		inSite("livekit_keys {\n    key = env(\"CANARY\")\n    secret = file(\"CANARY\") \n    x = 1\n  }"),
		inSite("livekit_keys {\n    key = env(\"CANARY\")\n    secret = env(\"CANARY\")\n  }"),
		inSite("livekit_keys {\n    key = file(\"CANARY\")\n    secret = file(\"CANARY\")\n  }"),
		inSite("livekit_keys {\n    key = \"CANARY\"\n    secret = \"CANARY\"\n  }"), inSite("sfu_secret = [\"CANARY\"]"),
	} {
		_, mistakes := load("hosts.hcl", []byte(strings.ReplaceAll(text, "CANARY", namedCanary)), LoadOptions{Environ: environ})
		if len(mistakes) == 0 {
			t.Errorf("no mistake in\n%s", text)
		}
		b, err := json.Marshal(mistakes)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), namedCanary) {
			t.Errorf("the secret shows in %s", b)
		}
	}
}

// Where a secret comes from is no secret, nor is what only sounds like one.
func TestMistakesShowNames(t *testing.T) {
	for _, c := range []struct{ text, shown string }{
		{"livekit_keys {\n    key = env(\"LIVEKIT_KEY\", 1)\n    secret = file(\"a.txt\")\n  }", "LIVEKIT_KEY"},
		{"livekit_keys {\n    key = env(\"LIVEKIT_KEY\")\n    secret = file(\"secrets/livekit.txt\", 1)\n  }", "secrets/livekit.txt"},
		{"verify {\n    access_token {\n      env = \"MATRIX_TOKEN\"\n      file = \"~/token\"\n    }\n  }", "access_token"},
	} {
		_, mistakes := load("hosts.hcl", []byte(strings.Replace(rightFile, "  synapse", "  "+c.text+"\n  synapse", 1)), LoadOptions{Environ: environ})
		var shown strings.Builder
		for _, m := range mistakes {
			shown.WriteString(m.Snippet + "\n")
		}
		if len(mistakes) == 0 || !strings.Contains(shown.String(), c.shown) {
			t.Errorf("%s\nshows %q", c.text, shown.String())
		}
	}
	text := strings.Replace(rightFile, `proxy "nginx" { host = host.x }`, "proxy \"nginx\" {\n    host = host.x\n    key = \"etc/x.pem\"\n  }", 1)
	_, mistakes := load("hosts.hcl", []byte(text), LoadOptions{Environ: environ})
	if b, err := json.Marshal(mistakes); err != nil || !strings.Contains(string(b), "etc/x.pem") {
		t.Errorf("the path of a key is hidden: %s, %v", b, err)
	}
}
