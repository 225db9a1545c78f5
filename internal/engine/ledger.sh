# shellcheck shell=sh
# What stands on the host: D/ledger/SITE/ID holds "entry" (steps.Entry as JSON, in one
# line), "run" (who made it) and, for a file, "sum" (SHA-256 of what was written), for
# lines in a file of somebody else's "before", "after" and "order" (a count of such
# entries), for a container that was set
# aside how it was ("container.id" and others, as in a change's folder). An entry is written once its
# change has begun (touched) and before anything is done, so that nothing stands that is
# not entered; it goes once the change's undo has succeeded without a conflict. J/entered
# and J/left remember what a change did here.

# ec_ledger_dir: the folder of this run's site.
ec_ledger_dir() {
	slug=${R##*/}
	echo "$D/ledger/${slug#"$RUN".}"
}

# ec_ledger_leave ID...: these entries go into the journal. What was written down before
# there was a ledger, in D/origins or in the folder of a run, stays there and is marked.
ec_ledger_leave() (
	for id; do
		case $id in
		origins/*) mark=$D/$id/taken ;;
		runs/*) mark=$D/$id.taken ;;
		*) continue ;;
		esac
		printf '%s\n' "$mark" >>"$J/marks" && ec_sync "$J/marks" && : >"$mark" && ec_sync "$mark" || exit 1
	done
	cd "$(ec_ledger_dir)" 2>/dev/null || exit 0
	for id; do
		if [ ! -d "$id" ] || [ -e "$J/left/$id" ]; then continue; fi
		mkdir -p -- "$J/left" && mv -- "$id" "$J/left/$id" || exit 1
	done
	[ ! -d "$J/left" ] || ec_sync "$J/left" .
	cd / && rmdir -- "$(ec_ledger_dir)" 2>/dev/null
	exit 0
)

# ec_ledger_enter ID N ABOUT: J/N.entry is an entry from now on. ABOUT is the edit that has its
# images, or the path of a folder, which is one only where it is made now or was made
# for another site.
ec_ledger_enter() (
	l=$(ec_ledger_dir)
	[ ! -e "$J/entered/$1" ] || [ "$(cat "$l/$1/run" 2>/dev/null)" != "$RUN $J" ] || exit 0
	case $1 in folder-*)
		[ ! -e "$l/$1" ] || exit 0
		[ ! -d "$3" ] || ls -d "$D"/ledger/*/"$1" >/dev/null 2>&1 || exit 0
		;;
	esac
	mkdir -p -- "$l" "$J/entered" && chmod 0700 "$D/ledger" "$l" && : >"$J/entered/$1" || exit 1
	rm -rf -- "$l/.new.$1"
	mkdir -- "$l/.new.$1" && cp -- "$J/$2.entry" "$l/.new.$1/entry" && printf '%s\n' "$RUN $J" >"$l/.new.$1/run" || exit 1
	case $1 in
	lines-*) cp -- "$J/$3.old" "$l/.new.$1/before" && cp -- "$J/$3.new" "$l/.new.$1/after" &&
		cat "$l"/*/order 2>/dev/null | sort -n | tail -n 1 | { read -r n || n=0; echo $((n + 1)); } >"$l/.new.$1/order" || exit 1 ;;
	file-*) sha256sum <"$J/$3.new" | cut -d' ' -f1 >"$l/.new.$1/sum" || exit 1 ;;
	aside-*) cp -- "$J/container.id" "$J/container.restart" "$J/container.running" "$J/container.paused" "$l/.new.$1/" || exit 1 ;;
	esac
	ec_sync "$l/.new.$1"/* "$l/.new.$1" "$J/entered"
	ec_ledger_leave "$1" && mv -- "$l/.new.$1" "$l/$1" && ec_sync "$l"
)

# ec_ledger_undo [PATTERN]: the ledger is as before this change, whose undo has
# succeeded; with PATTERN, only such entries are back that it had taken out.
ec_ledger_undo() (
	l=$(ec_ledger_dir)
	[ $# != 0 ] || for e in "$J/entered"/*; do
		[ -e "$e" ] || continue
		id=${e##*/}
		rm -rf -- "$l/.new.$id" || exit 1
		# At once: half an entry would be nobody's.
		[ "$(cat "$l/$id/run" 2>/dev/null)" != "$RUN $J" ] || mv -- "$l/$id" "$l/.new.$id" || exit 1
		rm -rf -- "$l/.new.$id" || exit 1
	done
	for e in "$J/left"/${1-*}; do
		[ ! -d "$e" ] || { [ ! -e "$l/${e##*/}" ] && mkdir -p -- "$l" && mv -- "$e" "$l/${e##*/}"; } || exit 1
	done
	[ ! -e "$J/marks" ] || while IFS= read -r mark; do
		rm -f -- "$mark"
		# The run may have been forgotten since, and its layers moved (ec_layers).
		k=${mark#"$D/runs/"} slug=${l##*/}
		r=${k%%/*} k=${k#*/changes/}
		rm -f -- "$D/origins/$slug"/*."${r%".$slug"}.${k%%/*}.$(basename -- "$k" .taken)/taken"
	done <"$J/marks"
	[ ! -d "$l" ] || ec_sync "$l"
	rmdir -- "$l" "$D/ledger" 2>/dev/null
	exit 0
)
