# Makes a run final: the rename of "armed" decides between this and rollback.sh.
# What comes after it may be cut anywhere; whoever runs this again, as watch.sh
# does, finishes it.
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
flock -w 60 8 8>&8 || exit 1
[ ! -e "$R/armed" ] || mv -- "$R/armed" "$R/committed" || exit 1
if [ ! -e "$R/committed" ]; then
	echo 'the run was taken back meanwhile' >&2
	exit 1
fi
ec_sync "$R"
[ ! -e "$R/closed" ] || exit 0
rm -f -- "$R/ballast"
slug=${R##*/}
slug=${slug#"$RUN".}

# What the site's runs before this one had kept for a rollback. A conflict stays
# until somebody has looked at it.
for d in "$D"/runs/*."$slug"; do
	if [ "$d" = "$R" ] || [ -e "$d/armed" ] || [ -e "$d/reverting" ] || [ -e "$d/conflict" ]; then continue; fi
	ec_forget "$d" 8>&-
done
ec_boot_hook_off "$R"
: >"$R/closed" && ec_sync "$R" || exit 1
ec_unlock
