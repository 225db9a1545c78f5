# The SFU on a machine of its own, with an nginx of its own; the rest next to
# Synapse. Without the second proxy block the SFU would need bind = its private
# address, which is then opened to the other host's proxy alone.

host "matrix" {
  address = "203.0.113.10"
}

host "sfu" {
  address = "203.0.113.20"
}

site "example.org" {
  sfu {
    host         = host.sfu
    url          = "https://matrix-rtc-sfu.example.org"
    node_ip      = "203.0.113.20"
    participants = 200
    ports {
      udp = "50100-50499"
    }
  }
  auth {
    host = host.matrix
    url  = "https://matrix-rtc-jwt.example.org"
  }
  synapse "debian" { host = host.matrix }
  proxy "nginx" { host = host.matrix }
  proxy "nginx" { host = host.sfu }
  well_known "file" {
    host = host.matrix
    path = "/var/www/html/.well-known/matrix/client"
  }
}
