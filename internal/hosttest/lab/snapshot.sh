# shellcheck shell=sh
# Prints what a host is like, for Snapshot; runs there as root and writes
# nothing. Left out is what changes by itself (databases, what systemd and the
# Docker engine remember, folders for one start of a service, sudo's mark of a first use) and the journals.

# things ACTION...: everything on disk that a deployment could touch.
things() {
	find /etc /var/www /var/lib /var/spool/cron /usr/local /opt /srv /root /home /tmp /var/tmp -xdev \
		\( -path /var/lib/docker -o -path /var/lib/containerd -o -path /var/lib/ecdeploy \
		-o -path /var/lib/systemd -o -path /var/lib/private -o -path /var/lib/logrotate \
		-o -path '/var/lib/nginx/*' -o -path '/var/lib/matrix-synapse/homeserver.db*' \
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
[ -z "$ids" ] || docker inspect -f '{{.Name}}	{{.Id}} {{.Image}} {{.State.Status}} restart={{.HostConfig.RestartPolicy.Name}}' $ids
echo '== network'
of docker network ls --format '{{.Name}}	{{.Driver}}'
echo '== volume'
of docker volume ls --format '{{.Name}}	{{.Driver}}'

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
