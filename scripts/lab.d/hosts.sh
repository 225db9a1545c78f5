# shellcheck shell=bash
# Starting and removing hosts.

# Seen from outside a host is a container named ecdeploy-lab-NAME; labels say
# what it is: .kind, .variants, .address, .names and, of light hosts, .sfu-for.
container() { echo "$LABEL-$1"; }
of_host() { docker inspect --format "{{index .Config.Labels \"$LABEL.$2\"}}" "$(container "$1")" 2>/dev/null; }
# has_variant NAME VARIANT
has_variant() { [[ " $(of_host "$1" variants) " = *" $2 "* ]]; }
is_up() { [ "$(docker inspect --format '{{.State.Running}}' "$(container "$1")" 2>/dev/null)" = true ]; }

host_ip() {
	is_up "$1" || die "$1 is not up"
	of_host "$1" address
}

host_list() {
	docker ps -a --filter "label=$LABEL" --format "{{.Label \"$LABEL.host\"}} {{.Label \"$LABEL.kind\"}} {{.Label \"$LABEL.address\"}} {{.State}}" | sort
}

up() {
	local kind=full sfu_for='' name disk='' proxy='' firewall='' synapse='' variants=()
	while [[ ${1-} = --* ]]; do
		case $1 in
		--light) kind=light ;;
		--disk) disk=yes ;;
		--sfu-for) sfu_for=${2-} && shift ;;
		--proxy) proxy=$(variant_of proxy "${2-}") || exit 1; shift ;;
		--firewall) firewall=$(variant_of firewall "${2-}") || exit 1; shift ;;
		--synapse) synapse=$(variant_of synapse "${2-}") || exit 1; shift ;;
		*) usage ;;
		esac
		shift
	done
	[ $# -gt 0 ] || usage
	# Always in the same order, so that hosts share as many layers as can be.
	read -ra variants <<<"$proxy $firewall $synapse"
	[ "$kind$proxy$synapse" = light ] || [ $kind = full ] || die "a light host has nginx and no Synapse"
	for name in "$@"; do
		[[ $name =~ ^[a-z][a-z0-9-]{0,30}$ ]] || die "a host's name is of a-z, 0-9 and -, not $name"
	done
	[ -z "$sfu_for" ] || [ "$kind $#" = "light 1" ] || die "--sfu-for is for one light host"
	[ -z "$sfu_for" ] || ! is_up "$sfu_for" || die "$sfu_for is up already and carries its sfu itself: start $1 first, then $sfu_for"
	engine_answers || die "no Docker engine answers: run scripts/lab setup"
	docker image inspect "$(host_tag $kind)" >/dev/null 2>&1 || die "there is no image of $kind hosts: run scripts/lab setup"

	locked variant_image $kind "${variants[@]}"
	locked start_hosts $kind "$sfu_for" "$@"
	local waits=() pid rc=0
	for name in "$@"; do
		timed "$name is up" ready "$name" 9>&- &
		waits+=($!)
	done
	for pid in "${waits[@]}"; do wait "$pid" || rc=1; done
	locked write_lists
	return $rc
}

start_hosts() {
	local kind=$1 sfu_for=$2 name
	shift 2
	make_network
	for name in "$@"; do
		if is_up "$name"; then
			say "$name is up already; scripts/lab down $name removes it"
			continue
		fi
		remove_host "$name"
		start_host "$kind" "$sfu_for" "$name"
	done
}

make_network() {
	local subnet
	! docker network inspect "$LABEL" >/dev/null 2>&1 || return 0
	for subnet in $SUBNETS; do
		docker network create --label "$LABEL=network" --subnet "$subnet" "$LABEL" >/dev/null 2>"$LAB/network.log" && return
	done
	die "no network could be made of $SUBNETS: $(tail -n 1 "$LAB/network.log")"
}

