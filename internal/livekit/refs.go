package livekit

import "github.com/emdecloud/ecdeploy/internal/host"

// References by which plans name a site's credentials, in place of the values.
// They stand in saved plans and go into digests on hosts, so they stay as they are.
const (
	RefKey       = "secret:livekit/key"
	RefSecret    = "secret:livekit/secret"
	RefOldKey    = "secret:livekit/old-key"
	RefOldSecret = "secret:livekit/old-secret"
)

// ByRef are the credentials by their references; what is not there is zero.
func (k Keys) ByRef() map[string]host.Secret {
	return map[string]host.Secret{RefKey: k.Key, RefSecret: k.Secret, RefOldKey: k.Old.Key, RefOldSecret: k.Old.Secret}
}

// KeysByRef undoes ByRef; references of others are ignored.
func KeysByRef(values map[string]host.Secret) Keys {
	return Keys{Key: values[RefKey], Secret: values[RefSecret], Old: Pair{values[RefOldKey], values[RefOldSecret]}}
}
