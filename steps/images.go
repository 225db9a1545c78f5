package steps

// The images that a site gets where the plan file names none: the pair that
// Element Server Suite 26.10.0 (element-hq/ess-helm CHANGELOG.md, 2026-10-09) shipped
// together. The JWT service 0.8.0 is the first without GHSA-rq24-fh66-rq7x.
const (
	DefaultSFUImage  = "livekit/livekit-server:v1.13.9"
	DefaultAuthImage = "ghcr.io/element-hq/lk-jwt-service:0.8.0"
)