# start_host KIND SFU_FOR NAME. A host's own names are in its /etc/hosts by
# --add-host, which a restart keeps; the engine's resolver tells them to the
# other hosts.
start_host() {
	local kind=$1 sfu_for=$2 name=$3 address n names options=() tree image
	image=$(variant_tag "$kind" "${variants[@]}")
	address=$(free_address)
	[ -z "$disk" ] || make_disk "$image" "$name"
	names=$(names_of "$kind" "$sfu_for" "$name")
	for n in $names; do
		options+=(--add-host "$n:$address" --network-alias "$n")
	done
	# shellcheck disable=SC2046
	docker create --name "$(container "$name")" --hostname "$name" \
		--label "$LABEL=host" --label "$LABEL.host=$name" --label "$LABEL.kind=$kind" \
		--label "$LABEL.address=$address" --label "$LABEL.names=$names" --label "$LABEL.sfu-for=$sfu_for" --label "$LABEL.variants=${variants[*]}" \
		--network "$LABEL" --ip "$address" "${options[@]}" \
		$(capabilities) $([ -z "$disk" ] || disk_options "$name") --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined \
		--cgroupns=private --device-cgroup-rule 'a *:* rwm' \
		--tmpfs /run --tmpfs /run/lock --tmpfs /tmp:exec --volume /var/lib/docker --volume /var/lib/containerd \
		"$image" >/dev/null
	tree=$(mktemp -d)
	host_files "$kind" "$sfu_for" "$name" "$tree"
	# No folders: those that are there keep their owners.
	find "$tree" ! -type d -printf '%P\0' | tar --create --owner=0 --group=0 --directory "$tree" --null --files-from=- | docker cp - "$(container "$name"):/"
	rm -rf "$tree"
	docker start "$(container "$name")" >/dev/null
}

names_of() {
	local kind=$1 sfu_for=$2 name=$3
	case $kind in
	full)
		printf '%s ' "$name.test" "matrix.$name.test" "matrix-rtc-jwt.$name.test"
		[ -n "$(docker ps -q --filter "label=$LABEL.sfu-for=$name")" ] || printf '%s ' "matrix-rtc-sfu.$name.test"
		;;
	light)
		printf '%s ' "$name.test"
		[ -z "$sfu_for" ] || printf '%s ' "matrix-rtc-sfu.$sfu_for.test"
		;;
	esac
}

