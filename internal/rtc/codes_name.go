package rtc

// nameCodes explain names in DNS and certificates.
var nameCodes = []Explanation{
	{
		Code:    "name-unknown",
		Element: []string{noTransport, openIDError, sfuError},
		Sees:    "nobody whose resolver does not know the name can join",
		Why:     "DNS has no address for the name here; a new record can take hours to spread",
		Do:      "make an A record (and AAAA, if the host has IPv6) that names the proxy's host",
	},
	{
		Code:    "name-elsewhere",
		Element: []string{noTransport, openIDError, sfuError},
		Sees:    "nobody can join a call",
		Why:     "the name leads to a machine that does not serve this site",
		Do:      "correct the A and AAAA records; the evidence has both addresses",
	},
	{
		Code:    "https-closed",
		Element: []string{noTransport, openIDError, sfuError},
		Sees:    "nobody can join a call",
		Why:     "nothing on the host answers HTTPS at the name, or its own firewall does not let it in",
		Do:      "systemctl status says whether the proxy runs; then let 443/tcp through the host's firewall",
	},
	{
		Code: "https-blocked",
		Sees: "who sits behind the same obstacle cannot join",
		Why:  "HTTPS works on the host itself and does not get from here to there",
		Do:   "open 443/tcp in the firewall in front of the host, or try another network",
	},
	{
		Code:    "certificate-expired",
		Element: []string{noTransport, openIDError, sfuError},
		Sees:    "clients refuse the connection: nobody can join",
		Why:     "the certificate is not valid now",
		Do:      "renew it (certbot renew), then reload the proxy",
	},
	{
		Code:    "certificate-name",
		Element: []string{noTransport, openIDError, sfuError},
		Sees:    "clients refuse the connection: nobody can join",
		Why:     "the certificate is for other names",
		Do:      "get one that has this name: certbot certonly -d NAME",
	},
	{
		Code:    "certificate-untrusted",
		Element: []string{noTransport, openIDError, sfuError},
		Sees:    "clients refuse the connection: nobody can join; phones more often than browsers",
		Why:     "the certificate's chain does not lead to a CA that is trusted here: its intermediate is missing, or the CA is private",
		Do:      "serve fullchain.pem, not cert.pem; for a private CA name it as verify { ca_file }",
	},
	{
		Code: "certificate-soon",
		Sees: "nothing yet",
		Why:  "the certificate ends soon, and nothing has renewed it",
		Do:   "certbot renew",
	},
}
