# Undoes a run, newest change first. Run by ecdeploy over SSH, or by an admin
# with `sh rollback.sh`; `sh rollback.sh --committed` takes back a run that was
# finished. May be killed anywhere and run again. Exit status: 0 everything is
# as before the run; 76 it is, but for what somebody else edited since: theirs
# was kept, see the file report; anything else: not complete, run it again.
set -u
R=$(cd -P -- "$(dirname -- "$0")" && pwd) || exit 1
RUN=$(cat "$R/run") || exit 1
export LC_ALL=C
umask 077
# shellcheck source=/dev/null
. "$R/lib.sh"

exec 9>>"$R/flock"
# 9>&9: ksh hands no other descriptors to programs than those named.
if ! flock -w 300 9 9>&9; then
	echo "another command of this run is still busy" >&2
	exit 1
fi

if [ -e "$R/reverted" ]; then
	echo "already rolled back"
elif [ -e "$R/armed" ]; then
	mv -- "$R/armed" "$R/reverting" || exit 1
elif [ -e "$R/committed" ] && [ "${1-}" = --committed ]; then
	mv -- "$R/committed" "$R/reverting" || exit 1
elif [ ! -e "$R/reverting" ]; then
	echo "this run changed nothing, or is committed (--committed takes it back)" >&2
	exit 1
fi
rm -f -- "$R/ballast"
ec_sync "$R"

rc=0
[ -e "$R/reverted" ] || for J in $(printf '%s\n' "$R"/changes/* | sort -r); do
	if [ ! -e "$J/touched" ] || [ -e "$J/undone" ]; then continue; fi
	# shellcheck source=/dev/null
	if (cd / && . "$J/undo.sh") 9>&-; then
		: >"$J/undone"
		ec_sync "$J/undone" "$J"
	else
		ec_note "undo of $(cat "$J/title") did not succeed"
		rc=1
	fi
done
[ $rc = 0 ] || exit 1

[ -e "$R/reverted" ] || mv -- "$R/reverting" "$R/reverted" || exit 1
ec_sync "$R"
D=${R%/runs/*}
if [ "$(sed -n 's/^run //p' "$D/lock" 2>/dev/null)" = "$RUN" ]; then rm -f -- "$D/lock"; fi
[ ! -e "$R/conflict" ] || exit 76
# Nothing needs the staged bytes and before-images any more, and they hold
# secrets.
rm -rf -- "$R/changes"
exit 0
