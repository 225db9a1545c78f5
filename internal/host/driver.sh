# shellcheck shell=sh
# The program at the host's end of the shell channel. It reads requests, one per
# line, NONCE ID SECONDS LANE SCRIPT, and answers in lines NONCE ID o|e BYTES and
# at the end NONCE ID r STATUS. SCRIPT and BYTES are base64. What does not begin
# with the nonce is not for us. The first answer is NONCE ready UID - with i and o
# behind the dash where sudo records what comes in and what goes out. Scripts of lane r run one after the other, those
# of lane q at the same time, and next to lane r, at most three at a time.
N=$1
export LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 022
cd / || exit 1

# ec_recorded FD LETTER: the letter where sudo sits between that descriptor and
# its other end, as it does to record what passes: then its own is another one.
ec_recorded() {
	theirs=$(readlink "/proc/$EC_SUDO/fd/$1") && [ "$theirs" != "$(readlink "/proc/$$/fd/$1")" ] && printf %s "$2"
}
p=$$ EC_SUDO='' records=-
while p=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$p/status") && [ "$(cat "/proc/$p/comm")" = sudo ]; do
	EC_SUDO=$p
done 2>/dev/null
[ -z "$EC_SUDO" ] || records=-$(ec_recorded 0 i)$(ec_recorded 1 o)
exec 5>&1 7<&0 </dev/null

# ec_send ID NAME: standard input, in lines short enough that two writers never
# mix, and no more of it than EC_MAX bytes, which whoever starts this has set.
ec_send() {
	{ head -c "$EC_MAX"; cat >/dev/null; } | base64 | awk -v p="$N $1 $2 " '
		{ b = b $0; if (++n == 40) { print p b; fflush(); b = ""; n = 0 } }
		END { if (n) print p b }'
}

# ec_job ID SECONDS SCRIPT. The script is no argument of any process: it may
# hold a secret.
ec_job() {
	rc=$(
		{
			{
				{
					# shellcheck disable=SC2016
					timeout -k 5 "$2" sh -c 'eval "$(base64 -d)" </dev/null' 3>&- 4>&- 5>&- 6>&- 7>&- <<-EOF
						$3
					EOF
					echo "$?" >&3
				} 2>&4 6>&- 7>&- | ec_send "$1" o >&5
			} 4>&1 | ec_send "$1" e >&5
		} 3>&1
	)
	printf '%s\n' "$N $1 r $rc" >&5
}

printf '%s\n' "$N ready $(id -u) $records"
# A pipe that holds one line for each of the queries that may run at once.
: | {
	exec 6<>/proc/self/fd/0 </dev/null
	printf '%s\n' 1 2 3 >&6
	while read -r n id seconds lane script <&7; do
		[ "$n" = "$N" ] || continue
		case $lane in
		q)
			read -r _ <&6
			# No child of this shell: busybox loses what it has read of a line when
			# a child ends meanwhile.
			({ ec_job "$id" "$seconds" "$script"; echo >&6; } &)
			;;
		r) printf '%s\n' "$id $seconds $script" ;;
		esac
	done | while read -r id seconds script; do
		ec_job "$id" "$seconds" "$script"
	done
}
