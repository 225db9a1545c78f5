package rtc

import (
	"context"
	"strings"
	"time"
)

// lookAsUser goes the way of a Matrix user, by the ways that were found to work.
func (k *verifier) lookAsUser(ctx context.Context) {
	if k.base == "" {
		k.all(ctx,
			linkCheck{
				id:    "user.whoami",
				name:  "logging in as the user",
				part:  AsUser,
				needs: []string{"well-known"},
				do:    func(context.Context) result { return unseen("nobody says where the homeserver is") },
			})
		return
	}
	t := k.Target
	t.Now = k.now
	links := t.asUser(ctx, k.base, k.by(k.baseName()), k.by("auth"), k.joinAs)
	for i, l := range links {
		if strings.HasPrefix(l.ID, "user.join") || l.Status == Failed && l.Code == "jwt-refused" {
			links[i].Evidence = cleaned(append(l.Evidence, k.redact(k.log(ctx, k.Auth.Host, k.Auth.Container, 3, "30s"))...))
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range links {
		k.order = append(k.order, l.ID)
		k.links[l.ID] = l
	}
}

// joinAs joins with what the JWT service gave, and lets somebody of ours listen.
func (k *verifier) joinAs(ctx context.Context, url, jwt string) error {
	g, err := readJWT(jwt, k.Issues.Secret)
	if err != nil {
		return err
	}
	c := Call{URL: url, Client: k.by("sfu"), Publishers: 1, Network: k.networks()[0].network, Duration: time.Second,
		Tokens: []string{jwt, k.joinToken("listens", g.Video.Room)}}
	for _, n := range k.networks() {
		if l, ok := k.link("media." + n.network); ok && l.Status == OK {
			c.Network = n.network
			break
		}
	}
	_, err = c.Run(ctx)
	k.removeRooms(ctx, &rooms{made: []string{g.Video.Room}}) // nobody else knows it: the Matrix room was made up
	return err
}
