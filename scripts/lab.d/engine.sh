# shellcheck shell=bash
# This machine's packages and its Docker engine.

# shellcheck source=scripts/lab.d/packages.sh
. scripts/lab.d/packages.sh

tools() {
	local missing=() p
	for p in "${TOOLS[@]}"; do
		dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null | grep -q '^ii' || missing+=("$p")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] || die "these packages are missing, and only root can install them: ${missing[*]}"
	locked timed "install ${missing[*]}" install_packages "${missing[@]}"
}

install_packages() {
	export DEBIAN_FRONTEND=noninteractive
	{ apt-get -q update && apt-get -q install -y --no-install-recommends "$@"; } </dev/null >"$LAB/apt.log" 2>&1 9>&- ||
		{ tail -n 5 "$LAB/apt.log" >&2; die "installing failed; all of it is in $LAB/apt.log"; }
}

engine_answers() { docker info --format '{{.ServerVersion}}' >/dev/null 2>&1; }

# is_engine PID: is this process a Docker engine?
is_engine() { [ -n "$1" ] && [ "$(cat "/proc/$1/comm" 2>/dev/null)" = dockerd ]; }

# start_engine starts dockerd where none answers. Its pid is kept, so that `down`
# stops this one and never another.
start_engine() {
	engine_answers && return
	[ "$(id -u)" = 0 ] || die "no Docker engine answers, and only root can start one"
	local pidfile=/var/run/docker.pid
	if [ -e $pidfile ] && ! is_engine "$(cat $pidfile)"; then
		rm -f $pidfile
	fi
	setsid dockerd --pidfile $pidfile </dev/null >"$LAB/dockerd.log" 2>&1 9>&- &
	echo $! >"$LAB/dockerd.pid"
	within "$WAIT" engine_answers || {
		tail -n 5 "$LAB/dockerd.log" >&2
		die "the Docker engine does not answer after $WAIT s; its log is $LAB/dockerd.log"
	}
	# An engine that was killed remembers hosts which are no more.
	remove_containers
}

stop_engine() {
	local pid
	pid=$(cat "$LAB/dockerd.pid" 2>/dev/null) || return 0
	rm -f "$LAB/dockerd.pid"
	is_engine "$pid" || return 0
	kill "$pid"
	within 60 eval "! is_engine $pid" || die "the Docker engine (process $pid) does not stop"
	# What it leaves behind, and would find again if it were started.
	umount /run/docker/netns/* 2>/dev/null || :
	ip link delete docker0 2>/dev/null || :
}

remove_containers() {
	local ids
	ids=$(docker ps -aq --filter "label=$LABEL")
	# shellcheck disable=SC2086
	[ -z "$ids" ] || docker rm -fv $ids >/dev/null
}
