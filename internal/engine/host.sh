# shellcheck shell=sh
# What the engine does on a host besides changes: who holds it, which processes
# are a run's, the switch that rolls back when the laptop is gone. D is
# /var/lib/ecdeploy, R a run's folder, RUN its id. Needs POSIX sh, coreutils or
# busybox, awk and flock.

# ec_boot: which start of the machine this is.
ec_boot() { cat /proc/sys/kernel/random/boot_id; }

# ec_uptime: whole seconds since then; no clock that anybody sets.
ec_uptime() { cut -d. -f1 /proc/uptime; }

# ec_stat PID: its parent and when it was started, in ticks.
ec_stat() {
	s=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	# shellcheck disable=SC2086 # in fields; the name before them may hold anything
	set -- ${s##*) }
	[ "$1" != Z ] && echo "$2 ${20}"
}

# ec_ancestors PID: a line PID START for it and for what it descends from, up to
# PID 1.
ec_ancestors() {
	p=$1
	while [ "${p:-0}" -gt 1 ] && st=$(ec_stat "$p"); do
		echo "$p ${st#* }"
		p=${st% *}
	done
}

# ec_connection: a line PID START for each process of the SSH connection that
# this runs in, from here up, but not for what waits for further connections:
# that is a child of PID 1.
ec_connection() {
	ec_ancestors $$ | {
		above=
		while read -r line; do
			[ -z "$above" ] || echo "$above"
			above=$line
		done
		# Where a socket unit waits, the connection's own process is that child.
		case $(tr '\0' ' ' <"/proc/${above%% *}/cmdline" 2>/dev/null) in
		*'[listener]'*) ;;
		sshd:* | sshd-session:*) echo "$above" ;;
		esac
	}
}

# ec_same_process PID START: it still runs.
ec_same_process() { st=$(ec_stat "$1") && [ "${st#* }" = "$2" ]; }

