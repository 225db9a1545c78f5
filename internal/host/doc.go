// Package host is the only package that touches a machine: SSH, sudo, the
// shell channel, SFTP, and Docker's API over the same SSH connection.
//
// It knows nothing of Element Call, of steps or of plans. Everything that it
// runs on a machine runs as root (directly, or through sudo).
package host
