# The reference of plan files: every block and attribute, with its default and
# unit. What is optional is written with its default, or commented out where it
# has none or excludes another. README.md has a file with the required lines only.
#
# Values are text, numbers, true and false, and lists. host.NAME names a host
# block and var.NAME a variable. Functions: env("NAME") and file("PATH"), and
# chomp, coalesce, concat, format, join, length, lower, regex, replace, split,
# substr, trim, trimprefix, trimspace, trimsuffix, upper.
# Paths on the laptop may begin with ~; relative ones begin at this file.

# A value from outside: --var domain=..., else the environment's
# ECDEPLOY_VAR_domain, else the default. Without a default it must be given.
variable "domain" {
  description = "domain of the public names" # for readers of this file
  default     = "emdecloud.de"
}

# A machine that is reached over SSH. What is left out comes from ~/.ssh/config.
host "matrix" {
  address         = "203.0.113.10"       # a name, an address, or an alias of ~/.ssh/config
  user            = "admin"              # default: ~/.ssh/config, else your own name
  port            = 22                   # default: ~/.ssh/config, else 22
  identity        = "~/.ssh/id_ed25519"  # private key on the laptop; default: ~/.ssh/config, else the agent's
  become          = "sudo"               # "none" or "sudo"; default: "sudo" where user is set and is not root, or sudo_password is there, else "none"
  connect_timeout = "15s"                # for each connection on the way; default 15s
  # jump          = "admin@198.51.100.1" # like ProxyJump, "none" for no jump; default: ~/.ssh/config

  # Where sudo's password comes from; default: sudo asks for none. One of these:
  sudo_password {
    ask = true # asked once for all hosts
    # file    = "~/.secrets/sudo" # path on the laptop
    # env     = "SUDO_PASSWORD"   # name of an environment variable
    # command = ["pass", "show", "servers/matrix"] # run on the laptop, 2 minutes at most
  }

  # "ufw", "nftables" for rules of your own (a chain with hook input), or "none" to
  # leave firewalls alone and be told what must be open; default: what is there.
  firewall "ufw" {}
  # firewall "nftables" {}
}

