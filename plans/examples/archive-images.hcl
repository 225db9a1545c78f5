# A host that reaches no registry: the images come from this laptop over SSH,
# only where the host lacks them. Made by
#   docker save livekit/livekit-server:v1.13.9 -o images/livekit.tar
#   docker save ghcr.io/element-hq/lk-jwt-service:0.8.0 -o images/jwt.tar

host "matrix" {
  address = "203.0.113.10"
}

site "example.org" {
  sfu {
    host    = host.matrix
    url     = "https://matrix-rtc-sfu.example.org"
    image   = "livekit/livekit-server:v1.13.9"
    archive = "images/livekit.tar"
  }
  auth {
    host    = host.matrix
    url     = "https://matrix-rtc-jwt.example.org"
    image   = "ghcr.io/element-hq/lk-jwt-service:0.8.0"
    archive = "images/jwt.tar"
  }
  synapse "debian" { host = host.matrix }
  proxy "nginx" { host = host.matrix }
  well_known "file" {
    host = host.matrix
    path = "/var/www/html/.well-known/matrix/client"
  }
}
