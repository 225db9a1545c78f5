package rtc

import "github.com/emdecloud/ecdeploy/internal/host"

// User is a Matrix user of the site whose access token the plan file gives.
type User struct {
	AccessToken host.Secret
}
