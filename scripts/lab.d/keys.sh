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

# sign DIR SUBJECT EXTENSION...: a new key, and what the lab's CA says of it, in
# files named as certbot names them.
sign() {
	local dir=$1 subject=$2
	shift 2
	mkdir -p "$dir"
	new_key "$dir/privkey.pem"
	openssl req -new -key "$dir/privkey.pem" -subj "/CN=$subject" |
		openssl x509 -req -CA "$LAB/ca/ca.pem" -CAkey "$LAB/ca/ca.key" -set_serial "0x$(openssl rand -hex 16)" -days 90 \
			-extfile <(printf '%s\n' "$@") -out "$dir/fullchain.pem" 2>/dev/null
}

# certificate DIR NAME...: a key and a certificate for these DNS names.
certificate() {
	local dir=$1 names
	shift
	names=$(printf ',DNS:%s' "$@")
	sign "$dir" "$1" "subjectAltName=${names#,}" basicConstraints=CA:FALSE extendedKeyUsage=serverAuth
}

# issuing_ca DIR NAME: a CA that a host can sign with, below the lab's: who trusts
# the lab's CA trusts whatever that host issues.
issuing_ca() {
	sign "$1" "$2 CA" basicConstraints=critical,CA:TRUE,pathlen:0 keyUsage=critical,keyCertSign,cRLSign subjectKeyIdentifier=hash
	cp "$LAB/ca/ca.pem" "$1/root.pem"
}
