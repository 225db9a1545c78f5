# Everything on one host, under names of their own.

host "matrix" {
  address = "203.0.113.10"
}

site "example.org" {
  sfu {
    host = host.matrix
    url  = "https://matrix-rtc-sfu.example.org"
  }
  auth {
    host = host.matrix
    url  = "https://matrix-rtc-jwt.example.org"
  }
  synapse "debian" { host = host.matrix }
  proxy "nginx" { host = host.matrix }
  well_known "file" {
    host = host.matrix
    path = "/var/www/html/.well-known/matrix/client"
  }
}