# free_address: a host keeps its address when it is restarted, so no two may
# have the same, running or not. The last one is the laptop's.
free_address() {
	local net taken i
	net=$(docker network inspect --format '{{(index .IPAM.Config 0).Subnet}}' "$LABEL")
	taken=" $(docker ps -a --filter "label=$LABEL" --format "{{.Label \"$LABEL.address\"}}" | paste -sd' ') "
	for i in {2..253}; do
		[[ $taken = *" ${net%.0/*}.$i "* ]] || { echo "${net%.0/*}.$i"; return; }
	done
	die "there are 252 hosts already"
}

# host_files KIND SFU_FOR NAME DIR: what this host has and others of its kind
# have not.
host_files() {
	local kind=$1 sfu_for=$2 name=$3 dir=$4 f v
	[ "$kind" != full ] || cp -r scripts/lab.d/full/. "$dir"
	for v in "${variants[@]}"; do variant_files "$v" "$name" "$dir"; done
	find "$dir" -depth -name '*SITE*' | while read -r f; do
		mv "$f" "$(dirname "$f")/$(basename "${f//SITE/$name.test}")"
	done
	find "$dir" -type f -exec sed -i "s/@SITE@/$name.test/g; s/@NAME@/$name/g" {} +
	if [ -e "$dir/etc/nginx/sites-available/$name.test" ]; then
		mkdir -p "$dir/etc/nginx/sites-enabled"
		ln -s "/etc/nginx/sites-available/$name.test" "$dir/etc/nginx/sites-enabled/$name.test"
	fi
	find "$dir" -type d -exec chmod 755 {} +
	[[ " ${variants[*]} " = *' caddy '* ]] || certificate "$dir/etc/letsencrypt/live/$name.test" "$name.test" "*.$name.test"
	[ -z "$sfu_for" ] || certificate "$dir/etc/letsencrypt/live/matrix-rtc-sfu.$sfu_for.test" "matrix-rtc-sfu.$sfu_for.test"
	chmod 755 "$dir"
}

# capabilities: `docker run --privileged` asks for all and fails where this
# machine itself has been denied one. So: what there is, but for what would reach
# past the host into the kernel that it shares.
capabilities() {
	local all=(chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable
		net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace
		sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write
		audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read)
	local not=' sys_module sys_rawio sys_boot sys_time mac_override mac_admin wake_alarm block_suspend '
	local have i
	have=$((16#$(sed -n 's/^CapBnd:\s*//p' /proc/self/status)))
	for i in "${!all[@]}"; do
		((have >> i & 1)) && [[ $not != *" ${all[i]} "* ]] && printf -- '--cap-add %s ' "${all[i]^^}"
	done
	:
}

synapse_unit() { if has_variant "$1" venv; then echo synapse.service; else echo matrix-synapse.service; fi; }
firewall_unit() { if has_variant "$1" nftables; then echo nftables.service; else echo ufw.service; fi; }

# ready NAME: waits until all that is needed of a host answers, then keeps its
# public SSH keys. They are read past SSH, so that nothing has to be trusted.
ready() {
	local name=$1 probe='systemctl is-active ssh docker && docker info'
	if has_variant "$name" caddy; then
		probe+=" && systemctl is-active caddy && curl -fs -o /dev/null https://$name.test/"
	else
		probe+=' && systemctl is-active nginx && curl -fs -o /dev/null http://127.0.0.1/'
	fi
	probe+=" && systemctl is-active $(firewall_unit "$name")"
	[ "$(of_host "$name" kind)" != full ] || probe+=" && systemctl is-active $(synapse_unit "$name") && curl -fs http://127.0.0.1:8008/health"
	within "$WAIT" docker exec "$(container "$name")" sh -c "$probe" || {
		docker exec "$(container "$name")" sh -c "$probe; journalctl -p warning -n 15 --no-pager" >&2 || :
		die "$name is not ready after $WAIT s; what is above says what is missing"
	}
	# ufw was installed where it could not ask the kernel what it can. It writes
	# its rule files again with the first reload and loads them with the second.
	has_variant "$name" nftables || docker exec "$(container "$name")" sh -c 'ufw reload && ufw reload' >/dev/null || die "ufw of $name does not reload"
	[ ! -e "$(disk_image "$name")" ] || sync -f "$(disk_mount "$name")"
	mkdir -p "$LAB/hosts.d"
	docker exec "$(container "$name")" sh -c 'cut -d" " -f1,2 /etc/ssh/ssh_host_*_key.pub' |
		sed "s/^/$(of_host "$name" address),$name,$name.test /" >"$LAB/hosts.d/$name"
	within "$WAIT" lab_ssh_with "$LAB/hosts.d/$name" "$name" true || die "$name does not answer over SSH after $WAIT s"
}

# write_lists: who the hosts are, for other programs on this machine.
write_lists() {
	docker ps --filter "label=$LABEL" --format "{{.Label \"$LABEL.address\"}} {{.Label \"$LABEL.names\"}}" | sort >"$LAB/hosts.new"
	mv "$LAB/hosts.new" "$LAB/hosts"
	cat "$LAB/hosts.d/"* >"$LAB/known_hosts.new" 2>/dev/null || :
	mv "$LAB/known_hosts.new" "$LAB/known_hosts"
}

remove_host() {
	docker rm -fv "$(container "$1")" >/dev/null 2>&1 || :
	open_outer "$1"
	remove_disk "$1"
	rm -f "$LAB/hosts.d/$1"
}

down() {
	if engine_answers; then
		locked remove_hosts "$@"
	fi
	if [ $# = 0 ]; then
		locked remove_laptop
		locked open_all_outer
		locked stop_engine
	fi
}

remove_hosts() {
	local name
	for name in "$@"; do
		remove_host "$name"
	done
	if [ $# = 0 ]; then
		remove_containers
		for name in "$LAB"/disks/*.img; do
			remove_disk "$(basename "$name" .img)"
		done
		rm -f "$LAB/hosts.d/"*
		docker network rm "$LABEL" >/dev/null 2>&1 || :
	fi
	[ ! -d "$LAB/hosts.d" ] || write_lists
}
