# Rolls a run back when nobody feeds it any more, or when the machine was
# restarted, and finishes what was interrupted. Runs from arming on until the run is
# over; owned by PID 1, not by a connection.
set -u
R=$(cd -P -- "$(dirname -- "$0")" && pwd) || exit 0
# shellcheck disable=SC2034 # lib.sh uses both
D=${R%/runs/*} RUN=$(cat "$R/run") || exit 0
export LC_ALL=C
PATH=${PATH:-/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 077
cd / || exit 1
# shellcheck source=/dev/null
. "$R/lib.sh"

while { [ -e "$R/arming" ] || [ -e "$R/armed" ]; } && ! ec_expired; do
	sleep 1
done
# Interrupted before it was armed: nothing was changed.
while [ -e "$R/arming" ]; do
	mv -f -- "$R/arming" "$R/cut" 2>/dev/null || sleep 2
done
while [ -e "$R/cut" ] && ! ec_release; do
	sleep 2
done
# About to be rolled back: whoever does it says so, unless they were interrupted.
tries=0
while [ -e "$R/taking-back" ] && [ -e "$R/committed" ] && [ $tries -lt 10 ]; do
	tries=$((tries + 1))
	sleep 1
done
rm -f -- "$R/taking-back"

pause=1
while :; do
	if [ -e "$R/armed" ] || [ -e "$R/reverting" ] || [ -e "$R/reverted" ]; then
		sh "$R/rollback.sh"
		case $? in 0 | 76) exit 0 ;; esac
	elif [ -e "$R/committed" ]; then
		sh "$R/commit.sh" && exit 0
	else
		exit 0 # somebody removed it
	fi
	sleep $pause
	[ $pause -ge 15 ] || pause=$((pause * 2))
done