# ec_connected FILE: the connection that FILE remembers, lines "boot ID" and
# "process PID START", from the inside out, is still there.
ec_connected() {
	[ "$(sed -n 's/^boot //p' "$1")" = "$(ec_boot)" ] || return 1
	# shellcheck disable=SC2046 # two words
	set -- $(sed -n 's/^process //p' "$1" | tail -n 1)
	[ $# = 2 ] && ec_same_process "$1" "$2"
}

# ec_remember: the lines of ec_connected for this connection.
ec_remember() {
	echo "boot $(ec_boot)"
	ec_connection | sed 's/^/process /'
}

# ec_take_lock ABOUT: hold the host, for the run of which ABOUT tells. A holder
# whose connection is gone can do nothing any more, so what it holds is free,
# unless it had begun to change the host: then its journal says so. Exit status
# 75: somebody else holds it; 76: a run was interrupted; both say who.
ec_take_lock() (
	umask 077
	mkdir -p "$D/runs" && chmod 0700 "$D" || exit 1
	exec 7>>"$D/lock.flock"
	flock -w 30 7 7>&7 || { echo "$D/lock.flock is busy" >&2; exit 1; }
	for d in "$D"/runs/*; do
		[ -e "$d/armed" ] || [ -e "$d/reverting" ] || continue
		[ "$d" != "${R-}" ] || continue
		ec_describe "$d"
		! ec_running_run "$d" || exit 75
		exit 76
	done
	# Decided, but not yet tidied up after: by whoever is at it, or, where they
	# were interrupted, now.
	for d in "$D"/runs/*; do
		if [ -e "$d/closed" ] || [ "$d" = "${R-}" ] || { [ ! -e "$d/committed" ] && [ ! -e "$d/reverted" ]; }; then continue; fi
		if ec_running_run "$d"; then
			ec_describe "$d"
			exit 75
		fi
		sh "$d/watch.sh" >/dev/null 2>&1 7>&- </dev/null
	done
	held=$(sed -n 's/^run //p' "$D/lock" 2>/dev/null)
	if [ -n "$held" ] && [ "$held" != "$RUN" ] && ec_connected "$D/lock"; then
		grep -Ev '^(boot|process) ' "$D/lock"
		exit 75
	fi
	# Interrupted before they changed anything.
	for d in "$D"/runs/*; do
		ec_begun "$d" || [ "$d" = "${R-}" ] || { ec_boot_hook_off "$d" && rm -rf -- "$d"; }
	done
	{ printf '%s' "$1" && ec_remember; } >"$D/lock.new" && mv -f -- "$D/lock.new" "$D/lock"
)

# ec_unlock: if this run holds the host, or a power failure left nothing of who does.
ec_unlock() {
	case $(sed -n 's/^run //p' "$D/lock" 2>/dev/null) in "$RUN" | '') rm -f -- "$D/lock" ;; esac
}

# ec_begun DIR: the run of that folder has or had changes on the host.
ec_begun() { [ -e "$1/armed" ] || [ -e "$1/reverting" ] || [ -e "$1/committed" ] || [ -e "$1/reverted" ]; }

# ec_running_run DIR: somebody carries that run on, or rolls it back just now.
ec_running_run() {
	if [ -e "$1/armed" ]; then
		[ -e "$1/fence" ] && ec_connected "$1/fence"
	else
		# Whoever rolls it back holds this lock.
		[ -e "$1/rollback.lock" ] && ! flock -n "$1/rollback.lock" true
	fi
}

# ec_describe DIR: what is known of that run, in lines KEY VALUE.
ec_describe() {
	state=staged
	for s in arming armed reverting committed reverted; do [ ! -e "$1/$s" ] || state=$s; done
	echo "state $state"
	cat "$1/about"
	[ -e "$1/closed" ] || case $state in
	arming | armed | reverting | committed | reverted)
		! ec_running_run "$1" || echo alive
		[ ! -e "$1/watched" ] || echo "watched $(cat "$1/watched")"
		;;
	esac
	if [ $state = armed ] && read -r boot at 2>/dev/null <"$1/deadline" && [ "$boot" = "$(ec_boot)" ]; then
		echo "left $((at - $(ec_uptime)))"
	fi
	[ ! -e "$1/conflict" ] || echo conflict
}

# ec_history: all runs, and who holds the host, each closed by a line "end".
ec_history() {
	held=$(sed -n 's/^run //p' "$D/lock" 2>/dev/null)
	for d in "$D"/runs/*; do
		[ -e "$d/about" ] || continue
		ec_describe "$d"
		[ "$(cat "$d/run" 2>/dev/null)" != "$held" ] || { echo holds; held=; }
		echo end
	done
	[ -n "$held" ] || return 0
	echo "state locked"
	grep -Ev '^(boot|process) ' "$D/lock"
	! ec_connected "$D/lock" || echo alive
	echo holds
	echo end
}

# ec_in_force: this script may change the host: the run is armed and holds it.
# What it starts carries the run's mark, but for what PID 1 starts.
ec_in_force() {
	ec_ancestors $$ | head -n 1 >"$R/worker"
	if [ ! -e "$R/armed" ] || [ "$(sed -n 's/^run //p' "$D/lock" 2>/dev/null)" != "$RUN" ]; then
		echo 'the run was rolled back meanwhile' >&2
		return 1
	fi
	export EC_RUN="$RUN"
}

# ec_feed SECONDS: the run is not rolled back before so many have passed.
ec_feed() {
	[ -e "$R/armed" ] || [ -e "$R/arming" ] || { echo 'the run was rolled back meanwhile' >&2; return 3; }
	echo "$(ec_boot) $(($(ec_uptime) + $1))" >"$R/deadline.$$" && mv -f -- "$R/deadline.$$" "$R/deadline"
}

# ec_expired: nobody fed it in time, or the machine was restarted.
ec_expired() {
	read -r boot at 2>/dev/null <"$R/deadline" || return 0
	[ "$boot" != "$(ec_boot)" ] || [ "$(ec_uptime)" -ge "$at" ]
}

# ec_watch_on: from now on $R/watch.sh runs, owned by nobody's connection, and
# does so again after a start of the machine. What could be had is written to
# $R/watched: "systemd" or "loop", and "boot" or "noboot".
ec_watch_on() {
	boot=noboot
	! ec_boot_hook_on || boot=boot
	if [ -d /run/systemd/system ] && systemd-run -q --collect --unit="ecdeploy-watch-$RUN" \
		-p Restart=on-failure -p RestartSec=1 -p StartLimitIntervalSec=0 -p OOMScoreAdjust=-900 \
		/bin/sh "$R/watch.sh" </dev/null >/dev/null 2>&1; then
		echo "systemd $boot" >"$R/watched"
	else
		setsid sh "$R/watch.sh" </dev/null >/dev/null 2>&1 7>&- 8>&- 9>&- &
		echo "loop $boot" >"$R/watched"
	fi
}

# What starts watch.sh when the machine starts: a unit, an entry of cron, or a
# script of OpenRC.
EC_UNITS=${EC_UNITS:-/etc/systemd/system}
EC_CRON=${EC_CRON:-/etc/cron.d}
EC_LOCAL=${EC_LOCAL:-/etc/local.d}

# ec_hook DIR: name of that unit, entry or script for a run.
ec_hook() { echo "ecdeploy-recover-$(cat "$1/run")"; }

ec_boot_hook_on() {
	hook=$(ec_hook "$R")
	if [ -d /run/systemd/system ]; then
		[ -d "$EC_UNITS/multi-user.target.wants" ] || return 1
		# Nothing waits for it, and it waits for what it may have to restart.
		# File and link come to disk together: one without the other would be left there by
		# a power failure.
		cat >"$EC_UNITS/$hook.service" <<-EOF &&
			[Unit]
			Description=Roll back an interrupted run of ecdeploy ($RUN)
			After=local-fs.target network-online.target docker.service containerd.service nginx.service caddy.service apache2.service matrix-synapse.service ufw.service firewalld.service nftables.service
			ConditionPathExists=$R/watch.sh
			StartLimitIntervalSec=0

			[Service]
			ExecStart=/bin/sh $R/watch.sh
			Restart=on-failure
			RestartSec=5
			OOMScoreAdjust=-900

			[Install]
			WantedBy=multi-user.target
		EOF
			chmod 0644 "$EC_UNITS/$hook.service" && ln -sf "../$hook.service" "$EC_UNITS/multi-user.target.wants/$hook.service" &&
			ec_sync "$EC_UNITS/$hook.service" "$EC_UNITS" "$EC_UNITS/multi-user.target.wants"
	elif [ -d "$EC_CRON" ] && { pidof cron || pidof crond; } >/dev/null 2>&1; then
		echo "@reboot root /bin/sh $R/watch.sh" | ec_put "$EC_CRON/$hook" 0644
	elif [ -d "$EC_LOCAL" ]; then
		printf '#!/bin/sh\nsetsid sh %s </dev/null >/dev/null 2>&1 &\n' "$R/watch.sh" | ec_put "$EC_LOCAL/$hook.start" 0755
	else
		return 1
	fi
}

# ec_boot_hook_off DIR: nothing is left of it.
ec_boot_hook_off() {
	[ -e "$1/run" ] || return 0
	hook=$(ec_hook "$1")
	rm -f -- "$EC_UNITS/multi-user.target.wants/$hook.service" "$EC_UNITS/$hook.service" "$EC_UNITS/$hook.service.new" \
		"$EC_CRON/$hook" "$EC_CRON/$hook.new" "$EC_LOCAL/$hook.start" "$EC_LOCAL/$hook.start.new"
}

# ec_stray_hooks_off: hooks of runs that are gone, folder and all, go too.
ec_stray_hooks_off() {
	for hook in "$EC_UNITS"/ecdeploy-recover-*.service "$EC_CRON"/ecdeploy-recover-* "$EC_LOCAL"/ecdeploy-recover-*.start; do
		[ -e "$hook" ] || continue
		id=${hook##*/ecdeploy-recover-} id=${id%.service} id=${id%.start}
		ls -d "$D/runs/$id".* >/dev/null 2>&1 || rm -f -- "$EC_UNITS/multi-user.target.wants/${hook##*/}" "$hook"
	done
}

