# shellcheck shell=sh
# Prints what a host is like, for Snapshot; runs there as root and writes
# nothing. Left out is what changes by itself (databases, what systemd, Caddy and the
# Docker engine remember, folders for one start of a service, sudo's mark of a first use) and the journals.

# things ACTION...: everything on disk that a deployment could touch.
things() {
	find /etc /var/www /var/lib /var/spool/cron /usr/local /opt /srv /root /home /tmp /var/tmp -xdev \
		\( -path /var/lib/docker -o -path /var/lib/containerd -o -path /var/lib/ecdeploy \
		-o -path /var/lib/systemd -o -path /var/lib/private -o -path /var/lib/logrotate \
		-o -path '/var/lib/nginx/*' -o -path '/var/lib/matrix-synapse/homeserver.db*' -o -path '/var/lib/synapse/homeserver.*' -o -path /var/lib/caddy \
		-o -path '/tmp/systemd-private-*' -o -path '/var/tmp/systemd-private-*' -o -path '/tmp/.*-unix' \
		-o -name __pycache__ -o -name .sudo_as_admin_successful \) -prune -o "$@" 2>/dev/null
}

# of EXISTING-COMMAND...: nothing where there is no such command.
of() { if command -v "$1" >/dev/null; then "$@" 2>/dev/null; fi; }

echo '== mode'
things -printf '%p\t%y %m %U:%G %l\n'
echo '== bytes'
things -type f -exec sha256sum {} +

echo '== container'
ids=$(of docker ps -aq --no-trunc)
# shellcheck disable=SC2086 # one argument for each id
[ -z "$ids" ] || docker inspect -f '{{.Name}}	{{.Id}} {{.Image}} {{.State.Status}} {{json .Config}} {{json .HostConfig}} {{json .Mounts}}' $ids
echo '== attributes'
things \( -type f -o -type d \) -print0 | of xargs -0 getfattr -h -d -m - --absolute-names -- | awk '/^# file: / {f = substr($0, 9); next} NF {print f "	" $0}'
echo '== unit'
systemctl list-unit-files --no-legend --no-pager | awk '$2 != "transient" {print $1 "	" $2}'
systemctl list-units --no-legend --no-pager --plain --all --type=service | awk '$1 !~ /^(systemd-|user|modprobe|e2scrub|apt|dpkg|logrotate|motd|fstrim|ecdeploy-|emergency|rescue|initrd|getty|console-getty|container-getty|ldconfig|man-db)/ && $2 == "loaded" && $4 != "dead" {print "state " $1 "	" ($3 == "failed" ? "failed" : $4)}'
echo '== process'
# What a run may have left behind.
for p in /proc/[0-9]*; do
	c=$(tr '\0' ' ' <"$p/cmdline" 2>/dev/null) || continue
	case $c in *"/var/lib/ecdeploy/runs"*) printf '%s	x\n' "$c" ;; esac
done
echo '== network'
of docker network ls --format '{{.Name}}	{{.Driver}}'
echo '== volume'
of docker volume ls --format '{{.Name}}	{{.Driver}}'
echo '== residue'
find /etc /var/www /var/lib/ecdeploy /usr/local -xdev -name '.ecdeploy.*' -printf '%p	%y\n' 2>/dev/null
[ ! -e /var/lib/ecdeploy/lock ] || printf 'lock	%s\n' "$(head -n 1 /var/lib/ecdeploy/lock)"

echo '== iptables'
of iptables-save
echo '== ip6tables'
of ip6tables-save
echo '== ufw'
of ufw status
# Tables that are not iptables' own, which would be told twice.
of nft list tables | grep -Ev '^table ip6? (filter|nat|mangle|raw|security)$' | while read -r _ family name; do
	echo "== nft $family $name"
	nft --stateless list table "$family" "$name"
done

echo '== sysctl'
printf 'net.ipv4.ip_local_reserved_ports\t%s\n' "$(cat /proc/sys/net/ipv4/ip_local_reserved_ports)"
