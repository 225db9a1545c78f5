package nginx

import (
	"maps"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/splice"
)

// listenKey is the address of a listen directive in one spelling: 443, *:443
// and 0.0.0.0:443 are the same to nginx.
func listenKey(arg string) string {
	arg = strings.ToLower(arg)
	if strings.HasPrefix(arg, "unix:") {
		return arg
	}
	host, port := arg, "80" // nginx's default
	switch i := strings.LastIndexByte(arg, ':'); {
	case strings.Trim(arg, "0123456789") == "":
		host, port = "", arg
	case i > strings.LastIndexByte(arg, ']'):
		host, port = arg[:i], arg[i+1:]
	}
	host = strings.Trim(host, "[]")
	if host == "" || host == "*" {
		host = "0.0.0.0"
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.String()
	}
	return net.JoinHostPort(host, port)
}

// isTLS reports whether a listen directive of the block takes TLS over TCP:
// ssl says so, or the old `ssl on` for all of the block's.
func (s nginxServer) isTLS(listen []string) bool {
	if !s.tls || slices.Contains(listen, "quic") {
		return false
	}
	return slices.Contains(listen, "ssl") || !slices.ContainsFunc(s.listens,
		func(l []string) bool { return slices.Contains(l, "ssl") || slices.Contains(l, "quic") })
}

// on gives the block's listen directive for the address with that key; nil
// where there is none.
func (s nginxServer) on(key string) []string {
	for _, l := range s.listens {
		if listenKey(l[0]) == key && !slices.Contains(l, "quic") {
			return l
		}
	}
	return nil
}

// defaultOn is the default server of an address among blocks in nginx's order.
func defaultOn(blocks []nginxServer, key string) (s nginxServer, found, explicit bool) {
	for _, b := range blocks {
		l := b.on(key)
		switch {
		case l == nil:
		case slices.Contains(l, "default_server") || slices.Contains(l, "default"):
			return b, true, true
		case !found:
			s, found = b, true
		}
	}
	return s, found, false
}

// listens are the addresses that the host's TLS servers listen on, with ssl
// alone as their option: of those on port 443 if there are any (8448 is for
// federation alone), and the usual two where no server has TLS.
func (t *nginxTree) listens(ipv6 bool) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range t.servers() {
		for _, l := range s.listens {
			if key := listenKey(l[0]); s.isTLS(l) && !seen[key] {
				seen[key] = true
				out = append(out, l[0]+" ssl")
			}
		}
	}
	https := slices.DeleteFunc(slices.Clone(out), func(l string) bool { return !strings.HasSuffix(addrKey(l), ":443") })
	switch {
	case len(https) > 0:
		return https
	case len(out) > 0:
		return out
	case ipv6:
		return []string{"443 ssl", "[::]:443 ssl"}
	}
	return []string{"443 ssl"}
}

// addrKey is the key of an entry of listens.
func addrKey(listen string) string {
	addr, _, _ := strings.Cut(listen, " ")
	return listenKey(addr)
}

// tlsAddr is where the host's own TLS servers can be asked.
func (t *nginxTree) tlsAddr() string {
	for _, l := range t.listens(false) {
		addr, _, _ := strings.Cut(l, " ")
		if addr == "443" || strings.HasPrefix(addr, "*:") || strings.HasPrefix(addr, "0.0.0.0:") {
			_, port, ok := strings.Cut(addr, ":")
			if !ok {
				port = addr
			}
			return "127.0.0.1:" + port
		}
	}
	addr, _, _ := strings.Cut(t.listens(false)[0], " ")
	if !strings.Contains(addr, ":") {
		addr = "127.0.0.1:" + addr
	}
	return strings.Replace(addr, "[::]:", "[::1]:", 1)
}

// ownServerFile reports whether a file holds server blocks of our own.
func ownServerFile(p string) bool {
	return strings.HasPrefix(strings.TrimPrefix(path.Base(p), "zz-"), "ecdeploy-")
}

// places are where a file of server blocks of our own is read, the usual place
// first; zz- comes behind most names of a folder.
func (t *nginxTree) places(slug string) []string {
	var plain, last []string
	t.each(func(_ nginxFile, d *splice.Directive) {
		if d.Name != "include" {
			return
		}
		for _, pattern := range includes([]*splice.Directive{d}) {
			dir := path.Dir(pattern)
			if strings.ContainsAny(dir, "*?[") {
				continue
			}
			for _, out := range []struct {
				to   *[]string
				name string
			}{{&plain, "/ecdeploy-"}, {&last, "/zz-ecdeploy-"}} {
				p := dir + out.name + slug + ".conf"
				if ok, _ := path.Match(pattern, p); ok && !slices.Contains(*out.to, p) {
					*out.to = append(*out.to, p)
				}
			}
		}
	})
	return append(plain[:min(len(plain), 1)], last...)
}

// wouldBecomeDefault finds an address whose default server a block of our own in the file p
// would become, and the block that is it now: that one would lose all requests
// for names that no block has.
func (t *nginxTree) wouldBecomeDefault(p string, listens []string) (addr string, from nginxServer, yes bool) {
	// Only the order counts, so an empty block stands for ours.
	with := nginxTree{files: maps.Clone(t.files)}
	with.files[p] = nginxFile{path: p, parsed: []*splice.Directive{{Name: "server", Block: true}}}
	all := with.all()
	at := slices.IndexFunc(all, func(s nginxServer) bool { return s.file.path == p })
	ours := func(s nginxServer) bool { return ownServerFile(s.file.path) }
	before := slices.DeleteFunc(slices.Clone(all[:max(at, 0)]), ours)
	others := slices.DeleteFunc(all, ours)
	for _, l := range listens {
		addr, _, _ := strings.Cut(l, " ")
		now, found, explicit := defaultOn(others, listenKey(addr))
		if _, earlier, _ := defaultOn(before, listenKey(addr)); found && !explicit && !earlier {
			return addr, now, true
		}
	}
	return "", nginxServer{}, false
}
