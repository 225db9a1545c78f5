package steps

// Fingerprint tells a pair of credentials from another one and tells nothing of
// them: an HMAC under the secret. It is "" where they are still to be made.
func (k Keys) Fingerprint() string {
	if k.IsZero() {
		return ""
	}
	return digest([]byte("LIVEKIT_KEY "+k.Key.Reveal()), k.Secret)
}
