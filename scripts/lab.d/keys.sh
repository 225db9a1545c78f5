# shellcheck shell=bash
# Keys, passwords and certificates. All are made here when they are first
# needed; none is part of the repository.

make_keys() {
	mkdir -p "$LAB/ca" "$LAB/hosts.d"
	chmod 700 "$LAB"
	[ -f "$LAB/id_lab" ] || ssh-keygen -q -t ed25519 -N '' -C ecdeploy-lab -f "$LAB/id_lab"
	[ -f "$LAB/deploypw.password" ] || (umask 077 && openssl rand -hex 12 >"$LAB/deploypw.password")
	[ -f "$LAB/deploypw.hash" ] || (umask 077 && openssl passwd -6 -in "$LAB/deploypw.password" >"$LAB/deploypw.hash")
	[ -f "$LAB/ca/ca.pem" ] || make_ca
}

make_ca() {
	new_key "$LAB/ca/ca.key"
	openssl req -x509 -new -key "$LAB/ca/ca.key" -days 3650 -subj '/CN=ecdeploy lab CA' \
		-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
		-out "$LAB/ca/ca.pem"
}

new_key() { (umask 077 && openssl ecparam -genkey -name prime256v1 -noout -out "$1"); }

# certificate DIR NAME...: a key and a certificate for these DNS names, in files
# named as certbot names them.
certificate() {
	local dir=$1 names
	shift
	mkdir -p "$dir"
	names=$(printf ',DNS:%s' "$@")
	new_key "$dir/privkey.pem"
	openssl req -new -key "$dir/privkey.pem" -subj "/CN=$1" |
		openssl x509 -req -CA "$LAB/ca/ca.pem" -CAkey "$LAB/ca/ca.key" -set_serial "0x$(openssl rand -hex 16)" -days 90 \
			-extfile <(printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n' "${names#,}") \
			-out "$dir/fullchain.pem" 2>/dev/null
}