# One Matrix server name and its Element Call backend.
site "emdecloud.de" {
  # LiveKit. Its configuration is /config/livekit-config.yaml in the container.
  sfu {
    host = host.matrix
    # hosts       = [host.matrix]                   # the same as host; more than one is not built yet
    url          = "https://matrix-rtc-sfu.${var.domain}" # https://NAME[/PREFIX], no slash at the end
    image        = "livekit/livekit-server:v1.13.9"  # NAME:TAG or NAME@sha256:...; this is the default
    # archive     = "images/livekit.tar"            # image from the laptop: docker save or OCI; default: the host pulls it
    container    = "livekit-sfu"                     # default livekit-sfu
    node_ip      = "203.0.113.10"                    # address that clients are told, or "IPv4,IPv6"; default: the host's own
    external_ip  = false                             # true: ask STUN servers for the address instead of node_ip; default false
    # interfaces  = ["eth0"]                        # for media; default: the one that holds node_ip, else the default route's
    bind         = "127.0.0.1"                       # address of the signalling port, one of the host's; default 127.0.0.1
    participants = 40                                # at once on this host, each needs 2 UDP ports; default 40
    uid          = 10030                             # user and group in the container; default 10030
    ports {
      signalling = 7880          # TCP, behind the proxy; default 7880
      tcp        = 7881          # media over TCP, open to the world; default 7881
      udp        = "50100-50200" # media, open to the world; default 50100-50200
    }
  }

  # The JWT service: lets Matrix users into calls.
  auth {
    host        = host.matrix
    url         = "https://matrix-rtc-jwt.${var.domain}"   # https://NAME[/PREFIX], no slash at the end
    image       = "ghcr.io/element-hq/lk-jwt-service:0.8.0" # 0.8.0 or newer; this is the default
    # archive    = "images/jwt.tar"                         # image from the laptop; default: the host pulls it
    container   = "element-call-jwt"                        # default element-call-jwt
    port        = 8080                                      # TCP, behind the proxy; default 8080
    bind        = "127.0.0.1"                               # default 127.0.0.1
    # ca_file    = "/etc/ssl/certs/ca-certificates.crt"     # on the host, for a private CA; default: the image's own
    full_access = ["emdecloud.de"]                          # homeservers whose users may start calls; default: the site's
    uid         = 10033                                     # user and group in the container; default 10033
  }

  # How long a host waits in the middle of a run without hearing from ecdeploy before
  # it rolls the run back by itself; at least 3s; default 3m.
  revert_after = "3m"

  # LIVEKIT_KEY and LIVEKIT_SECRET; default: ecdeploy makes them and finds them
  # again on the hosts. Either key and secret, or command. Another pair than the
  # one in use: apply changes to it at once, `ecdeploy secrets rotate` with overlap.
  livekit_keys {
    key    = env("LIVEKIT_KEY")
    secret = env("LIVEKIT_SECRET") # at least 32 characters
    # command = ["pass", "show", "livekit"] # run on the laptop; prints "KEY: SECRET"
  }

  # A Synapse from Debian's or matrix.org's package, as one process.
  synapse "debian" {
    host            = host.matrix
    unit            = "matrix-synapse.service" # default matrix-synapse.service
    start_timeout   = "120s"                   # how long it may take to start; default 120s
    max_event_delay = "24h"                    # Synapse's max_event_delay_duration; default 24h
  }
  # A Synapse from PyPI in a virtualenv, which a systemd unit of yours starts.
  # ecdeploy reads the unit for where its Python and its configuration files are.
  # synapse "venv" {
  #   host            = host.matrix
  #   unit            = "synapse.service" # default synapse.service
  #   start_timeout   = "120s"            # how long it may take to start; default 120s
  #   max_event_delay = "24h"             # Synapse's max_event_delay_duration; default 24h
  # }
  # A Synapse that you configure yourself: ecdeploy says what is needed and
  # checks it.
  # synapse "external" {
  #   host = host.matrix                 # a host that can reach it; default: auth's
  #   url  = "https://matrix.example.org" # base URL of the client-server API
  # }

  # An nginx on the host itself; one block for each host that needs one.
  proxy "nginx" {
    host        = host.matrix
    certificate = "/etc/letsencrypt/live/emdecloud.de/fullchain.pem" # on the host; default: certbot's for the name
    key         = "/etc/letsencrypt/live/emdecloud.de/privkey.pem"   # on the host; default: certbot's for the name
  }
  # A Caddy on the host itself, as caddy.service with a Caddyfile. Where a site of it
  # serves a public name already, certificate and key are not used.
  # proxy "caddy" {
  #   host        = host.matrix
  #   certificate = "/etc/ssl/emdecloud.de/fullchain.pem" # on the host, Caddy must be able to read it; default: Caddy gets one
  #   key         = "/etc/ssl/emdecloud.de/privkey.pem"   # on the host; default: Caddy gets one
  # }
  # A proxy that you configure yourself: ecdeploy prints what it has to serve
  # and checks it. It serves all that no other proxy block serves; an SFU on
  # another host then needs a bind that the proxy reaches, and ecdeploy opens
  # the port there only to a proxy whose host is given.
  # proxy "external" {
  #   host = host.matrix # the host that it is on; default: anywhere, reaching auth's host
  # }

  # A file that a web server sends as /.well-known/matrix/client.
  well_known "file" {
    host = host.matrix
    path = "/var/www/html/.well-known/matrix/client" # on the host
  }
  # One that you serve yourself: ecdeploy prints what it has to say and checks it.
  # well_known "external" {
  #   host = host.matrix # a host that can reach it; default: auth's
  # }

  # How ecdeploy checks that it works, in each apply that changes something and
  # in `ecdeploy verify`.
  verify {
    level        = "media" # "media": a test call is placed before anything is announced; "http": every part is asked; "none"; default "media"
    strict       = false   # true: a cause on the way (a firewall in front of the host) or at the laptop rolls back, too; default false
    probe_helper = false   # true: an echo may run on the SFU's host for a minute, where media does not get through; default false
    # from        = [host.matrix] # hosts that test the same path, too; default: the laptop alone
    # ca_file     = "ca.pem" # on the laptop: trust these CAs too; default: the system's alone

    # A Matrix user of the site, for `ecdeploy verify` to test as this user, too;
    # default: none. One of these:
    access_token {
      env = "MATRIX_ACCESS_TOKEN" # name of an environment variable
      # file    = "~/.secrets/matrix" # path on the laptop
      # command = ["pass", "show", "matrix"] # run on the laptop, 2 minutes at most
    }
  }
}
