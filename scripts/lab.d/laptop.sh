# shellcheck shell=bash
# The laptop as a machine of its own. This machine is the bridge of all hosts: it
# knows none of their names, and no firewall between it and them is one in front
# of them. So there is a network namespace, joined to the hosts' bridge like one
# of them, that knows their names.

LAPTOP=ecdeploy-laptop
LAPTOP_VETH=eclaptop

# laptop_address: the last of those that free_address gives out otherwise.
laptop_address() {
	local net
	net=$(docker network inspect --format '{{(index .IPAM.Config 0).Subnet}}' "$LABEL")
	echo "${net%.0/*}.254"
}

bridge() { echo "br-$(docker network inspect --format '{{.ID}}' "$LABEL" | cut -c1-12)"; }

# has_laptop BRIDGE ADDRESS: is it there, and joined to the hosts of today?
has_laptop() {
	[ -e "/sys/class/net/$1/brif/$LAPTOP_VETH" ] &&
		ip -n "$LAPTOP" -4 -o address show dev eth0 2>/dev/null | grep -qF " $2/"
}

make_laptop() {
	local bridge=$1 address=$2 net
	! has_laptop "$bridge" "$address" || return 0
	remove_laptop
	net=$(docker network inspect --format '{{(index .IPAM.Config 0).Subnet}}' "$LABEL")
	ip netns add "$LAPTOP"
	ip link add "$LAPTOP_VETH" type veth peer name eth0 netns "$LAPTOP"
	ip link set "$LAPTOP_VETH" master "$bridge" up
	ip -n "$LAPTOP" link set lo up
	ip -n "$LAPTOP" link set eth0 up
	ip -n "$LAPTOP" address add "$address/${net#*/}" dev eth0
	ip -n "$LAPTOP" route add default via "${address%.*}.1"
	mkdir -p "/etc/netns/$LAPTOP"
	# Where nobody listens: a name that is in no file is unknown at once.
	echo 'nameserver 127.0.0.1' >"/etc/netns/$LAPTOP/resolv.conf"
}

# remove_laptop leaves nothing, not even the folders that `ip netns` makes.
remove_laptop() {
	[ "$(id -u)" = 0 ] || return 0
	ip link delete "$LAPTOP_VETH" 2>/dev/null || :
	! ip netns list | grep -qx "$LAPTOP\( .*\)\?" || ip netns delete "$LAPTOP"
	rm -rf "/etc/netns/${LAPTOP:?}"
	rmdir /etc/netns 2>/dev/null || :
	if [ -d /run/netns ] && [ -z "$(ls -A /run/netns)" ]; then
		umount /run/netns 2>/dev/null || :
		rmdir /run/netns 2>/dev/null || :
	fi
}

# laptop_hosts [NAME=ADDRESS...]: its /etc/hosts. A name that is given leads to
# that address, or, without one, nowhere.
laptop_hosts() {
	local n names address all
	printf '127.0.0.1 localhost %s\n' "$(hostname)"
	names=$(printf '%s\n' "${@%%=*}")
	while read -r address all; do
		for n in $all; do
			grep -qxF -- "$n" <<<"$names" || printf '%s %s\n' "$address" "$n"
		done
	done <"$LAB/hosts"
	for n in "$@"; do
		[ -z "${n#*=}" ] || printf '%s %s\n' "${n#*=}" "${n%%=*}"
	done
}

# laptop [--name NAME=ADDRESS]... COMMAND...: becomes the command, so that who
# started this script can send it signals.
laptop() {
	local bridge address hosts changed=()
	while [ "${1-}" = --name ]; do
		[[ ${2-} = *=* ]] || usage
		changed+=("$2")
		shift 2
	done
	[ $# -gt 0 ] || usage
	[ "$(id -u)" = 0 ] || die "only root can make a machine of a network namespace"
	docker network inspect "$LABEL" >/dev/null 2>&1 || die "no host is up"
	bridge=$(bridge) address=$(laptop_address)
	has_laptop "$bridge" "$address" || locked make_laptop "$bridge" "$address"
	# Two calls may know different names, so each has a file of its own.
	hosts=$(mktemp)
	chmod 644 "$hosts"
	laptop_hosts "${changed[@]}" >"$hosts"
	cd "$OLDPWD" || die "$OLDPWD is gone"
	# shellcheck disable=SC2016
	exec ip netns exec "$LAPTOP" sh -c 'mount --bind "$0" /etc/hosts && rm "$0" && exec "$@"' "$hosts" "$@"
}

# outside NAME: the end of a host's cable that is on this machine.
outside() {
	local index
	index=$(docker exec "$(container "$1")" cat /sys/class/net/eth0/iflink)
	ip -o link | sed -n "s/^$index: \([^:@]*\).*/\1/p" | grep . || die "the cable of $1 is not found"
}

# outer NAME on 'to|from MATCH'... | off: a firewall in front of a host, as a
# router or a cloud has one: it drops what matches (words of nft) on its way to or
# from the host, whoever sent it, and neither the host nor the laptop sees it.
outer() {
	local name=${1-} what=${2-} rule rules='' cable
	[ $# -ge 2 ] || usage
	shift 2
	is_up "$name" || die "$name is not up"
	open_outer "$name"
	case $what in
	off) return 0 ;;
	on) [ $# -gt 0 ] || usage ;;
	*) usage ;;
	esac
	cable=$(outside "$name")
	for rule in "$@"; do
		case $rule in
		'to '*) rules+="add rule netdev $(outer_table "$name") to ${rule#to } drop"$'\n' ;;
		'from '*) rules+="add rule netdev $(outer_table "$name") from ${rule#from } drop"$'\n' ;;
		*) usage ;;
		esac
	done
	nft -f - <<-TEXT
		add table netdev $(outer_table "$name")
		add chain netdev $(outer_table "$name") to { type filter hook egress device "$cable" priority 0; }
		add chain netdev $(outer_table "$name") from { type filter hook ingress device "$cable" priority 0; }
		$rules
	TEXT
}

outer_table() { echo "ecdeploy_outer_${1//-/_}"; }

open_outer() { nft delete table netdev "$(outer_table "$1")" 2>/dev/null || :; }

# open_all_outer is for hosts that are no more.
open_all_outer() {
	local t
	nft list tables netdev 2>/dev/null | sed -n 's/^table netdev \(ecdeploy_outer_.*\)$/\1/p' |
		while read -r t; do nft delete table netdev "$t"; done
}
