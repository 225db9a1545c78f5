package main

// fieldFaults are what people who run MatrixRTC meet, again and again.
var fieldFaults = []string{
	1:  "nothing is advertised",
	2:  "the list of transports is empty",
	3:  "the JWT service cannot ask who a user is",
	4:  "a private address, or a bridge's, is told",
	5:  "UDP is closed",
	6:  "LiveKit restarts for want of a STUN server",
	7:  "unable to create room on SFU",
	8:  "the prefix is not stripped: 404",
	9:  "the JWT service's container is unhealthy",
	10: "the JWT service ends for want of its list of homeservers",
	11: "several addresses are told",
	12: "CORS",
	13: "delayed events are off, or limited",
	14: "a change had no effect",
	15: "a docker-proxy for each UDP port",
}

const (
	udpTo   = "to udp dport 50100-50200"
	tcpTo   = "to tcp dport 7881"
	saveUFW = "save /etc/ufw/user.rules /etc/ufw/user6.rules\n"
	backUFW = "back; ufw reload"
	sfuName = "matrix-rtc-sfu." + verifyHost + ".test"
)

// wayFaults are on the way to the site, and at the laptop.
var wayFaults = []verifyFault{
	{
		name:   "UDP range closed in ufw",
		field:  5,
		breaks: saveUFW + "ufw delete allow 50100:50200/udp",
		fixes:  backUFW,
		ids:    []string{"media.udp4"},
		code:   "firewall-udp",
	},
	{name: "7881 closed in ufw", breaks: saveUFW + "ufw delete allow 7881/tcp", fixes: backUFW, ids: []string{"media.tcp4"}, code: "firewall-tcp"},
	{
		name:   "UDP and 7881 rejected in ufw",
		field:  5,
		breaks: saveUFW + "ufw reject 50100:50200/udp; ufw reject 7881/tcp",
		fixes:  backUFW,
		ids:    []string{"media.udp4"},
		code:   "firewall-udp",
	},
	{name: "443 closed in ufw", breaks: saveUFW + "ufw delete allow 443/tcp", fixes: backUFW, ids: []string{"tls.sfu"}, code: "https-closed"},
	{name: "UDP dropped in front of the host", field: 5, outer: []string{udpTo}, ids: []string{"media.udp4"}, code: "blocked-udp"},
	{name: "7881 dropped in front of the host", outer: []string{tcpTo}, ids: []string{"media.tcp4"}, code: "blocked-tcp"},
	{name: "UDP and 7881 dropped in front of the host", field: 5, outer: []string{udpTo, tcpTo}, ids: []string{"media.udp4"}, code: "blocked-udp"},
	{name: "443 dropped in front of the host", outer: []string{"to tcp dport 443"}, ids: []string{"tls.sfu"}, code: "https-blocked"},
	{
		name:   "UDP answers dropped in front of the host",
		field:  5,
		outer:  []string{"from udp sport 50100-50200"},
		helper: true,
		ids:    []string{"media.udp4"},
		code:   "return-path",
	},
	{name: "7881's answers dropped in front of the host", outer: []string{"from tcp sport 7881"}, ids: []string{"media.tcp4"}, code: "return-path"},
	{name: "a name leads to a machine where nobody answers", names: map[string]string{sfuName: "%GATEWAY"}, ids: []string{"dns.sfu"}, code: "name-elsewhere"},
	{
		name:  "a name leads to somebody else's site",
		names: map[string]string{sfuName: "%GATEWAY"},
		here:  (*verifyLane).somebodyElse,
		ids:   []string{"dns.sfu"},
		code:  "name-elsewhere",
	},
	{name: "a name does not resolve", names: map[string]string{sfuName: ""}, ids: []string{"dns.sfu"}, code: "name-unknown"},
	{
		name:   "the host does not reach its own public address",
		breaks: "iptables -I OUTPUT -o lo -d $(hostname -i) -p tcp --dport 443 -j DROP",
		fixes:  "iptables -D OUTPUT -o lo -d $(hostname -i) -p tcp --dport 443 -j DROP",
		ids:    []string{"openid", "sfu.create-inside"},
		code:   "hairpin",
	},
	{name: "the laptop's clock an hour ahead", clock: "1h", ids: []string{"clock"}, code: "clock"},
	{name: "the laptop's clock an hour behind", clock: "-1h", ids: []string{"clock"}, code: "clock"},
	{name: "an access token that was logged out", here: (*verifyLane).loggedOut, ids: []string{"user.whoami"}, code: "token-refused"},
	{
		name:   "disk full",
		breaks: "mount -t tmpfs -o size=256k tmpfs /var/lib/matrix-synapse/media; dd if=/dev/zero of=/var/lib/matrix-synapse/media/full bs=4k 2>/dev/null || :",
		fixes:  "umount /var/lib/matrix-synapse/media",
		ids:    []string{"disk." + verifyHost},
		code:   "disk-full",
	},
}

