package steps

// The images that a site gets where the plan file names none. Element Server
// Suite 26.10.0 ships LiveKit 1.13.9. 0.9.0 is the last JWT service before
// running it without an application service was deprecated (0.10.0); that the
// suite shipped these two together was not seen.
const (
	DefaultSFUImage  = "livekit/livekit-server:v1.13.9"
	DefaultAuthImage = "ghcr.io/element-hq/lk-jwt-service:0.9.0"
)
