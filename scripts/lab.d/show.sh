# shellcheck shell=bash
# Reaching the hosts, and telling others how.

# lab_ssh_with KNOWN_HOSTS NAME COMMAND...
lab_ssh_with() {
	local known=$1 name=$2
	shift 2
	ssh -F none -i "$LAB/id_lab" -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=yes \
		-o "UserKnownHostsFile=$known" -o LogLevel=ERROR -o ConnectTimeout=10 "root@$(host_ip "$name")" "$@"
}

lab_ssh() {
	[ $# -gt 0 ] || usage
	lab_ssh_with "$LAB/known_hosts" "$@"
}

lab_exec() {
	[ $# -gt 1 ] || usage
	local name=$1
	shift
	docker exec -i "$(container "$name")" "$@"
}

lab_env() {
	cat <<-TEXT
		LAB=$LAB
		KEY=$LAB/id_lab
		KNOWN_HOSTS=$LAB/known_hosts
		HOSTS=$LAB/hosts
		CA=$LAB/ca/ca.pem
		DEPLOYPW=$LAB/deploypw.password
		LIVEKIT_BINARY=$LAB/bin/server
		LIVEKIT_IMAGE=$LIVEKIT_IMAGE
		LIVEKIT_ARCHIVE=$LAB/images/livekit.tar
		JWT_IMAGE=$JWT_IMAGE
		JWT_ARCHIVE=$LAB/images/jwt.tar
	TEXT
}

plan() {
	local name
	[ $# -gt 0 ] || mapfile -t < <(host_list | sed -n 's/ full .* running$//p')
	[ $# -gt 0 ] || set -- "${MAPFILE[@]}"
	[ $# -gt 0 ] || die "no full host is up"
	cat <<-TEXT
		# For the hosts of scripts/lab that are up. They can also be reached as user
		# "deploy" (sudo without a password) and as "deploypw", whose password for
		# sudo is in $LAB/deploypw.password.
	TEXT
	for name in "$@"; do
		[ "$(of_host "$name" kind)" = full ] || die "$name is not a full host that is up"
		plan_site "$name"
	done
}

plan_site() {
	local name=$1 sfu sfu_name live
	sfu_name=$(docker ps --filter "label=$LABEL.sfu-for=$name" --format "{{.Label \"$LABEL.host\"}}")
	sfu=${sfu_name:-$name}
	live=/etc/letsencrypt/live/$name.test
	printf '\n'
	plan_host "$name"
	[ -z "$sfu_name" ] || plan_host "$sfu_name"
	cat <<-TEXT
		site "$name.test" {
		  sfu {
		    host    = host.$sfu
		    url     = "https://matrix-rtc-sfu.$name.test"
		    image   = "$LIVEKIT_IMAGE"
		    archive = "$LAB/images/livekit.tar"
		    node_ip = "$(host_ip "$sfu")"
		  }
		  auth {
		    host    = host.$name
		    url     = "https://matrix-rtc-jwt.$name.test"
		    image   = "$JWT_IMAGE"
		    archive = "$LAB/images/jwt.tar"
		    ca_file = "/etc/ssl/certs/ca-certificates.crt"
		  }
	TEXT
	plan_synapse "$name"
	plan_proxy "$name" "$live"
	[ -z "$sfu_name" ] || cat <<-TEXT
		  proxy "nginx" {
		    host        = host.$sfu_name
		    certificate = "/etc/letsencrypt/live/matrix-rtc-sfu.$name.test/fullchain.pem"
		    key         = "/etc/letsencrypt/live/matrix-rtc-sfu.$name.test/privkey.pem"
		  }
	TEXT
	cat <<-TEXT
		  well_known "file" {
		    host = host.$name
		    path = "/var/www/$name.test/.well-known/matrix/client"
		  }
		  verify {
		    ca_file = "$LAB/ca/ca.pem"
		  }
		}
	TEXT
}

plan_synapse() {
	if has_variant "$1" venv; then
		cat <<-TEXT
			  synapse "venv" {
			    host = host.$1
			    unit = "synapse.service"
			  }
		TEXT
	else
		echo "  synapse \"debian\" { host = host.$1 }"
	fi
}

plan_proxy() {
	if has_variant "$1" caddy; then
		echo "  proxy \"caddy\" { host = host.$1 }"
	else
		cat <<-TEXT
			  proxy "nginx" {
			    host        = host.$1
			    certificate = "$2/fullchain.pem"
			    key         = "$2/privkey.pem"
			  }
		TEXT
	fi
}

plan_host() {
	cat <<-TEXT
		host "$1" {
		  address  = "$(host_ip "$1")"
		  user     = "root"
		  identity = "$LAB/id_lab"
	TEXT
	! has_variant "$1" nftables || echo '  firewall "nftables" {}'
	echo '}'
}

# user NAME USER registers by the shared secret, as Synapse's admin API tells:
# the answer is a login's.
user() {
	local name=$1 user=$2 secret base=http://127.0.0.1:8008/_synapse/admin/v1/register nonce password mac answer
	is_up "$name" || die "$name is not up"
	secret=canary-registration-secret-$name
	password=$(openssl rand -hex 16)
	nonce=$(lab_exec "$name" curl -fsS "$base" | field nonce)
	mac=$(printf '%s\0%s\0%s\0notadmin' "$nonce" "$user" "$password" | openssl dgst -sha1 -hmac "$secret" | sed 's/.* //')
	answer=$(printf '{"nonce":"%s","username":"%s","password":"%s","admin":false,"mac":"%s"}' "$nonce" "$user" "$password" "$mac" |
		lab_exec "$name" curl -sS -H 'Content-Type: application/json' --data-binary @- "$base")
	field access_token <<<"$answer" | grep . || die "$name does not register $user: $answer"
}

# field NAME: the text of that name in a flat JSON object.
field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }
