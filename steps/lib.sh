# shellcheck shell=sh
# Functions that do and undo scripts use. J is a change's folder in the
# journal, R the run's folder, RUN its id. Needs POSIX sh and coreutils or
# busybox. Everything here may be killed anywhere and run again.

# ec_sync PATH...: what was written there survives a power cut.
ec_sync() { sync -- "$@" 2>/dev/null || sync; }

# docker ARG...: the command, which must not wait for ever for an engine that
# hangs.
docker() { timeout 180 docker "$@"; }

# ec_note TEXT: one line for whoever reads the rollback's report. Nothing depends
# on whether somebody does.
ec_note() {
	{ printf '%s\n' "$*" >>"$R/report"; } 2>/dev/null
	printf '%s\n' "$*" 2>/dev/null || :
}

# ec_conflict TEXT: somebody else was here; kept and reported, never fatal.
ec_conflict() { { : >"$R/conflict" && : >"$J/conflict"; } || exit 1; ec_note "conflict: $*"; }

# ec_same A B: both regular files, byte for byte alike.
ec_same() { [ -f "$1" ] && [ -f "$2" ] && [ ! -L "$1" ] && [ ! -L "$2" ] && cmp -s -- "$1" "$2"; }

# ec_save K PATH DIGEST: keep PATH, or that there is none, as before-image K. It
# must still be what the change was made on: DIGEST, SHA-256 or "" for no file.
ec_save() {
	[ ! -e "$J/$1.saved" ] || return 0
	if [ -e "$2" ] || [ -L "$2" ]; then
		if [ ! -f "$2" ] || [ -L "$2" ]; then
			echo "$2 is not a regular file" >&2
			return 1
		fi
		cp -a -- "$2" "$J/$1.old" || return 1
		is=$(sha256sum <"$J/$1.old") || return 1
		is=${is%% *}
	else
		: >"$J/$1.absent" && is='' || return 1
	fi
	if [ $# -gt 2 ] && [ "$is" != "$3" ]; then
		rm -f -- "$J/$1.old" "$J/$1.absent"
		echo "$2 was changed by somebody else since the plan was made" >&2
		return 75
	fi
	: >"$J/$1.saved"
}

# ec_attrs PATH: mode and owner.
ec_attrs() { stat -c '%a %u %g' -- "$1"; }

# ec_unchanged K PATH: PATH is still as it was saved.
ec_unchanged() {
	if [ -e "$J/$1.absent" ]; then
		[ ! -e "$2" ] && [ ! -L "$2" ]
	else
		ec_same "$J/$1.old" "$2" && [ "$(ec_attrs "$J/$1.old")" = "$(ec_attrs "$2")" ]
	fi
}

# ec_enter DIR: cd to where DIR was when the plan was made, through no symlink.
# Whoever else can write a folder on the way could have put one there.
ec_enter() {
	cd -P -- "$1" || return 1
	[ "$(readlink /proc/self/cwd)" = "$1" ] || { echo "$1 is reached through a symlink now" >&2; return 1; }
}

# ec_within DIR: cd into a folder that ec_private made. Nobody else can put
# anything into it or move it out of its parent, so .. stays what it was.
ec_within() {
	ec_enter "$1" && case $(stat -c '%u %a' .) in "$(id -u)"\ 700 | "$(id -u)"\ 2700) ;; *) return 1 ;; esac
}

# ec_private DIR: a new folder in DIR that only root can enter, and cd there.
ec_private() { ec_enter "$1" && T=$(mktemp -d .ecdeploy.XXXXXX) && ec_within "${1%/}/$T"; }

# ec_tidy: leave that folder and remove it. With rm -r somebody who can write
# DIR could put a folder of theirs in its place.
ec_tidy() { rm -f ./f && T=$(readlink /proc/self/cwd) && cd .. && rmdir -- "${T##*/}" && ec_sync .; }

