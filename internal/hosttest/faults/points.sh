# shellcheck shell=sh
# Put behind lib.sh by the fault suite: every command that changes the host says
# where it stands, and waits there when that is the point that the suite wants.
if [ -d /run/ecfault ]; then
	EC_KEY='' EC_NTH=0
	if [ -e /run/ecfault/target ]; then read -r EC_NTH EC_KEY </run/ecfault/target; fi
	case $0 in
	*/rollback.sh) EC_CTX=rollback ;;
	*/commit.sh) EC_CTX=commit ;;
	*/watch.sh) EC_CTX=watch ;;
	*) EC_CTX=run ;;
	esac
	# ec_point WHEN COMMAND...
	ec_point() {
		ecf_j=${J-}
		ecf_k="$EC_CTX/${ecf_j##*/}/$1/$2"
		case $2 in docker | systemctl) ecf_k="$ecf_k-${3-}" ;; esac
		[ ! -e /run/ecfault/record ] || echo "$ecf_k" >>/run/ecfault/record
		[ "$ecf_k" = "$EC_KEY" ] || return 0
		echo . >>/run/ecfault/count
		[ "$(wc -l </run/ecfault/count)" -eq "$EC_NTH" ] || return 0
		: >/run/ecfault/at
		while [ -d /run/ecfault ] && [ ! -e /run/ecfault/go ]; do sleep 0.05; done
	}
	ec_around() {
		ec_point before "$@"
		command "$@"
		set -- $? "$@"
		ec_point after "$2" "${3-}"
		return "$1"
	}
	mv() { ec_around mv "$@"; }
	cp() { ec_around cp "$@"; }
	rm() { ec_around rm "$@"; }
	rmdir() { ec_around rmdir "$@"; }
	mkdir() { ec_around mkdir "$@"; }
	mktemp() { ec_around mktemp "$@"; }
	chmod() { ec_around chmod "$@"; }
	chown() { ec_around chown "$@"; }
	ln() { ec_around ln "$@"; }
	touch() { ec_around touch "$@"; }
	sync() { ec_around sync "$@"; }
	sysctl() { ec_around sysctl "$@"; }
	ufw() { ec_around ufw "$@"; }
	systemctl() { ec_around systemctl "$@"; }
	docker() {
		ec_point before docker "$1"
		timeout 180 docker "$@"
		set -- $? "$@"
		ec_point after docker "$2"
		return "$1"
	}
fi
