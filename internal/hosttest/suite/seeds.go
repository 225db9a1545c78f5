package suite

import "strings"

// PreflightGood is what the text prints on a host that has all it should.
const PreflightGood = `os PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
os VERSION_ID="12"
os ID=debian
arch x86_64
clock 1764000000
room 9000
docker 26.1.5+dfsg1
security ["name=apparmor","name=seccomp,profile=builtin","name=cgroupns"]
fetch
fetch
images 9000 /var/lib/docker
dns matrix-rtc-sfu.example.org 198.51.100.7
dns matrix-rtc-jwt.example.org 198.51.100.7
dns example.org 203.0.113.80
listen tcp 127.0.0.1:8008 users:(("python3",pid=527,fd=15))
listen tcp 0.0.0.0:443 users:(("nginx",pid=173,fd=8),("nginx",pid=172,fd=8))
listen udp 127.0.0.53%lo:53 users:(("systemd-resolve",pid=90,fd=12))
listen udp [fe80::1%eth0]:546 users:(("dhclient",pid=91,fd=12))
`

const NginxConf = `user www-data;
include /etc/nginx/modules-enabled/*.conf;
http {
	include mime.types;
	access_log /var/log/nginx/access.log;
	include /etc/nginx/conf.d/*.conf;
	include /etc/nginx/sites-enabled/*;
}
`

const MatrixSite = `# the homeserver
server {
    listen 80;
    server_name matrix.example.org;
    return 301 https://$host$request_uri;
}
server {
    listen 8448 ssl;
    server_name matrix.example.org;
    location / { proxy_pass http://127.0.0.1:8008; }
}
server {
    listen 443 ssl;
    listen [::]:443 ssl;
    server_name chat.example.org matrix.example.org;
    ssl_certificate /etc/letsencrypt/live/rtc/fullchain.pem;
    location /_matrix { proxy_pass http://127.0.0.1:8008; }
}
`

// A homeserver.yaml of Synapse: where it is, what Debian's package has in it at the
// least, and with all that calls need.
const (
	SynapsePath    = "/etc/matrix-synapse/homeserver.yaml"
	SynapseListens = "listeners:\n  - port: 8008\n    tls: false\n    type: http\n    x_forwarded: true\n" +
		"    bind_addresses: ['::1', '127.0.0.1']\n    resources:\n      - names: [client, federation]\n        compress: false\n"
	SynapseDone = SynapseListens + `experimental_features:
  msc4143_enabled: true
  msc4222_enabled: true
max_event_delay_duration: 24h
rc_message:
  per_second: 0.5
  burst_count: 30
rc_delayed_event_mgmt:
  per_second: 1
  burst_count: 20
matrix_rtc:
  transports:
    - type: livekit
      livekit_service_url: https://matrix-rtc-jwt.example.org
`
)