# ec_install SRC DST: DST becomes a copy of SRC with all its attributes, by
# rename, and never what a symlink at DST points to.
ec_install() (
	ec_private "$(dirname -- "$2")" || exit 1
	cp -a -- "$1" ./f && ec_sync ./f && mv -fT -- ./f "../${2##*/}"
	rc=$?
	ec_tidy
	exit $rc
)

# ec_remove PATH: it goes.
ec_remove() (ec_enter "$(dirname -- "$1")" && rm -f -- "./${1##*/}" && ec_sync .)

# ec_place K PATH MODE UID GID [own]: put J/K.new at PATH. A file that is there
# keeps its owner, mode and attributes; a new one, and one of our own, gets
# those named.
ec_place() (
	ec_unchanged "$1" "$2" || { echo "$2 was changed by somebody else just now" >&2; exit 75; }
	ec_private "$(dirname -- "$2")" || exit 1
	rc=0
	cp -- "$J/$1.new" ./f || rc=1
	if [ $rc = 0 ]; then
		if [ -e "$J/$1.absent" ] || [ "${6-}" = own ]; then
			chown "$4:$5" ./f && chmod "$3" ./f || rc=1
		else
			ec_like "$J/$1.old" ./f || rc=1
		fi
	fi
	[ $rc = 0 ] && ec_sync ./f && mv -fT -- ./f "../${2##*/}" || rc=1
	ec_tidy
	exit $rc
)

# ec_like A B: B gets the owner, mode and attributes of A, and a new time.
ec_like() {
	if ! cp --attributes-only --preserve=all -- "$1" "$2" 2>/dev/null; then
		chown "$(stat -c %u:%g -- "$1")" "$2" && chmod "$(stat -c %a -- "$1")" "$2" || return 1
	fi
	touch -- "$2"
}

# ec_mkdir PATH MODE UID GID: a folder of ours, which is made or gets that mode
# and owner, and what is remembered of it.
ec_mkdir() {
	if [ -d "$1" ]; then
		[ ! -L "$1" ] || { echo "$1 is a symlink now" >&2; return 1; }
		[ "$(ec_attrs "$1")" != "${2#0} $3 $4" ] || return 0
		grep -qsxF -- "$1" "$J/dirs" || printf '%s %s\n' "$(ec_attrs "$1")" "$1" >>"$J/attrs" && ec_sync "$J/attrs" || return 1
		chown "$3:$4" "$1" && chmod "$2" "$1"
		return
	fi
	printf '%s\n' "$1" >>"$J/dirs" && ec_sync "$J/dirs" || return 1
	mkdir -m 0700 -- "$1" && chown "$3:$4" "$1" && chmod "$2" "$1"
}

