package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// minDockerAPI is the oldest API that ecdeploy speaks; engine 20.10 has it.
const minDockerAPI = "1.41"

// dockerSocket is where the engine listens.
const dockerSocket = "/var/run/docker.sock"

// engine implements Docker.
type engine struct{ api *client.Client }

// Docker implements Host.
func (m *machine) Docker(ctx context.Context) (Docker, error) {
	m.dockerMu.Lock()
	defer m.dockerMu.Unlock()
	if m.docker != nil {
		return m.docker, nil
	}
	e, err := newEngine(ctx, m.Name(), m.dialDocker)
	if err != nil {
		return nil, err
	}
	m.docker = e
	return e, nil
}

// newEngine greets the engine of a host, to which dial opens streams.
func newEngine(ctx context.Context, name string, dial func(context.Context) (net.Conn, error)) (*engine, error) {
	// A transport of our own: the client's would go through the laptop's proxy
	// and show its password to the engine.
	transport := &http.Transport{}
	through := &http.Client{Transport: transport}
	api, err := client.NewClientWithOpts(
		client.WithHTTPClient(through),
		client.WithHost("tcp://docker"), // any: the transport dials
		client.WithAPIVersionNegotiation(),
	)
	if err != nil {
		return nil, fmt.Errorf("make a Docker client: %w", remoteError{err})
	}
	transport.Proxy = nil // WithHost had set the environment's
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }
	through.Transport = bounded{through.Transport}
	pingCtx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	ping, err := api.Ping(pingCtx)
	if err != nil {
		_ = api.Close() // the error says more
		return nil, fmt.Errorf("reach the Docker engine of %s: %w", name, remoteError{err})
	}
	api.NegotiateAPIVersionPing(ping)
	if v := api.ClientVersion(); versions.LessThan(v, minDockerAPI) {
		_ = api.Close() // never used
		return nil, fmt.Errorf("the Docker engine of %s speaks API %s, and %s is needed (Docker 20.10)", name, v, minDockerAPI)
	}
	return &engine{api}, nil
}

// dialDocker opens a stream to the engine: its socket where sshd forwards
// sockets and the user may open it, else by the docker command.
func (m *machine) dialDocker(ctx context.Context) (net.Conn, error) {
	if m.root {
		if conn, err := m.client.DialContext(ctx, "unix", dockerSocket); err == nil {
			return conn, nil
		}
	}
	st, err := m.startMarked(ctx, "exec docker system dial-stdio")
	if err != nil {
		return nil, err
	}
	return &streamConn{st}, nil
}

// streamConn makes a net.Conn of a program's standard input and output.
type streamConn struct{ *stream }

func (c *streamConn) Read(b []byte) (int, error)  { return c.out.Read(b) }
func (c *streamConn) Write(b []byte) (int, error) { return c.in.Write(b) }

// CloseWrite lets the program see the end of its input.
func (c *streamConn) CloseWrite() error { return c.in.Close() }

func (c *streamConn) Close() error {
	err := c.session.Close()
	if errors.Is(err, io.EOF) {
		return nil // it ended before
	}
	return err
}

func (*streamConn) LocalAddr() net.Addr              { return &net.UnixAddr{Net: "unix"} }
func (*streamConn) RemoteAddr() net.Addr             { return &net.UnixAddr{Net: "unix", Name: dockerSocket} }
func (*streamConn) SetDeadline(time.Time) error      { return nil } // requests have contexts
func (*streamConn) SetReadDeadline(time.Time) error  { return nil }
func (*streamConn) SetWriteDeadline(time.Time) error { return nil }

// ImageID implements Docker.
func (e *engine) ImageID(ctx context.Context, ref string) (string, bool, error) {
	got, err := e.api.ImageInspect(ctx, ref)
	switch {
	case errdefs.IsNotFound(err):
		return "", false, nil
	case err != nil:
		return "", false, fmt.Errorf("look for image %s: %w", ref, remoteError{err})
	}
	return got.ID, true, nil
}

// Pull implements Docker.
func (e *engine) Pull(ctx context.Context, ref, platform string, progress func(string)) error {
	body, err := e.api.ImagePull(ctx, ref, image.PullOptions{Platform: platform})
	if err != nil {
		return fmt.Errorf("pull %s: %w", ref, remoteError{err})
	}
	defer body.Close()
	if err := messages(body, progress); err != nil {
		return fmt.Errorf("pull %s: %w", ref, remoteError{err})
	}
	return nil
}

