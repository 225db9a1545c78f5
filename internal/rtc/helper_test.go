package rtc

import "testing"

func TestParseEcho(t *testing.T) {
	got, err := parseEcho("ecdeploy-echo-00ff tcp 7881 0/0 udp 50100 20/19 .")
	if err != nil || len(got) != 2 || got[0] != (echoPort{tcp: true, port: 7881}) || got[1] != (echoPort{port: 50100, arrived: 20, replied: 19}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"",
		".",
		"perl x .",
		"ecdeploy-echo-1 tcp 7881 0/0 udp 501",
		"ecdeploy-echo-1 tcp 0 0/0 .",
		"ecdeploy-echo-1 tcp 1 0 .",
		"ecdeploy-echo-1 tcp 99999 0/0 .",
		"ecdeploy-echo-1 udp 1 0/0 udp 1 0/0 udp 1 0/0 udp 1 0/0 udp 1 0/0 ."} {
		if got, err := parseEcho(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}
