package steps

// The images that a site gets where the plan file names none. Element Server
// Suite 26.10.0 (element-hq/ess-helm CHANGELOG.md) shipped LiveKit 1.13.9 with
// the JWT service 0.8.0, the first without GHSA-rq24-fh66-rq7x. 0.9.0 is the last
// before running it without an application service was deprecated (0.10.0); that
// a distribution shipped it with this LiveKit was not seen.
const (
	DefaultSFUImage  = "livekit/livekit-server:v1.13.9"
	DefaultAuthImage = "ghcr.io/element-hq/lk-jwt-service:0.9.0"
)