// Load implements Docker.
func (e *engine) Load(ctx context.Context, archive io.Reader) error {
	resp, err := e.api.ImageLoad(ctx, archive, client.ImageLoadWithQuiet(true))
	if err != nil {
		return fmt.Errorf("load an image: %w", remoteError{err})
	}
	defer resp.Body.Close()
	if err := messages(resp.Body, nil); err != nil {
		return fmt.Errorf("load an image: %w", remoteError{err})
	}
	return nil
}

// Tag implements Docker.
func (e *engine) Tag(ctx context.Context, id, ref string) error {
	if err := e.api.ImageTag(ctx, id, ref); err != nil {
		return fmt.Errorf("tag %s: %w", ref, remoteError{err})
	}
	return nil
}

// Inspect implements Docker.
func (e *engine) Inspect(ctx context.Context, name string) (Container, bool, error) {
	got, err := e.api.ContainerInspect(ctx, name)
	switch {
	case errdefs.IsNotFound(err):
		return Container{}, false, nil
	case err != nil:
		return Container{}, false, fmt.Errorf("look at container %s: %w", name, remoteError{err})
	case got.ContainerJSONBase == nil || got.State == nil || got.Config == nil || got.HostConfig == nil:
		return Container{}, false, fmt.Errorf("look at container %s: the engine's answer is incomplete", name)
	}
	started, err := time.Parse(time.RFC3339Nano, got.State.StartedAt)
	if err != nil {
		started = time.Time{} // never started
	}
	return Container{
		ID:           got.ID,
		Name:         strings.TrimPrefix(got.Name, "/"),
		Image:        got.Image,
		ImageRef:     got.Config.Image,
		Labels:       got.Config.Labels,
		Running:      got.State.Running && !got.State.Restarting,
		RestartCount: got.RestartCount,
		Restart:      string(got.HostConfig.RestartPolicy.Name),
		StartedAt:    started,
		ExitCode:     got.State.ExitCode,
	}, true, nil
}

// Create implements Docker.
func (e *engine) Create(ctx context.Context, spec ContainerSpec) (string, error) {
	env := make([]string, 0, len(spec.Env))
	for k, v := range spec.Env {
		env = append(env, k+"="+v)
	}
	slices.Sort(env)
	mounts := make([]mount.Mount, len(spec.Mounts))
	for i, m := range spec.Mounts {
		mounts[i] = mount.Mount{Type: mount.TypeBind, Source: m.Source, Target: m.Target, ReadOnly: true}
	}
	stop := int(spec.StopTimeout / time.Second)
	got, err := e.api.ContainerCreate(ctx,
		&container.Config{
			Image:       spec.Image,
			Entrypoint:  spec.Entrypoint,
			Cmd:         spec.Args,
			Env:         env,
			User:        spec.User,
			Labels:      spec.Labels,
			StopTimeout: &stop,
			Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
		},
		&container.HostConfig{
			NetworkMode:    "host",
			RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyMode(spec.Restart)},
			Mounts:         mounts,
			CapDrop:        []string{"ALL"},
			SecurityOpt:    []string{"no-new-privileges:true"},
			ReadonlyRootfs: true,
			LogConfig:      container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "10m", "max-file": "3"}},
		}, nil, (*ocispec.Platform)(nil), spec.Name)
	if err != nil {
		return "", fmt.Errorf("make container %s: %w", spec.Name, remoteError{err})
	}
	return got.ID, nil
}

// Start implements Docker.
func (e *engine) Start(ctx context.Context, name string) error {
	if err := e.api.ContainerStart(ctx, name, container.StartOptions{}); err != nil {
		return fmt.Errorf("start container %s: %w", name, remoteError{err})
	}
	return nil
}

// Logs implements Docker.
func (e *engine) Logs(ctx context.Context, name string, lines int) (string, error) {
	body, err := e.api.ContainerLogs(ctx, name, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(lines)})
	if err != nil {
		return "", fmt.Errorf("logs of container %s: %w", name, remoteError{err})
	}
	defer body.Close()
	text, err := demultiplex(io.LimitReader(body, MaxOutput))
	if err != nil {
		return "", fmt.Errorf("logs of container %s: %w", name, remoteError{err})
	}
	return Clean(text), nil
}
