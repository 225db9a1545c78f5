package host

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// engineOf answers as an engine that knows the API up to version does, and keeps
// what it is asked to make.
func engineOf(t *testing.T, version string) (dial func(context.Context) (net.Conn, error), made *map[string]any) {
	t.Helper()
	made = new(map[string]any)
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", version) })
	mux.HandleFunc("POST /v"+version+"/containers/create", func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(made); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"Id":"c1"}`)) // a failure shows at the other end
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", s.Listener.Addr().String())
	}, made
}

// What an old engine is asked for is in the API that it knows, and every
// container gets the same walls around it.
func TestContainersAreHardened(t *testing.T) {
	dial, made := engineOf(t, minDockerAPI)
	e, err := newEngine(t.Context(), "h", dial)
	if err != nil {
		t.Fatal(err)
	}
	defer e.api.Close()
	id, err := e.Create(t.Context(), ContainerSpec{Name: "c", Image: "i", User: "10030:10030", Restart: "always", StopTimeout: 5 * time.Second,
		Env: map[string]string{"B": "2", "A": "1"}, Mounts: []Mount{{Source: "/s", Target: "/t"}}})
	if err != nil || id != "c1" {
		t.Fatalf("%q, %v", id, err)
	}
	host, _ := (*made)["HostConfig"].(map[string]any)
	got := map[string]any{}
	for _, k := range []string{"NetworkMode", "CapDrop", "SecurityOpt", "ReadonlyRootfs", "Privileged", "Mounts", "LogConfig"} {
		got[k] = host[k]
	}
	for _, k := range []string{"User", "Env", "Healthcheck", "StopTimeout"} {
		got[k] = (*made)[k]
	}
	restart, _ := host["RestartPolicy"].(map[string]any)
	got["Restart"] = restart["Name"]
	want := map[string]any{
		"NetworkMode": "host", "CapDrop": []any{"ALL"}, "SecurityOpt": []any{"no-new-privileges:true"}, "ReadonlyRootfs": true, "Privileged": false,
		"Mounts":    []any{map[string]any{"Type": "bind", "Source": "/s", "Target": "/t", "ReadOnly": true}},
		"LogConfig": map[string]any{"Type": "json-file", "Config": map[string]any{"max-size": "10m", "max-file": "3"}},
		"User":      "10030:10030", "Env": []any{"A=1", "B=2"}, "Healthcheck": map[string]any{"Test": []any{"NONE"}}, "StopTimeout": 5.0, "Restart": "always",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTooOldAnEngine(t *testing.T) {
	dial, _ := engineOf(t, "1.40")
	_, err := newEngine(t.Context(), "h", dial)
	wantError(t, err, "speaks API 1.40, and 1.41 is needed")
}