# ec_first WORD...: later changes that name one of these in their undo, too, come first: what
# could not be undone yet is still there, and this one's before-image has it.
ec_first() {
	ec_later=
	for d in "$R"/changes/*; do
		if [ "$d" = "$J" ]; then
			ec_later=yes
			continue
		fi
		if [ -z "$ec_later" ] || [ ! -e "$d/touched" ] || [ -e "$d/undone" ]; then continue; fi
		for w; do
			! grep -qF -- "$w" "$d/undo.sh" || { echo "a later change of $w is not undone yet" >&2; return 1; }
		done
	done
}

# ec_foreign K PATH: somebody else wrote PATH since.
ec_foreign() {
	[ -e "$J/$1.saved" ] && ! ec_unchanged "$1" "$2" || return 1
	if [ -e "$J/$1.new" ]; then
		! ec_same "$J/$1.new" "$2"
	else # the run removed it
		[ -e "$2" ] || [ -L "$2" ]
	fi
}

# ec_undo_files PATH...: the files of edits 0, 1, ...  as they were before, or, where somebody
# else edited one of them since, all as they are: they belong together.
ec_undo_files() {
	ec_first "$@" || return 1
	for f; do
		# What was interrupted before it could tidy up.
		for d in "$(dirname -- "$f")"/.ecdeploy.??????; do
			[ ! -d "$d" ] || (! ec_within "$d" 2>/dev/null || ec_tidy) || return 1
		done
	done
	ec_k=0
	for f; do
		if ec_foreign $ec_k "$f"; then
			ec_conflict "$f was edited by somebody else since; it and what belongs to it are left as they are, the state before the run is in $J"
			return 0
		fi
		ec_k=$((ec_k + 1))
	done
	ec_k=0 ec_rc=0
	for f; do
		ec_undo_file $ec_k "$f" || ec_rc=1
		ec_k=$((ec_k + 1))
	done
	return $ec_rc
}

# ec_undo_file K PATH: PATH as it was before.
ec_undo_file() {
	[ -e "$J/$1.saved" ] && ! ec_unchanged "$1" "$2" || return 0
	: >"$J/restored" && ec_sync "$J/restored" "$J" || return 1
	if [ -e "$J/$1.absent" ]; then
		ec_remove "$2" && ec_note "removed $2"
	else
		ec_install "$J/$1.old" "$2" && ec_note "restored $2"
	fi
}

# ec_took_effect: the change was made effective, or its undo gave something
# back: what reads the files has to be told.
ec_took_effect() { [ -e "$J/restored" ] || { [ -e "$J/activated" ] && [ ! -e "$R/conflict" ]; }; }

# ec_undo_dirs: remove the folders that the change made, where they are empty,
# and give the others their mode and owner back.
ec_undo_dirs() {
	[ ! -e "$J/attrs" ] || sort -u "$J/attrs" | while read -r mode uid gid d; do
		[ ! -d "$d" ] || { chown "$uid:$gid" "$d" && chmod "$mode" "$d"; } || exit 1
	done || return 1
	[ -e "$J/dirs" ] || return 0
	sort -r "$J/dirs" | while IFS= read -r d; do
		[ ! -d "$d" ] || rm -rf -- "$d"/.ecdeploy.??????
		if [ ! -d "$d" ] || rmdir -- "$d" 2>/dev/null; then continue; fi
		[ -n "$(ls -A -- "$d")" ] || exit 1 # it cannot be written now
		ec_note "kept $d: it is not empty"
	done
}

# ec_rmdir PATH: a folder of ours goes, where nothing is in it, and what it was like
# is remembered.
ec_rmdir() {
	[ -d "$1" ] && [ ! -L "$1" ] && [ -z "$(ls -A -- "$1")" ] || return 0
	printf '%s %s\n' "$(ec_attrs "$1")" "$1" >>"$J/gone" && ec_sync "$J/gone" "$J" && rmdir -- "$1" && ec_sync "$(dirname -- "$1")"
}

# ec_undo_rmdirs: those folders are there again.
ec_undo_rmdirs() {
	[ -e "$J/gone" ] || return 0
	sort -u -k 4 "$J/gone" | while read -r mode uid gid d; do
		{ [ -d "$d" ] || mkdir -m 0700 -- "$d"; } && [ ! -L "$d" ] && chown "$uid:$gid" "$d" && chmod "$mode" "$d" || exit 1
	done
}

# ec_overlay_dirs PATH TOP: below J/root, the folders from TOP down to PATH, with the
# attributes of those that they stand for. A new one is open to all, as the files in it
# are: the validator may run as somebody else than root.
ec_overlay_dirs() {
	d=$2
	mkdir -p "$J/root$d" && ec_like "$d" "$J/root$d" || return 1
	rest=${1#"$2"/}
	while case $rest in */*) : ;; *) false ;; esac; do
		d=$d/${rest%%/*} rest=${rest#*/}
		mkdir -p "$J/root$d" || return 1
		if [ -d "$d" ]; then ec_like "$d" "$J/root$d"; else chmod 0755 "$J/root$d"; fi || return 1
	done
}

# ec_overlay_put K PATH TOP: the staged file in its place there, with the
# attributes of the file that it stands for.
ec_overlay_put() {
	ec_overlay_dirs "$2" "$3" && cp -- "$J/$1.new" "$J/root$2" || return 1
	if [ -e "$2" ]; then ec_like "$2" "$J/root$2"; else chmod 0644 "$J/root$2"; fi
}