# ec_put PATH MODE: standard input becomes that file, whole or not at all.
ec_put() { cat >"$1.new" && chmod "$2" "$1.new" && ec_sync "$1.new" && mv -f -- "$1.new" "$1" && ec_sync "$(dirname -- "$1")"; }

# ec_release: a run that has changed nothing is over.
ec_release() { ec_boot_hook_off "$R" && ec_unlock; }

# ec_forget DIR: of a run that is over nothing is left, neither its folder nor
# the site's containers that it set aside (those of somebody else stay); of one that was finished, only what it did to
# files of others.
ec_forget() {
	[ ! -e "$1/committed" ] && [ ! -e "$1/conflict" ] || ec_origins "$1" || return 1
	# A container went aside where one was there before.
	if [ -e "$1/committed" ] && cat "$1"/changes/*/container.id >/dev/null 2>&1 && command -v docker >/dev/null; then
		names=$(docker ps -a --filter label=ecdeploy.site --format '{{.Names}}' 2>/dev/null) || return 1
		printf '%s\n' "$names" | grep -F -- ".ecdeploy-$(cat "$1/run")" | while IFS= read -r c; do docker rm -f -- "$c" >/dev/null; done
	fi
	rm -rf -- "$1"
}

# ec_tree PID...: these and all that descends from them.
ec_tree() {
	cat /proc/[0-9]*/stat 2>/dev/null | awk -v roots="$*" '
		{ pid = $1; sub(/^.*\) /, ""); if ($1 != "Z") parent[pid] = $2 }
		END {
			n = split(roots, r, " ")
			for (i = 1; i <= n; i++) if (r[i] in parent) hit[r[i]] = 1
			do {
				more = 0
				for (p in parent) if (!(p in hit) && (parent[p] in hit)) { hit[p] = 1; more = 1 }
			} while (more)
			for (p in hit) print p
		}' | sort -n
}

