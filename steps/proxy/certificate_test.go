package proxy

import (
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
)

func TestReadCertificateBehindAKey(t *testing.T) {
	text := "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n" + suite.PEM(t, 60, "rtc.example.org")
	if c := ReadCertificate(host.File{Path: "/c.pem", Exists: true, Data: []byte(text)}); !c.Covers("rtc.example.org") {
		t.Errorf("got %+v", c)
	}
}