# ec_overlay_hide PATH TOP: there it is gone (Linux Documentation/filesystems/
# overlayfs, "whiteouts").
ec_overlay_hide() { ec_overlay_dirs "$1" "$2" && mknod "$J/root$1" c 0 0; }

# ec_unit ACTION UNIT: reload or restart a service. Without systemd it descends
# from this, and must not carry the run's mark.
ec_unit() {
	if [ -d /run/systemd/system ]; then systemctl "$1" "$2"; else env -u EC_RUN service "${2%.service}" "$1"; fi
}

# ec_running UNIT: the service runs.
ec_running() {
	if [ -d /run/systemd/system ]; then systemctl -q is-active "$1"; else service "${1%.service}" status >/dev/null 2>&1; fi
}

# ec_save_unit UNIT: remember whether it runs.
ec_save_unit() {
	[ ! -e "$J/unit.saved" ] || return 0
	! ec_running "$1" || : >"$J/unit.running"
	: >"$J/unit.saved"
}

# ec_undo_unit ACTION UNIT: what ran before runs again, with what is on disk
# now; what was stopped stays stopped.
ec_undo_unit() {
	[ -e "$J/unit.running" ] || return 0
	if ec_running "$2"; then
		ec_unit "$1" "$2" || return 1
	else
		[ ! -d /run/systemd/system ] || systemctl reset-failed "$2" 2>/dev/null
		ec_unit restart "$2" || return 1
	fi
	ec_note "$1 of $2"
}