# ec_of_run: PIDs that are the run's: its connection, unless this runs in it; a
# change's script; what carries the run's mark in its environment.
ec_of_run() {
	[ -e "$R/fence" ] && [ "$(sed -n 's/^boot //p' "$R/fence")" = "$(ec_boot)" ] || return 0
	mine=" $(ec_ancestors $$ | cut -d' ' -f1 | tr '\n' ' ') "
	ours=$(sed -n 's/^process //p' "$R/fence" | while read -r pid start; do
		! ec_same_process "$pid" "$start" || echo "$pid"
	done)
	for pid in $ours; do
		case $mine in *" $pid "*) ours= ;; esac
	done
	if [ -e "$R/worker" ] && read -r pid start <"$R/worker" && ec_same_process "$pid" "$start"; then ours="$ours $pid"; fi
	marked=$(grep -ls "EC_RUN=$RUN" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3)
	# shellcheck disable=SC2086 # in words
	for pid in $(ec_tree $ours $marked); do
		case $mine in *" $pid "*) ;; *) echo "$pid" ;; esac
	done
}

# ec_fence: ends all processes of the run, so that nothing of it comes after
# what is undone. They are stopped first: a stopped process starts no other.
ec_fence() {
	tries=0
	while pids=$(ec_of_run) && [ -n "$pids" ]; do
		# shellcheck disable=SC2086 # in words
		kill -STOP $pids 2>/dev/null
		[ "$pids" = "$(ec_of_run)" ] || [ $tries -gt 20 ] || { tries=$((tries + 1)); continue; }
		# shellcheck disable=SC2086
		kill -KILL $pids 2>/dev/null
		tries=$((tries + 1))
		[ $tries -lt 120 ] || { echo "processes of the run do not end: $pids" >&2; return 1; }
		sleep 0.3 2>/dev/null || sleep 1
	done
}
