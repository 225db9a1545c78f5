# shellcheck shell=sh
# The host's audit log, D/audit.log, which is only added to. A line is
#   N TIME RUN EVENT TEXT =HASH
# HASH is the SHA-256 of the HASH of the line before (of nothing for the first
# one), a space, and what stands before " =" in this line: no line can be changed,
# or taken out from between others, without its being seen. A line that a full
# disk or a power failure tore has no HASH at its end and is no part of that chain.

# ec_audit EVENT TEXT: one more line, for the run RUN, on disk when this returns.
ec_audit() (
	umask 077
	exec 6>>"$D/audit.flock"
	flock -w 20 6 6>&6 || { echo "$D/audit.flock is busy" >&2; exit 1; }
	log=$D/audit.log
	[ ! -L "$log" ] || exit 1
	last=$(ec_audit_last)
	n=$((${last%% *} + 1))
	entry="$n $(date -u +%Y-%m-%dT%H:%M:%SZ) $RUN $1 $(printf '%s' "$2" | tr -c '[:print:]' ' ' | cut -c1-1000)"
	hash=$(printf '%s' "${last##* } $entry" | sha256sum) || exit 1
	# Behind a torn line, or the zeros that a power failure may leave.
	[ ! -s "$log" ] || [ "$(($(tail -c 1 "$log" | od -An -tu1)))" = 10 ] || entry="
$entry"
	printf '%s =%s\n' "$entry" "${hash%% *}" >>"$log" && ec_sync "$log" "$D"
)

# ec_audit_last: "N HASH" of the last whole line; "0 " for none.
ec_audit_last() {
	last=$(tail -n 200 "$D/audit.log" 2>/dev/null | tr -d '\000' | grep -E '^[0-9]+ .* =[0-9a-f]{64}$' | tail -n 1)
	echo "$((${last%% *} + 0)) ${last##* =}"
}

# ec_audit_since HASH: a line "audit ", which says that the log was looked at, and then
# the log from the line with that HASH on, the last line alone for HASH "", and nothing
# where no line has it. Each begins with "audit ". What is being written just now is
# waited for.
ec_audit_since() (
	echo 'audit '
	if [ -e "$D/audit.flock" ]; then
		exec 6<"$D/audit.flock"
		flock -s -w 20 6 6<&6
	fi
	[ -e "$D/audit.log" ] || exit 0
	if [ -n "$1" ]; then
		sed -n "/ =$1\$/,\$p" "$D/audit.log" | tail -c 4000000
	else
		tail -n 200 "$D/audit.log" | tr -d '\000' | grep -E '^[0-9]+ .* =[0-9a-f]{64}$' | tail -n 1
	fi | sed 's/^/audit /'
)

# ec_whence: where this comes from: an SSH login, or the host itself.
ec_whence() {
	# shellcheck disable=SC2016 # for the inner shell
	for p in $(ec_ancestors $$ | cut -d' ' -f1); do
		client=$(tr '\0' '\n' <"/proc/$p/environ" 2>/dev/null | sed -n 's/^SSH_CLIENT=\([^ ]*\) .*/\1/p')
		user=$(tr '\0' '\n' <"/proc/$p/environ" 2>/dev/null | sed -n 's/^USER=//p')
		[ -z "$client" ] || { echo "from $client as ${user:-?}"; return; }
	done
	echo 'by the host itself, or somebody at it'
}
