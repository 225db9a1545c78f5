# A login without root's rights, whose sudo asks for a password, behind a jump
# host. The password is asked once, or comes from a file or a password manager;
# so do the credentials of LiveKit here.

host "matrix" {
  address  = "10.0.0.10"
  user     = "admin"
  identity = "~/.ssh/id_ed25519"
  jump     = "admin@bastion.example.org"
  become   = "sudo"
  sudo_password {
    command = ["pass", "show", "servers/matrix"]
  }
}

site "example.org" {
  sfu {
    host    = host.matrix
    url     = "https://matrix-rtc-sfu.example.org"
    node_ip = "203.0.113.10"
  }
  auth {
    host = host.matrix
    url  = "https://matrix-rtc-jwt.example.org"
  }
  livekit_keys {
    command = ["pass", "show", "livekit/example.org"]
  }
  synapse "debian" { host = host.matrix }
  proxy "nginx" { host = host.matrix }
  well_known "file" {
    host = host.matrix
    path = "/var/www/html/.well-known/matrix/client"
  }
}
