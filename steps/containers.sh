# shellcheck shell=sh
# The part of lib.sh that is about containers.

# ec_container NAME FORMAT: one fact of a container; fails where there is none.
ec_container() { docker container inspect --format "$2" -- "$1" 2>/dev/null; }

EC_RESTART='{{with .HostConfig.RestartPolicy}}{{.Name}}{{if .MaximumRetryCount}}:{{.MaximumRetryCount}}{{end}}{{end}}'

# ec_engine: the engine answers.
ec_engine() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# ec_save_container NAME: what was there before, with its whole configuration.
ec_save_container() {
	[ ! -e "$J/container.saved" ] || return 0
	ec_engine || { echo "the Docker engine does not answer" >&2; return 1; }
	# No answer does not say that there is none.
	id=$(ec_container "$1" '{{.Id}}') || { ec_engine && { id=$(ec_container "$1" '{{.Id}}') || id=''; }; } || return 1
	if [ -n "$id" ]; then
		docker container inspect -- "$1" >"$J/container.json" &&
			ec_container "$1" '{{.State.Running}}' >"$J/container.running" &&
			ec_container "$1" '{{.State.Paused}}' >"$J/container.paused" &&
			ec_container "$1" "$EC_RESTART" >"$J/container.restart" || return 1
		printf '%s\n' "$id" >"$J/container.id"
	fi
	: >"$J/container.saved"
}

# ec_set_aside NAME ASIDE SECONDS: stop the container that was saved and give it
# another name. Its restart policy goes first: else the engine would start it
# again next to ours when it comes back.
ec_set_aside() {
	[ -e "$J/container.id" ] || return 0
	old=$(cat "$J/container.id")
	: >"$J/stopping" && ec_sync "$J/stopping" "$J" || return 1
	docker update --restart=no "$old" >/dev/null && ec_thaw "$old" && docker stop -t "$3" "$old" >/dev/null && docker rename "$old" "$2" || return 1
	: >"$J/stopped"
}

# ec_thaw ID: it is not paused.
ec_thaw() { [ "$(ec_container "$1" '{{.State.Paused}}')" != true ] || docker unpause "$1" >/dev/null; }

# ec_bring_back NAME ID RESTART STATE: a container that was set aside has its name and its
# restart policy again, and is "running", "paused" or "stopped".
ec_bring_back() {
	: >"$J/back" && ec_sync "$J/back" "$J" || return 1
	[ "$(ec_container "$2" '{{.Name}}')" = "/$1" ] || docker rename "$2" "$1" || return 1
	[ "$(ec_container "$2" "$EC_RESTART")" = "$3" ] || docker update --restart="$3" "$2" >/dev/null || return 1
	[ "$4" != stopped ] || return 0
	[ "$(ec_container "$2" '{{.State.Running}}')" = true ] || docker start "$2" >/dev/null || return 1
	[ "$4" != paused ] || [ "$(ec_container "$2" '{{.State.Paused}}')" = true ] || docker pause "$2" >/dev/null
}

# ec_undo_bring_back ID ASIDE: it is set aside again.
ec_undo_bring_back() {
	[ -e "$J/back" ] || return 0
	ec_engine || { echo "the Docker engine does not answer" >&2; return 1; }
	name=$(ec_container "$1" '{{.Name}}') || { ec_engine; return; } # somebody removed it
	[ "$name" != "/$2" ] || return 0
	docker update --restart=no "$1" >/dev/null && ec_thaw "$1" && docker stop -t 10 "$1" >/dev/null && docker rename "$1" "$2" && ec_note "set $name aside again"
}

# ec_made_by_run NAME: ids of the containers that this run made under that name.
# shellcheck disable=SC2120
ec_made_by_run() { docker ps -aq --no-trunc --filter "label=ecdeploy.run=$RUN" --filter "name=^/?$1\$"; }

# ec_undo_container_ours NAME: the container that this run made goes.
ec_undo_container_ours() {
	[ -e "$J/container.saved" ] || return 0
	ec_first "ec_undo_container_ours $1 " || return 1
	ec_engine || { echo "the Docker engine does not answer" >&2; return 1; }
	# The engine may still be at work on a request of a laptop that is gone.
	looks=1
	[ ! -e "$J/making" ] || [ -e "$J/made" ] || looks=5
	while :; do
		ids=$(ec_made_by_run "$1") || return 1
		for id in $ids; do
			docker rm -f -- "$id" >/dev/null && ec_note "removed container $1" || return 1
		done
		looks=$((looks - 1))
		[ $looks -gt 0 ] || break
		sleep 1
	done
	id=$(ec_container "$1" '{{.Id}}') || { ec_engine; return; }
	[ "$id" = "$(cat "$J/container.id" 2>/dev/null)" ] ||
		ec_conflict "container $1 was made by somebody else since; it is left as it is"
}

# ec_undo_container_old NAME: the container from before is back under its name,
# with its restart policy, running if it ran.
ec_undo_container_old() {
	[ -e "$J/container.id" ] || return 0
	old=$(cat "$J/container.id")
	name=$(ec_container "$old" '{{.Name}}') || {
		# No answer does not say that it is gone.
		ec_engine || { echo "the Docker engine does not answer" >&2; return 1; }
		! ec_container "$old" '{{.Name}}' >/dev/null || return 1
		ec_conflict "container $1 from before is gone; its configuration is $J/container.json"
		return 0
	}
	if [ "${name#/}" != "$1" ]; then
		ec_container "$1" '{{.Id}}' >/dev/null && return 0
		docker rename "$old" "$1" && ec_note "renamed container ${name#/} back to $1" || return 1
	fi
	# Interrupted while the engine stopped it: that must end before it is started.
	if [ -e "$J/stopping" ] && [ ! -e "$J/stopped" ] && [ ! -e "$J/stop.over" ]; then
		docker stop -t 10 "$old" >/dev/null && : >"$J/stop.over" || return 1
	fi
	want=$(cat "$J/container.restart")
	[ "$(ec_container "$old" "$EC_RESTART")" = "$want" ] ||
		docker update --restart="$want" "$old" >/dev/null || return 1
	[ "$(cat "$J/container.running")" != true ] || [ "$(ec_container "$old" '{{.State.Running}}')" = true ] ||
		{ docker start "$old" >/dev/null && ec_note "started container $1 again"; } || return 1
	[ "$(cat "$J/container.paused")" != true ] || [ "$(ec_container "$old" '{{.State.Paused}}')" = true ] ||
		docker pause "$old" >/dev/null
}
