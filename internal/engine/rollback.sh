# Undoes a run, newest change first. Run by ecdeploy over SSH, by watch.sh when
# nobody feeds the run any more, or by an admin with `sh rollback.sh`;
# `sh rollback.sh --committed` rolls back a run that was finished. May be killed
# anywhere and run again. Exit status: 0 everything is as before the run; 76 it
# is, but for what somebody else edited since: theirs was kept, see the file
# report; anything else: not complete, run it again.
set -u
R=$(cd -P -- "$(dirname -- "$0")" && pwd) || exit 1
# shellcheck disable=SC2034 # lib.sh uses both
D=${R%/runs/*} RUN=$(cat "$R/run") || exit 1
export LC_ALL=C
PATH=${PATH:-/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 077
trap '' PIPE # who listened may be gone
# shellcheck source=/dev/null
. "$R/lib.sh"

exec 8>>"$R/rollback.lock"
# 8>&8: ksh hands no other descriptors to programs than those named.
if ! flock -w 300 8 8>&8; then
	echo "this run is being rolled back or committed by another process" >&2
	exit 1
fi

if [ -e "$R/reverted" ]; then
	echo "already rolled back"
elif [ -e "$R/armed" ]; then
	mv -- "$R/armed" "$R/reverting" || exit 1
elif [ -e "$R/committed" ] && [ "${1-}" = --committed ]; then
	ec_take_lock "$(cat "$R/about")
" >&2 || exit 1
	# From here on it rolls back by itself, too.
	: >"$R/taking-back" && rm -f -- "$R/deadline" "$R/closed" && ec_watch_on && ec_sync "$R" || exit 1
	mv -- "$R/committed" "$R/reverting" || exit 1
elif [ ! -e "$R/reverting" ]; then
	echo "this run changed nothing, or is committed (--committed rolls it back)" >&2
	exit 1
fi
rm -f -- "$R/ballast" "$R/taking-back"
ec_sync "$R"
ec_fence || exit 1

exec 9>>"$R/flock"
if ! flock -w 60 9 9>&9; then
	echo "another command of this run is still busy" >&2
	exit 1
fi

# say MARK EVENT TEXT: to the audit log, once for a MARK, or twice where this is interrupted
# in between. No line there is worth an undo that does not come.
say() {
	if [ ! -e "$1" ] && ec_audit "$2" "$3" 2>/dev/null; then (: >"$1") 2>/dev/null; fi
}
# conflicts: how many there are so far.
conflicts() { sed -n '/^conflict: /p' "$R/report" 2>/dev/null | wc -l; }

rc=0
[ -e "$R/reverted" ] || say "$R/said" taken-back "$([ ! -e "$R/audited" ] || printf 'after its end, ')$(ec_whence)"
[ -e "$R/reverted" ] || for J in $(printf '%s\n' "$R"/changes/* | sort -r); do
	if [ ! -e "$J/touched" ] || [ -e "$J/undone" ]; then continue; fi
	before=$(conflicts)
	# shellcheck source=/dev/null
	if (cd / && . "$J/undo.sh") 8>&- 9>&-; then
		# What somebody else's edit kept from being undone still stands.
		if [ ! -e "$J/conflict" ]; then
			ec_ledger_undo || { rc=1 && continue; }
		else # a container is back all the same
			ec_ledger_undo 'container-*' || { rc=1 && continue; }
		fi
		: >"$J/undone"
		ec_sync "$J/undone" "$J"
		if [ ! -e "$J/title" ]; then # what was written down alone
			:
		elif [ "$(conflicts)" = "$before" ]; then
			say "$J/said" undone "$(cat "$J/title")"
		else
			say "$J/said" left "$(cat "$J/title"): somebody else had edited it"
		fi
	else
		ec_note "undo of $(cat "$J/title") did not succeed"
		say "$J/said.failed" not-undone "$(cat "$J/title"), at the first try"
		rc=1
	fi
done
[ $rc = 0 ] || exit 1

if [ ! -e "$R/reverted" ]; then
	if [ -e "$R/conflict" ]; then
		say "$R/said.end" rolled-back "but for what somebody else edited: $(sed -n 's/^conflict: //p' "$R/report")"
	else
		say "$R/said.end" rolled-back whole
	fi
	mv -- "$R/reverting" "$R/reverted" || exit 1
fi
ec_sync "$R"
# Nothing needs the staged bytes and before-images any more, and they hold
# secrets.
[ -e "$R/conflict" ] || rm -rf -- "$R/changes" || exit 1
# The lock goes last: from then on another run may remove this one's folder. One
# that stays because this was interrupted frees itself.
ec_boot_hook_off "$R" && : >"$R/closed" && ec_sync "$R" && ec_unlock || exit 1
[ ! -e "$R/conflict" ] || exit 76
exit 0
