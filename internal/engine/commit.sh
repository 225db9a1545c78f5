# Makes a run final: the rename of "armed" decides between this and rollback.sh.
# What comes after it may be interrupted anywhere; whoever runs this again, as watch.sh
# does, finishes it. Exit status: 0; 4 it is final, but not tidied up after;
# anything else: it is not final.
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
	echo 'the run was rolled back meanwhile' >&2
	exit 1
fi
ec_sync "$R"
if [ -e "$R/closed" ]; then # a power failure may have brought the hook back
	ec_boot_hook_off "$R" || exit 4
	exit 0
fi
rm -f -- "$R/ballast" || exit 4
[ -e "$R/audited" ] || { ec_audit committed "" && : >"$R/audited"; } || exit 4
slug=${R##*/}
slug=${slug#"$RUN".}

# What the site's runs before this one had kept for a rollback. A conflict stays
# until somebody has looked at it.
for d in "$D"/runs/*."$slug"; do
	if [ "$d" = "$R" ] || ! ec_is_of "$d" "$slug" || [ -e "$d/armed" ] || [ -e "$d/reverting" ]; then continue; fi
	if [ -e "$d/conflict" ]; then
		ec_origins "$d"
		continue
	fi
	ec_forget "$d" 8>&-
done
ec_stray_hooks_off || exit 4
ec_boot_hook_off "$R" && : >"$R/closed" && ec_sync "$R" || exit 4
ec_unlock || exit 4