// HostileSeeds are what hosts say, good and bad.
func HostileSeeds() []string {
	return []string{
		"", "\n", "\x00", "x", PreflightGood, NginxConf, MatrixSite, SynapseListens, SynapseDone, SynapseListens + "\n====\n" + SynapseDone,
		"Status: active\nDefault: deny (incoming), allow (outgoing)\n22/tcp ALLOW IN Anywhere # ssh\n" +
			"50100:50200/udp ALLOW IN 10.0.0.0/8\n80,443/tcp (Nginx Full) LIMIT IN Anywhere (log, v6)\nAnywhere on eth0 DENY IN 1.2.3.4/udp\n",
		nftSeed("drop", ""),
		nftSeed("accept", `{"accept":null}`),
		nftSeed("drop", `{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":7881}},{"drop":null}`),
		nftSeed("drop", `{"vmap":{"key":{"payload":{"protocol":"udp","field":"dport"}},"data":{"set":[[50100,{"jump":{"target":"input"}}],[1]]}}}`) +
			"\n====\n/usr/sbin/nft\n====\nUnitFileState=enabled\nExecReload={ path=/usr/sbin/nft ; }\n",
		"Status: active\n99999999999999999999/tcp ALLOW IN Anywhere\n-1:5 ALLOW Anywhere\n5:-1 ALLOW Anywhere\n, ALLOW ,\n",
		"LoadState=loaded\nActiveState=active\nUser=matrix-synapse\n" +
			"ExecStart={ path=/p ; argv[]=/usr/bin/python3 -m synapse.app.homeserver --config-path=/etc/matrix-synapse/homeserver.yaml -c /x -c ; }\n====\n1.160.0-1\n",
		"LoadState=loaded\nActiveState=active\nExecStart={ argv[]=-m -m synapse. -c\n",
		"LoadState=loaded\nActiveState=active\nExecStart={ argv[]=p -m synapse.x --config-path=../../x -c relative.yaml ;\n",
		"LoadState=loaded\nActiveState=active\nWorkingDirectory=!~\nEnvironment=A=/a \"=\nEnvironmentFiles=/e (\nPython=\nVirtualenv=x\n" +
			"ExecStart={ argv[]=/v/bin/synapse_homeserver $A $ ${} -c ${A}/$B $A\n",
		`[{"Id":"sha256:i","Architecture":"amd64","RootFS":{"Layers":["a"]},"Image":"i","State":{"Running":true},"HostConfig":{"RestartPolicy":{"Name":"always"}},"Config":{"Labels":{"ecdeploy.site":"other","ecdeploy.spec":"x"}}}]`,
		`[{}]`, `[]`, `[null]`, `null`, `{}`, `[{"Id":1}]`, `[{},{}]`, strings.Repeat("[", 5000),
		"1: lo inet 127.0.0.1/8 scope host lo\n2: eth0@if5 inet 198.51.100.7/24 brd x\n3: a inet6 fe80::1/64\n4: b inet x/y\n",
		"192.0.2.1 via 198.51.100.1 dev eth0 src 198.51.100.7 uid 0\n",
		"x dev src dev src any\n",
		"src 0.0.0.0 dev \x1b[2J",
		"dev",
		"src",
		"web\t0.0.0.0:8081->80/tcp, [::]:8081->80/tcp, 9000/tcp\nx\t->:/\n\t:-1->\n",
		"container\ta\tnginx\t:443->\nmanager\tx\n",
		"LISTEN 0 511 0.0.0.0:443 0.0.0.0:* users:((\"apache2\",pid=1,fd=4))\n",
		"32768 60999\n50100-50200,1-2\n",
		"0 65535\n-5--1,9-1,x\n",
		"net.ipv4.ip_local_reserved_ports = 1-70000,-3\n",
		"listen tcp [::1 users:((\"\nlisten tcp a:b c\nlisten udp %:1\ncoturn 9 1 /x\ncoturn -1 99999999999 y\nours -1\nclock -9223372036854775808\n",
		"{\"org.matrix.msc4143.rtc_foci\":[{\"type\":\"livekit\"}]}",
		"KEY: SECRET\n",
		"k: s: t\n",
		": \n",
		"# For x of example.org, included by y. Written by ecdeploy.\n",
		"# The MatrixRTC backend of example.org. Written by ecdeploy: change the plan file, not this file.\n" +
			"server { server_name matrix-rtc-sfu.example.org; ssl_certificate /x; }\n",
		"ExecStart={ argv[]=/usr/bin/caddy run --config /etc/caddy/Caddyfile ; }\nId=caddy.service\nLoadState=loaded\nActiveState=active\n",
		"ExecStart={ argv[]=/usr/bin/caddy run --config /etc/caddy/Caddyfile ; }\nId=caddy.service\nLoadState=loaded\n" +
			"ActiveState=active\n====\nimport *\nimport /etc/caddy/*\n*.example.org {\n\tredir {$X}\n}\n:443 {\n}\n",
		"# The MatrixRTC backend of example.org. Written by ecdeploy: change the plan file, not this file.\n\n" +
			"matrix-rtc-sfu.example.org {\n\timport /etc/caddy/ecdeploy/*\n}\n",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
		"events {}\nhttp { include *; include nginx.conf; server { listen [; listen :::443 ssl; listen unix:x ssl; listen; " +
			"server_name ~( *.x. ; include /etc/nginx/*; } }\n",
	}
}

// nftSeed is what nft says of one base chain with one rule of ecdeploy's mark.
func nftSeed(policy, rule string) string {
	return `{"nftables":[{"table":{"family":"inet","name":"filter"}},` +
		`{"chain":{"family":"inet","table":"filter","name":"input","type":"filter","hook":"input","prio":0,"policy":"` + policy + `"}},` +
		`{"rule":{"family":"inet","table":"filter","chain":"input","handle":7,"comment":"ecdeploy example.org","expr":[` + rule + `]}}]}`
}
