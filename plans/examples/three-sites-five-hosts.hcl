# Three servers on five hosts: two small ones share an SFU host, where names
# and ports differ; the third has one of its own and a bind on its private net.

variable "sfu_image" {
  default = "livekit/livekit-server:v1.13.9"
}

host "alpha" { address = "alpha.example.net" }
host "beta" { address = "beta.example.net" }
host "gamma" { address = "gamma.example.net" }
host "sfu-1" { address = "sfu-1.example.net" }
host "sfu-2" { address = "sfu-2.example.net" }

site "alpha.example" {
  sfu {
    host      = host.sfu-1
    url       = "https://sfu.alpha.example"
    image     = var.sfu_image
    container = "livekit-alpha"
  }
  auth {
    host = host.alpha
    url  = "https://jwt.alpha.example"
  }
  synapse "debian" { host = host.alpha }
  proxy "nginx" { host = host.alpha }
  proxy "nginx" { host = host.sfu-1 }
  well_known "file" {
    host = host.alpha
    path = "/var/www/alpha.example/.well-known/matrix/client"
  }
}

site "beta.example" {
  sfu {
    host      = host.sfu-1
    url       = "https://sfu.beta.example"
    image     = var.sfu_image
    container = "livekit-beta"
    ports {
      signalling = 7890
      tcp        = 7891
      udp        = "50300-50400"
    }
  }
  auth {
    host = host.beta
    url  = "https://jwt.beta.example"
  }
  synapse "debian" { host = host.beta }
  proxy "nginx" { host = host.beta }
  proxy "nginx" { host = host.sfu-1 }
  well_known "file" {
    host = host.beta
    path = "/var/www/beta.example/.well-known/matrix/client"
  }
}

# One public name with two paths; gamma's proxy reaches the SFU over a private
# net, and the port is opened to gamma alone.
site "gamma.example" {
  sfu {
    host    = host.sfu-2
    url     = "https://rtc.gamma.example/livekit/sfu"
    image   = var.sfu_image
    bind    = "10.0.0.12"
    node_ip = "203.0.113.52"
  }
  auth {
    host = host.gamma
    url  = "https://rtc.gamma.example/livekit/jwt"
  }
  synapse "debian" { host = host.gamma }
  proxy "nginx" { host = host.gamma }
  well_known "external" {}
}
