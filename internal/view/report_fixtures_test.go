package view

import (
	"time"

	"github.com/emdecloud/ecdeploy/internal/rtc"
)

// began is when the reports of the tests began.
var began = time.Date(2026, 3, 12, 14, 3, 5, 0, time.UTC)

// healthyReport is a site on two hosts over which calls work.
func healthyReport() rtc.Report {
	ok := func(id string, p rtc.Part, from string, took time.Duration, name string, evidence ...string) rtc.Link {
		return rtc.Link{ID: id, Name: name, Part: p, From: from, Status: rtc.OK, Took: took, Evidence: evidence}
	}
	const ms = time.Millisecond
	r := rtc.Report{
		Site: "example.org", From: "laptop", Began: began, Took: 12340 * ms,
		Links: []rtc.Link{
			ok("clock.matrix", rtc.Hosts, "laptop", 41*ms, "the clock of matrix", "4 ms ahead of this laptop's"),
			ok("clock.sfu", rtc.Hosts, "laptop", 38*ms, "the clock of sfu", "1 ms behind this laptop's"),
			ok("disk.sfu", rtc.Hosts, "sfu", 12*ms, "room on the disk of sfu", "17.2 GiB of 40 GiB are free"),
			ok("container.livekit", rtc.Hosts, "sfu", 21*ms, "LiveKit runs", "livekit-sfu is up for 3 days, started 1 time"),
			ok("container.jwt", rtc.Hosts, "matrix", 19*ms, "the JWT service runs", "element-call-jwt is up for 3 days"),
			ok("dns.sfu", rtc.Names, "laptop", 23*ms, "the name matrix-rtc-sfu.example.org", "203.0.113.10"),
			ok("dns.jwt", rtc.Names, "laptop", 22*ms, "the name matrix-rtc-jwt.example.org", "203.0.113.11"),
			ok("tls.sfu", rtc.Names, "laptop", 84*ms, "the certificate of matrix-rtc-sfu.example.org", "CN=matrix-rtc-sfu.example.org, by Let's Encrypt R11", "ends on 2026-05-30"),
			ok("tls.jwt", rtc.Names, "laptop", 81*ms, "the certificate of matrix-rtc-jwt.example.org", "ends on 2026-05-30"),
			ok("versions", rtc.Homeserver, "laptop", 61*ms, "Synapse has delayed events on", "org.matrix.msc4140: true"),
			ok("transports", rtc.Homeserver, "laptop", 58*ms, "Synapse tells clients where calls are", "livekit: https://matrix-rtc-jwt.example.org"),
			ok("well-known", rtc.Homeserver, "laptop", 49*ms, "the client well-known announces the backend", "GET https://example.org/.well-known/matrix/client: 200, application/json"),
			ok("jwt.cors", rtc.Auth, "laptop", 37*ms, "browsers may ask the JWT service", "OPTIONS /sfu/get: 200, Access-Control-Allow-Origin: *"),
			ok("openid", rtc.Auth, "matrix", 112*ms, "the JWT service can ask who a user is", "https://matrix.example.org:443/_matrix/federation/v1/openid/userinfo: 401"),
			ok("signal", rtc.Signalling, "laptop", 133*ms, "a WebSocket through the proxy to LiveKit", "101 Switching Protocols"),
			ok("signal.idle", rtc.Signalling, "laptop", 5*time.Second, "a silent WebSocket stays open", "5 s without a byte"),
			ok("media.candidates", rtc.Media, "laptop", 210*ms, "the addresses that LiveKit tells clients", "203.0.113.10:50123/udp", "203.0.113.10:7881/tcp"),
			ok("media.udp4", rtc.Media, "laptop", 2140*ms, "media over UDP"),
			ok("media.tcp4", rtc.Media, "laptop", 2310*ms, "media over TCP, for networks without UDP"),
			ok("user.token", rtc.AsUser, "laptop", 143*ms, "the JWT service gives a user a token", "can_publish, can_subscribe, room_join"),
		},
		Flows: []rtc.Flow{
			{Network: "udp4", Kind: "audio", Sent: 500, Packets: 500, Jitter: 0.84, RTT: 11.2, Pair: "prflx udp 10.0.0.2:4711 -> host udp 203.0.113.10:50123"},
			{Network: "udp4", Kind: "video", Sent: 1820, Packets: 1818, Lost: 2, Jitter: 1.31, RTT: 11.2, Pair: "prflx udp 10.0.0.2:4711 -> host udp 203.0.113.10:50123"},
			{Network: "tcp4", Kind: "audio", Sent: 500, Packets: 500, Jitter: 1.92, RTT: 12.6, Pair: "prflx tcp 10.0.0.2:39204 -> host tcp 203.0.113.10:7881"},
			{Network: "tcp4", Kind: "video", Sent: 1821, Packets: 1821, Jitter: 2.47, Pair: "prflx tcp 10.0.0.2:39204 -> host tcp 203.0.113.10:7881"},
		},
		Load: &rtc.Load{Participants: 20, Joined: 20, Seconds: 30, Flows: 380, Arrived: 380, Packets: 1728911, Expected: 1729380, WorstLoss: 0.0042},
	}
	r.Links[8].Status, r.Links[8].Code, r.Links[8].Evidence = rtc.Warning, "certificate-soon", []string{"ends in 9 days, on 2026-03-21"}
	r.Explained = rtc.Explain("certificate-soon")
	return r
}

// ailingReport is a site whose media is blocked in front of the host.
func ailingReport() rtc.Report {
	r := healthyReport()
	r.Site, r.Load = "emdecloud.de", nil
	r.Links = append([]rtc.Link{}, r.Links...)
	for i := range r.Links {
		switch l := &r.Links[i]; l.ID {
		case "tls.jwt":
			l.Status, l.Code, l.Evidence = rtc.OK, "", nil
		case "media.udp4":
			l.Status, l.Code, l.Side, l.Took = rtc.Failed, "blocked-udp", rtc.WaySide, 8230*time.Millisecond
			l.Evidence = []string{"5 packets to 203.0.113.10:50123 went out, and none was seen on the host's interface eth0", "ufw lets 50100-50200/udp in"}
		case "media.tcp4":
			l.Status, l.Code, l.Side = rtc.Failed, "livekit-restarts", rtc.HostSide
			l.Evidence = []string{"connection refused", "livekit-sfu was started 14 times;\nits last line: invalid config"}
		case "user.token":
			l.Status, l.Took, l.Evidence = rtc.NotSeen, 0, []string{"the plan file gives no access token"}
		}
	}
	r.Flows = []rtc.Flow{{Network: "udp4", Kind: "audio", Sent: 500}, {Network: "udp4", Kind: "video", Sent: 1820}}
	r.Explained = append(rtc.Explain("blocked-udp"), rtc.Explain("livekit-restarts")...)
	return r
}

// reportWithoutMedia is a site whose links work, where no media was tried.
func reportWithoutMedia() rtc.Report {
	r := healthyReport()
	r.Site, r.Load, r.Flows = "quiet.example.net", nil, nil
	r.Links = append([]rtc.Link{}, r.Links[:15]...)
	return r
}
