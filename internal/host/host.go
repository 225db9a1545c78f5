package host

import (
	"context"
	"io"
	"io/fs"
	"net"
	"time"
)

// DefaultTimeout bounds a Cmd or Script that names no time-out of its own.
const DefaultTimeout = 30 * time.Second

// MaxOutput is the most that one command may answer on each of stdout and
// stderr, in bytes; what lies beyond is dropped and Result.Truncated is set.
const MaxOutput = 8 << 20

// MaxFile is the largest file that Read brings, in bytes.
const MaxFile = 2 << 20

// Cmd is one command on the host, run as root. The transport quotes Argv; no
// shell expands it. Where a question needs a pipe or a loop, Argv is
// {"sh", "-c", text}.
type Cmd struct {
	Argv    []string
	Stdin   []byte
	Timeout time.Duration // 0 means DefaultTimeout; enforced on the host
}

// Sh is a Cmd that runs POSIX sh text; args are $1, $2, ... of it.
func Sh(text string, args ...string) Cmd {
	return Cmd{Argv: append([]string{"sh", "-c", text, "sh"}, args...)}
}

// Result is the answer to one Cmd. A command that ran and failed is a Result,
// not an error.
type Result struct {
	Code      int // exit status; 124 when the time-out struck, 127 when there is no such program
	Stdout    []byte
	Stderr    []byte
	Truncated bool // stdout or stderr was longer than MaxOutput
}

// OK reports whether the command exited with status 0.
func (r Result) OK() bool { return r.Code == 0 }

// File is what Read found at one path. A path that matches nothing yields one
// File with Exists false.
type File struct {
	Path    string // as asked for; for a glob, the path that matched
	Pattern string // the glob that was asked for; "" where that was Path itself
	Real    string // Path with all symlinks resolved; equal to Path where none is
	Loose   string // first symlink on the way that others than root could turn elsewhere; "" for none
	Exists  bool
	Mode    fs.FileMode // type and permission bits of Real
	UID     int
	GID     int
	Data    []byte   // whole content of a regular file; nil otherwise
	Names   []string // entries of a directory, sorted, without . and ..; nil otherwise
	Err     string   // why an existing file could not be read; "" when it was
}

// Observer is all that a probe gets. Nothing reachable through it may change
// a host. Calls may be made from several goroutines at once and then share
// flights.
type Observer interface {
	// Name is the host's name in the plan file.
	Name() string
	// Read looks at files, one flight for all. A path may hold the glob
	// characters * ? [ ]. The result is in the order of paths, a glob's
	// matches sorted in its place. A file that is not there is a fact, not
	// an error; files larger than MaxFile come with Err set.
	Read(ctx context.Context, paths ...string) ([]File, error)
	// Query runs commands that only look, one flight for all. The result has
	// one element for each of cmds, in their order.
	Query(ctx context.Context, cmds ...Cmd) ([]Result, error)
}

// Upload is one file to be written by Host.Upload.
type Upload struct {
	Path string      // absolute; its directory exists
	Mode fs.FileMode // permission bits, set before the first byte is written
	Data []byte
}

// Host is one connected machine.
type Host interface {
	Observer
	// Run runs POSIX sh text as root and waits for its end. Unlike Query, Run
	// calls are executed strictly one after the other. A non-zero exit is a
	// Result; an error means that it is not known whether the text ran.
	Run(ctx context.Context, script string, timeout time.Duration) (Result, error)
	// Upload writes files over SFTP, all at once. They are created or
	// truncated, owned by root, and synced by nobody: the caller syncs.
	Upload(ctx context.Context, files []Upload) error
	// Docker is the engine's API over this SSH connection, connected on first
	// use; the API version is negotiated (1.41 at the least).
	Docker(ctx context.Context) (Docker, error)
	// DialContext opens a stream from the host's point of view ("tcp",
	// "127.0.0.1:7880"), so that an HTTP client on the laptop can ask what
	// only listens there.
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	// Forwards fails where sshd would not open DialContext's streams.
	Forwards(ctx context.Context) error
	// Reconnect dials again if the connection was lost, and does nothing
	// otherwise.
	Reconnect(ctx context.Context) error
	// Confirm dials and authenticates once more, as if from nothing, runs one
	// command as root there, and closes that connection: proof that the
	// machine can still be reached.
	Confirm(ctx context.Context) error
	// Close ends the connection and all that runs over it.
	Close() error
}

// Docker is the part of the engine's API that ecdeploy uses.
type Docker interface {
	// ImageID is the id of a local image by reference or id; ok is false
	// where the engine has none.
	ImageID(ctx context.Context, ref string) (id string, ok bool, err error)
	// Pull fetches ref from its registry. progress gets one short line at a
	// time, with no control characters; it may be nil.
	Pull(ctx context.Context, ref, platform string, progress func(string)) error
	// Load reads a `docker save` or OCI archive into the engine.
	Load(ctx context.Context, archive io.Reader) error
	// Tag gives the image id another name.
	Tag(ctx context.Context, id, ref string) error
	// Inspect is a container by name; ok is false where there is none.
	Inspect(ctx context.Context, name string) (c Container, ok bool, err error)
	// Create makes a container and does not start it.
	Create(ctx context.Context, spec ContainerSpec) (id string, err error)
	Start(ctx context.Context, name string) error
	// Logs are the last lines of a container's stdout and stderr, in order,
	// control characters stripped.
	Logs(ctx context.Context, name string, lines int) (string, error)
}

// Mount is a bind mount of one host path, read-only.
type Mount struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

// ContainerSpec is all that ecdeploy sets on a container. Whatever is not here
// is the same for all: host network, all capabilities dropped, read-only root,
// no-new-privileges, no health check of the image's own, log driver json-file
// with rotation (10 MiB, 3 files).
type ContainerSpec struct {
	Name        string            `json:"name"`
	Image       string            `json:"image"` // reference or id
	Entrypoint  []string          `json:"entrypoint,omitempty"`
	Args        []string          `json:"args,omitempty"`
	Env         map[string]string `json:"env,omitempty"` // never a secret
	User        string            `json:"user"`          // "uid:gid", numeric
	Mounts      []Mount           `json:"mounts,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Restart     string            `json:"restart"` // "always"
	StopTimeout time.Duration     `json:"stop_timeout"`
}

// Container is what the engine says of a container.
type Container struct {
	ID           string
	Name         string
	Image        string // id of the image it was made from
	ImageRef     string // as it was asked for
	Labels       map[string]string
	Running      bool
	RestartCount int
	Restart      string // restart policy
	StartedAt    time.Time
	ExitCode     int
}