# ec_save_ufw, ec_keep_ufw: ufw's rule files before and after a rule of ours.
# ufw writes more than the rule when it first writes them, so that deleting the
# rule would not give the files back.
ec_save_ufw() { ec_save user /etc/ufw/user.rules && ec_save user6 /etc/ufw/user6.rules; }
ec_keep_ufw() {
	for k in user user6; do
		cp -a -- "/etc/ufw/$k.rules" "$J/$k.new" || return 1
	done
	: >"$J/ufw.kept" && ec_sync "$J"/* "$J"
}

# ec_undo_ufw ARG...: ufw takes our change of its rules back, and the rule files
# are as before where nobody else wrote them since.
ec_undo_ufw() {
	ec_first ec_undo_ufw || return 1
	if [ ! -e "$J/ufw.undoing" ]; then
		ec_unchanged user /etc/ufw/user.rules && ec_unchanged user6 /etc/ufw/user6.rules && return 0
		[ ! -e "$J/ufw.kept" ] || ! ec_same "$J/user.new" /etc/ufw/user.rules || ! ec_same "$J/user6.new" /etc/ufw/user6.rules ||
			{ : >"$J/ufw.undoing" && ec_sync "$J/ufw.undoing" "$J"; } || return 1
	fi
	# What ufw leaves in a temporary folder on a full disk goes, too.
	out=$(TMPDIR=$J ufw "$@" 2>&1)
	ec_rc=$?
	rm -f -- "$J"/tmp????????
	[ $ec_rc = 0 ] || case $out in
	*non-existent*) ;;
	*) printf '%s\n' "$out" >&2 && return 1 ;;
	esac
	[ ! -e "$J/ufw.undoing" ] || for k in user user6; do
		[ ! -e "$J/$k.old" ] || ec_same "$J/$k.old" "/etc/ufw/$k.rules" || ec_install "$J/$k.old" "/etc/ufw/$k.rules" || return 1
	done
	rm -f -- "$J/ufw.undoing" && ec_note "ran: ufw $*"
}

# ec_undo_ufw_delete ARG...: likewise for a rule that was deleted, which ufw puts
# behind all others again; the kernel gets them in the order of the rule files, as
# ufw itself would load them.
ec_undo_ufw_delete() {
	ec_first ec_undo_ufw || return 1
	if [ ! -e "$J/ufw.loading" ]; then
		ec_unchanged user /etc/ufw/user.rules && ec_unchanged user6 /etc/ufw/user6.rules && return 0
		: >"$J/ufw.loading" && ec_sync "$J/ufw.loading" "$J" || return 1
	fi
	ec_undo_ufw "$@" || return 1
	# Interrupted before it was known what ufw had made of the files: nothing else changed in
	# them where they have the same lines.
	for k in user user6; do
		ec_unchanged $k "/etc/ufw/$k.rules" || [ "$(sort "$J/$k.old" | sha256sum)" != "$(sort "/etc/ufw/$k.rules" | sha256sum)" ] ||
			ec_install "$J/$k.old" "/etc/ufw/$k.rules" || return 1
	done
	# Each chain that the files name is emptied and filled again, at once.
	if ec_unchanged user /etc/ufw/user.rules && ec_unchanged user6 /etc/ufw/user6.rules && ec_ufw_active; then
		iptables-restore -n </etc/ufw/user.rules || return 1
		! grep -qsi '^IPV6=yes' /etc/default/ufw || ip6tables-restore -n </etc/ufw/user6.rules || return 1
	fi
	rm -f -- "$J/ufw.loading"
}

# ec_ufw_active: it enforces its rules.
ec_ufw_active() { case $(ufw status 2>/dev/null) in *'Status: active'*) ;; *) return 1 ;; esac; }

# ec_nft_find RULES: where nftables has these rules of ours, lines "HANDLE FAMILY TABLE
# CHAIN RULE". They are found by their whole text with its comment: handles are
# others after each reload of the ruleset. A chain that is gone has none.
ec_nft_find() {
	printf '%s\n' "$1" | sort -u | while read -r family table chain rule; do
		[ -n "$rule" ] || continue
		out=$(nft -a list chain "$family" "$table" "$chain" 2>&1) || case $out in
		*'No such file or directory'*) continue ;;
		*) printf '%s\n' "$out" >&2 && exit 1 ;;
		esac
		printf '%s\n' "$out" | while read -r line; do
			[ "${line% # handle *}" != "$rule" ] || [ "$line" = "$rule" ] ||
				printf '%s %s %s %s %s\n' "${line##* }" "$family" "$table" "$chain" "$rule"
		done
	done
}

# ec_nft_insert RULES: the commands that put them to the top of their chains.
ec_nft_insert() { printf '%s\n' "$1" | sed -n 's/^./insert rule &/p'; }

# ec_nft REMOVE INSERT: one transaction after which nftables has none of the first
# rules and each of the second once.
ec_nft() {
	ec_tries=0
	while :; do
		found=$(ec_nft_find "$1") || return 1
		{
			[ -z "$found" ] || printf '%s\n' "$found" | while read -r handle family table chain _; do
				printf 'delete rule %s %s %s handle %s\n' "$family" "$table" "$chain" "$handle"
			done
			ec_nft_insert "$2"
		} | nft -f - && return 0
		# Somebody may have reloaded the ruleset in between.
		ec_tries=$((ec_tries + 1))
		[ $ec_tries -lt 3 ] || return 1
	done
}

# ec_save_nft RULES: remember which of them are there.
ec_save_nft() {
	[ ! -e "$J/nft.saved" ] || return 0
	found=$(ec_nft_find "$1") || return 1
	printf '%s\n' "$found" | cut -d ' ' -f 2- >"$J/nft.before" && : >"$J/nft.saved"
}

# ec_undo_nft RULES: of these, nftables has those again that it had.
ec_undo_nft() {
	ec_first ec_undo_nft || return 1
	[ -e "$J/nft.saved" ] || return 0
	found=$(ec_nft_find "$1") || return 1
	before=$(cat "$J/nft.before")
	[ "$(printf '%s\n' "$found" | cut -d ' ' -f 2-)" != "$before" ] || return 0
	ec_nft "$1" "$before" && ec_note "restored the rules of nftables"
}
