package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

type config struct {
	key, secret, url  string
	bind              string
	fullAccess        []string // server names, or "*" alone
	skipVerify        bool
	updateOwnMetadata bool
	redis             string
	sanity            string // as it is logged
}

// readConfig follows the service's README for the names and the recordings for
// the errors. Values are never logged, except those of the start-up line.
func readConfig(getenv func(string) string, log logger) (config, error) {
	c := config{
		url:               getenv("LIVEKIT_URL"),
		skipVerify:        getenv("LIVEKIT_INSECURE_SKIP_VERIFY_TLS") == "YES_I_KNOW_WHAT_I_AM_DOING",
		updateOwnMetadata: getenv("LIVEKIT_CAN_UPDATE_OWN_METADATA") == "true",
		redis:             getenv("LIVEKIT_REDIS_URL"),
		sanity:            "disabled",
	}
	if level := getenv("LIVEKIT_LOG_LEVEL"); level == "" {
		log.info("log level defaulting to info")
	} else if !slices.Contains([]string{"debug", "info", "warn", "error"}, level) {
		return c, fmt.Errorf("unknown LIVEKIT_LOG_LEVEL %q", level)
	}
	for _, name := range []string{"LIVEKIT_AS_TOKEN", "LIVEKIT_HS_TOKEN", "LIVEKIT_AS_REGISTRATION_FILE", "LIVEKIT_HS_SERVER_NAME"} {
		if getenv(name) != "" {
			return c, fmt.Errorf("%s is set, and this stand-in has no application-service mode", name)
		}
	}
	if err := c.readKeys(getenv, log); err != nil {
		return c, err
	}
	if c.key == "" || c.secret == "" || c.url == "" {
		return c, errors.New("LIVEKIT_KEY* / LIVEKIT_SECRET* and LIVEKIT_URL must be set")
	}
	c.fullAccess = strings.FieldsFunc(getenv("LIVEKIT_FULL_ACCESS_HOMESERVERS"), func(r rune) bool { return r == ',' || r == ' ' })
	if len(c.fullAccess) == 0 {
		return c, errors.New("LIVEKIT_FULL_ACCESS_HOMESERVERS environment variable must be set to the homeserver(s) you intend to serve — see README for guidance")
	}
	var err error
	if c.bind, err = readBind(getenv("LIVEKIT_JWT_BIND"), getenv("LIVEKIT_JWT_PORT")); err != nil {
		return c, err
	}
	if s := getenv("LIVEKIT_SANITY_CHECK_INTERVAL_SECONDS"); s != "" && s != "0" {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return c, fmt.Errorf("LIVEKIT_SANITY_CHECK_INTERVAL_SECONDS: %w", err)
		}
		c.sanity = (time.Duration(n) * time.Second).String()
	}
	return c, nil
}

func readBind(bind, port string) (string, error) {
	switch {
	case bind != "" && port != "":
		return "", errors.New("LIVEKIT_JWT_BIND and LIVEKIT_JWT_PORT must not be set together")
	case port != "":
		return ":" + port, nil
	case bind == "":
		return ":8080", nil
	}
	return bind, nil
}

// readKeys takes both credentials from LIVEKIT_KEY_FILE ("key: secret"), or
// each from its own file or variable.
func (c *config) readKeys(getenv func(string) string, log logger) error {
	if path := getenv("LIVEKIT_KEY_FILE"); path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		parts := strings.Split(string(b), ":")
		if len(parts) != 2 {
			//lint:ignore ST1005 the service's words
			return errors.New("invalid key secret file format!")
		}
		c.key, c.secret = strings.TrimSpace(parts[0]), strings.TrimSpace(parts[1])
		return nil
	}
	var err error
	if c.key, err = oneOf(getenv, "LIVEKIT_KEY", "key", log); err != nil {
		return err
	}
	c.secret, err = oneOf(getenv, "LIVEKIT_SECRET", "secret", log)
	return err
}

// oneOf is the value of a variable or, rather, of the file that its sibling
// names.
func oneOf(getenv func(string) string, name, what string, log logger) (string, error) {
	value := getenv(name)
	if path := getenv(name + "_FROM_FILE"); path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		name, value = name+"_FROM_FILE", string(b)
	}
	log.info("Using LiveKit API %s from %s", what, name)
	return strings.Trim(value, " \r\n"), nil
}

// pingRedis wants an answer of a Redis server. Nothing is kept there: what the
// service keeps in it are the delayed leave events.
func pingRedis(ctx context.Context, raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return err
	}
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), "6379")
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprint(conn, "PING\r\n"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if a := strings.TrimSpace(answer); a != "+PONG" && !strings.HasPrefix(a, "-NOAUTH") {
		return fmt.Errorf("unexpected answer %q", a)
	}
	return nil
}
