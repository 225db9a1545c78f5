# shellcheck shell=sh
# What runs of the version before the ledger did to files that somebody else wrote, kept until the site is taken
# away again: D/origins/SITE/N.RUN.CHANGE.K holds "about" (which part of the site it
# belongs to, and the path), "before" and "after". N counts the runs. The site's
# last finished run has the same in its own folder, for it may yet be rolled back.

# ec_is_of DIR SITE: DIR is the folder of a run of that site. Its name alone does not
# tell: the names of sites hold dots.
ec_is_of() { [ "${1##*/}" = "$(cat "$1/run" 2>/dev/null).$2" ]; }

# ec_origins DIR: of a finished run that is about to be forgotten, and of one that was
# rolled back but for what somebody else had edited: there what it did still stands.
ec_origins() (
	[ ! -e "$1/layered" ] || exit 0
	id=$(cat "$1/run") slug=${1##*/}
	o=$D/origins/${slug#"$id".}
	if [ -e "$1/destroys" ]; then # nothing of the site is left in those files
		[ ! -e "$1/committed" ] || rm -rf -- "$o" || exit 1
	else
		ec_layers "$1" "$id" "$o" || exit 1
	fi
	: >"$1/layered" && ec_sync "$1/layered" "$1"
)

# ec_layers DIR ID ORIGINS: the copying, for ec_origins.
ec_layers() (
	id=$2 o=$3 n=
	for f in "$1"/changes/*/*.foreign; do
		k=${f%.foreign} j=${f%/*}
		if [ ! -e "$f" ] || [ ! -e "$k.saved" ] || [ ! -e "$j/touched" ] || [ -e "$j/restored" ]; then continue; fi
		if [ -z "$n" ]; then
			mkdir -p -- "$o" && chmod 0700 "$D/origins" "$o" || exit 1
			n=$(for p in "$o"/*."$id".*; do [ ! -e "$p" ] || echo "${p##*/}"; done | sed -n '1s/^0*\([0-9]*\)\..*/\1/p')
			[ -n "$n" ] || n=$(($(for p in "$o"/*; do echo "${p##*/}"; done | sed -n 's/^0*\([0-9]\{1,\}\)\..*/\1/p' | sort -n | tail -n 1) + 1))
		fi
		to=$o/$(printf %06d "$n").$id.${j##*/}.${k##*/}
		[ ! -d "$to" ] || continue
		rm -rf -- "$o/.new" && mkdir "$o/.new" && cp -- "$f" "$o/.new/about" && cp -- "$k.old" "$o/.new/before" &&
			cp -- "$k.new" "$o/.new/after" && { [ ! -e "$k.taken" ] || : >"$o/.new/taken"; } && ec_sync "$o/.new"/* "$o/.new" && mv -- "$o/.new" "$to" && ec_sync "$o" || exit 1
	done
)