const editLiveKit = "edit $livekit "

// serviceFaults are of LiveKit, the JWT service and their containers.
var serviceFaults = []verifyFault{
	{
		name:   "wrong node_ip",
		field:  4,
		breaks: editLiveKit + `'s/node_ip: .*/node_ip: "198.51.100.7"/'; livekit_again`,
		fixes:  "back; livekit_again",
		ids:    []string{"candidates", "media.udp4"},
		code:   "wrong-address",
	},
	{
		name:   "LiveKit tells the addresses of Docker's bridge",
		field:  11,
		breaks: editLiveKit + `-e '/node_ip/d' -e '/interfaces:/,/eth0/d'; livekit_again`,
		fixes:  "back; livekit_again",
		ids:    []string{"candidates", "media.udp4"},
		code:   "bridge-candidate",
	},
	{
		name:   "LiveKit uses another UDP range",
		breaks: editLiveKit + `-e 's/50100/50300/' -e 's/50200/50400/'; livekit_again`,
		fixes:  "back; livekit_again",
		ids:    []string{"candidates", "media.udp4"},
		code:   "port-outside",
	},
	{
		name:   "the JWT service has another secret",
		field:  7,
		breaks: `f=/etc/ecdeploy/vfy.test/auth/secret; save $f; tr -dc a-z0-9 </dev/urandom | head -c 48 >$f; jwt_again`,
		fixes:  "back; jwt_again",
		ids:    []string{"sfu.create"},
		code:   "secret-differs",
	},
	{name: "LiveKit was not restarted after its keys changed",
		field: 14,
		breaks: `k=/etc/ecdeploy/vfy.test/sfu/keys.yaml s=/etc/ecdeploy/vfy.test/auth/secret; save $k $s
		new=$(tr -dc a-z0-9 </dev/urandom | head -c 48); printf '%s\n' "$new" >$s; sed -i "s|: .*|: $new|" $k; jwt_again`,
		fixes: "back; jwt_again",
		ids:   []string{"sfu.create"},
		code:  "key-unknown"},
	{
		name:   "auto_create: true",
		breaks: editLiveKit + `'s/auto_create: false/auto_create: true/'; livekit_again`,
		fixes:  "back; livekit_again",
		ids:    []string{"sfu.auto-create"},
		code:   "auto-create-on",
	},
	{
		name:   "LiveKit does not take its configuration",
		breaks: "save $livekit; echo 'no_such_setting: true' >>$livekit; docker restart -t 3 livekit-sfu; within 30 restarts livekit-sfu",
		fixes:  "back; livekit_again",
		ids:    []string{"container.sfu"},
		code:   "livekit-restarts",
	},
	{
		name:   "external_ip, and no STUN server answers",
		field:  6,
		breaks: editLiveKit + `-e 's/use_external_ip: false/use_external_ip: true/' -e 's/  node_ip: .*/  stun_servers: ["127.0.0.1:9"]/'; docker restart -t 3 livekit-sfu; within 60 restarts livekit-sfu`,
		fixes:  "back; livekit_again",
		ids:    []string{"container.sfu"},
		code:   "livekit-stun",
	},
	{name: "LiveKit stopped", breaks: "docker stop -t 3 livekit-sfu", fixes: "docker start livekit-sfu", ids: []string{"container.sfu"}, code: "livekit-down"},
	{name: "LiveKit's container is gone", breaks: "aside livekit-sfu", fixes: "again livekit-sfu", ids: []string{"container.sfu"}, code: "livekit-gone"},
	{name: "LiveKit with published ports",
		field: 15,
		breaks: `mkdir /run/published; cp -a $livekit /etc/ecdeploy/vfy.test/sfu/keys.yaml /run/published; chown 10030 /run/published
		sed -i -e '/bind_addresses/d' -e '/interfaces:/,/eth0/d' /run/published/livekit-config.yaml; aside livekit-sfu
		docker run -d --name livekit-sfu --user 10030:10030 -v /run/published:/config:ro -p 127.0.0.1:7880:7880 -p 7881:7881 -p 50100-50200:50100-50200/udp $(docker inspect -f '{{.Config.Image}}' livekit-sfu-aside) --config /config/livekit-config.yaml
		within 30 answers http://127.0.0.1:7880/`,
		fixes: "again livekit-sfu; rm -r /run/published; nft delete table ip raw",
		ids:   []string{"container.sfu"},
		code:  "docker-proxies",
		warns: true},
	{
		name:   "Docker stopped",
		breaks: "systemctl stop docker.socket docker",
		fixes:  "systemctl reset-failed docker; systemctl start docker.socket docker",
		ids:    []string{"container.sfu"},
		code:   "no-docker",
	},
	{
		name:   "the JWT service stopped",
		breaks: "docker stop -t 3 element-call-jwt",
		fixes:  "docker start element-call-jwt",
		ids:    []string{"container.auth"},
		code:   "jwt-down",
	},
	{
		name:   "the JWT service's container is gone",
		breaks: "aside element-call-jwt",
		fixes:  "again element-call-jwt",
		ids:    []string{"container.auth"},
		code:   "jwt-gone",
	},
	{
		name:   "the JWT service does not take its configuration",
		breaks: "jwt_as -e LIVEKIT_LOG_LEVEL=loud; within 30 restarts element-call-jwt",
		fixes:  "again element-call-jwt",
		ids:    []string{"container.auth"},
		code:   "jwt-restarts",
	},
	{
		name:   "the JWT service without its list of homeservers",
		field:  10,
		breaks: "without=LIVEKIT_FULL_ACCESS_HOMESERVERS jwt_as; within 30 restarts element-call-jwt",
		fixes:  "again element-call-jwt",
		ids:    []string{"container.auth"},
		code:   "jwt-full-access",
	},
	{
		name:   "the JWT service for another homeserver",
		field:  10,
		breaks: "without=LIVEKIT_FULL_ACCESS_HOMESERVERS jwt_as -e LIVEKIT_FULL_ACCESS_HOMESERVERS=example.org; within 30 answers http://127.0.0.1:8080/healthz",
		fixes:  "again element-call-jwt",
		ids:    []string{"container.auth"},
		code:   "jwt-full-access",
	},
	{
		name:   "LIVEKIT_URL without its path",
		breaks: "without=LIVEKIT_URL jwt_as -e LIVEKIT_URL=wss://matrix-rtc-sfu.vfy.test; within 30 answers http://127.0.0.1:8080/healthz",
		fixes:  "again element-call-jwt",
		ids:    []string{"container.auth"},
		code:   "livekit-url",
	},
	{name: "the JWT service is unhealthy by its image's check",
		field: 9,
		breaks: `jwt_as --health-cmd 'wget -q http://localhost:8080/healthz' --health-interval 1s --health-retries 1
		within 30 sh -c 'docker inspect -f "{{.State.Health.Status}}" element-call-jwt | grep -x unhealthy'`,
		fixes: "again element-call-jwt",
		ids:   []string{"container.auth"},
		code:  "unhealthy"},
	{
		name:   "the JWT service does not trust the homeserver's CA",
		field:  3,
		breaks: "without=SSL_CERT_FILE jwt_as; within 30 answers http://127.0.0.1:8080/healthz",
		fixes:  "again element-call-jwt",
		ids:    []string{"openid", "user.sfu-get"},
		code:   "openid-certificate",
	},
	{
		name:   "the JWT service makes rooms for everybody",
		breaks: "without=LIVEKIT_FULL_ACCESS_HOMESERVERS jwt_as -e 'LIVEKIT_FULL_ACCESS_HOMESERVERS=*'; within 30 answers http://127.0.0.1:8080/healthz",
		fixes:  "again element-call-jwt",
		ids:    []string{"container.auth"},
		code:   "not-restricted",
	},
}
