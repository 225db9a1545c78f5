package rtc

// userCodes explain a call of real users.
var userCodes = []Explanation{
	{
		Code: "token-refused",
		Sees: "nothing; the access token that was given is not valid",
		Why:  "the homeserver does not accept the access token",
		Do:   "log in again, and give the new token",
	},
	{
		Code:    "openid-token",
		Element: noToken,
		Sees:    "joining a call fails",
		Why:     "the homeserver gives its user no OpenID token",
		Do:      "journalctl -u says why, with Synapse's unit (matrix-synapse with Debian's package)",
	},
	{
		Code:    "jwt-refused",
		Element: noToken,
		Sees:    "joining a call fails",
		Why:     "the JWT service refuses a user of its own homeserver: it cannot ask the homeserver, or may not make the room",
		Do:      "docker logs element-call-jwt says why",
	},
	{
		Code:    "claims",
		Element: noSFU,
		Sees:    "joining a call fails",
		Why:     "the token of the JWT service does not allow what a call needs",
		Do:      "use a release that ecdeploy knows",
		Command: apply,
	},
	{
		Code:    "delayed-event",
		Element: dropping,
		Sees:    "everybody leaves after 18 s, or never",
		Why:     "the homeserver does not take a delayed event of its user",
		Do:      "set max_event_delay_duration and the rate limits",
		Command: apply,
	},
	{
		Code:    "not-restricted",
		Sees:    "users of any homeserver can start calls here",
		Why:     "the JWT service makes rooms for users of other homeservers",
		Do:      "name only your own server in full_access of auth {}",
		Command: apply,
	},
}
