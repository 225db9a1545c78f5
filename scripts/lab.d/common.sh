# shellcheck shell=bash
# shellcheck disable=SC2034 # used by the parts that source this
# What every part of scripts/lab uses: where things are, how to speak, wait and
# take turns.

LAB=${ECDEPLOY_LAB:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/ecdeploy-lab}
LIVEKIT=v1.13.5
LIVEKIT_IMAGE=livekit/livekit-server:$LIVEKIT
JWT_IMAGE=ecdeploy-lab/jwt-service-stand-in:0.10.0
# Every container, and only these, has this label; the network has it as its name.
LABEL=ecdeploy-lab
# The first that no other network of the engine overlaps with is taken.
SUBNETS=${ECDEPLOY_LAB_SUBNETS:-172.29.0.0/16 172.30.0.0/16 172.28.0.0/16}
# Seconds that one thing may take to come up. Nearly always it takes a tenth of
# this; on a machine that builds something else meanwhile it does not.
WAIT=${ECDEPLOY_LAB_WAIT:-180}

say() { printf 'lab: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# timed WHAT COMMAND...: runs it and says how long it took.
timed() {
	local what=$1 began=${EPOCHREALTIME/./} rc=0
	shift
	"$@" || rc=$?
	local ms=$(((${EPOCHREALTIME/./} - began) / 1000))
	say "$(printf '%s: %d.%d s' "$what" $((ms / 1000)) $((ms % 1000 / 100)))$([ $rc = 0 ] || echo " (failed: $rc)")"
	return $rc
}

# within SECONDS COMMAND...: repeats it until it succeeds.
within() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.2
	done
}

# locked COMMAND...: one at a time on this machine. What it starts in the
# background must close descriptor 9.
locked() {
	mkdir -p "$LAB"
	exec 9>"$LAB/lock"
	flock -w 1800 9 || die "another scripts/lab has held $LAB/lock for half an hour"
	"$@"
	exec 9>&-
}

# digest FILE...: one short name for the content of all of them, and of standard
# input if - is among them.
digest() { cat -- "$@" | sha256sum | cut -c1-16; }
