// Command jwtservice is a STAND-IN for the MatrixRTC authorization service
// (element-hq/lk-jwt-service 0.10.0), for tests on hosts that cannot fetch the
// real image. Never deploy it.
//
// It reads the same environment, ends with the same errors and answers the
// requests of clients alike; testdata has the recordings that it is held
// against, made with the service's Go line (about 0.6.0). It really asks the
// homeserver whose OpenID token it was given, really creates rooms on the SFU,
// and signs tokens that LiveKit takes.
//
// It has no application-service mode, refuses to start when asked for one, and
// ends nobody's delayed leave events: /delegate_delayed_leave and /sfu_webhook
// only answer.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const version = "stand-in for lk-jwt-service 0.10.0, for tests only"

func main() {
	if len(os.Args) > 1 {
		if strings.TrimLeft(os.Args[1], "-") == "version" {
			fmt.Println(version)
			return
		}
		fmt.Fprintln(os.Stderr, version+": it is configured by its environment and takes no arguments")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Getenv, os.Stderr); err != nil {
		logger{os.Stderr}.info("%v", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, getenv func(string) string, w io.Writer) error {
	log := logger{w}
	log.info("%s", version)
	c, err := readConfig(getenv, log)
	if err != nil {
		return err
	}
	if c.redis == "" {
		log.warn("LIVEKIT_REDIS_URL not set. Using in-memory store.")
	} else if err := pingRedis(ctx, c.redis); err != nil {
		//lint:ignore ST1005 the service's words
		return fmt.Errorf("Could not connect Redis store: store: Redis ping failed: %w", err)
	}
	log.info("Starting service LIVEKIT_URL=%s LIVEKIT_JWT_BIND=%s LIVEKIT_FULL_ACCESS_HOMESERVERS=%v SkipVerifyTLS=%t SanityCheckInterval=%s",
		c.url, c.bind, c.fullAccess, c.skipVerify, c.sanity)
	l, err := net.Listen("tcp", c.bind)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: newService(c, log).routes(), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = server.Shutdown(last)
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// logger writes lines as the service does: time, level, text.
type logger struct{ w io.Writer }

func (l logger) info(format string, args ...any) { l.line("INFO ", format, args) }
func (l logger) warn(format string, args ...any) { l.line("WARN ", format, args) }

func (l logger) line(level, format string, args []any) {
	fmt.Fprintf(l.w, "%s %s | %s\n", time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), level, fmt.Sprintf(format, args...))
}
