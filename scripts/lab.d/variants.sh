# shellcheck shell=bash
# Hosts that an admin set up in another way: Caddy instead of nginx, nftables
# instead of ufw, Synapse in a virtualenv instead of Debian's package. Each
# variant is a folder: "build" runs once in an image on top of the usual one, and
# "host" has the files of each host, as full/ has.

VARIANTS=scripts/lab.d/variants
SYNAPSE=1.163.2 # the newest that PyPI has; the package in packages.sh is another one

# variant_of BLOCK LABEL: the variant that a plan file calls so; nothing is what
# hosts have anyway.
variant_of() {
	case "$1 $2" in
	'proxy nginx' | 'firewall ufw' | 'synapse debian') ;;
	'proxy caddy' | 'firewall nftables' | 'synapse venv') echo "$2" ;;
	*) die "there are no hosts with $1 \"$2\": proxy nginx or caddy, firewall ufw or nftables, synapse debian or venv" ;;
	esac
}

# variant_tag KIND VARIANT...: the image of such hosts. Each layer's name says what
# is below it, so that a change there makes all above it again.
variant_tag() {
	local name=$LABEL/$1 tag v
	tag=$(host_tag "$1")
	shift
	for v in "$@"; do
		name+=-$v
		tag=$name:$({ echo "$tag $SYNAPSE"; cat "$VARIANTS/Dockerfile" "$VARIANTS/$v/build"; } | digest -)
	done
	echo "$tag"
}

# variant_image KIND VARIANT...: makes sure that it is there.
variant_image() {
	local tag base
	tag=$(variant_tag "$@")
	[ $# -gt 1 ] || return 0
	! docker image inspect "$tag" >/dev/null 2>&1 || return 0
	variant_image "${@:1:$#-1}" || return 1
	base=$(variant_tag "${@:1:$#-1}")
	timed "image of hosts with ${*:2}" variant_layer "$base" "$tag" "${!#}" || return 1
	forget_images "${tag%:*}" "$tag"
}

# variant_layer BASE TAG VARIANT
variant_layer() {
	local context rc=0
	context=$(mktemp -d)
	cp "$VARIANTS/Dockerfile" "$VARIANTS/$3/build" "$context"
	[ "$3" != venv ] || wheels "$1" "$context/wheels" || rc=1
	[ $rc != 0 ] || DOCKER_BUILDKIT=0 docker build --network host --build-arg "BASE=$1" --label "$LABEL=image" \
		--tag "$2" "$context" >"$LAB/$3.log" 2>&1 || rc=1
	[ $rc = 0 ] || tail -n 15 "$LAB/$3.log" >&2
	rm -rf "$context"
	return $rc
}

# wheels IMAGE DIR: what pip needs to install Synapse without a network, for the
# Python of that image. Nothing is compiled, neither here nor there.
wheels() {
	local python cache options=() glibc
	python=$(docker run --rm --network none --entrypoint python3 "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || return 1
	cache=$LAB/wheels/synapse-$SYNAPSE-python-$python
	if [ ! -d "$cache" ]; then
		rm -rf "$cache.part"
		for glibc in 2_34 2_28 2_17; do options+=(--platform "manylinux_${glibc}_$(uname -m)"); done
		nice python3 -m pip download --quiet --dest "$cache.part" --only-binary=:all: --python-version "$python" --implementation cp \
			"${options[@]}" --platform "manylinux2014_$(uname -m)" "matrix-synapse==$SYNAPSE" pip >"$LAB/venv.log" 2>&1 &&
			mv "$cache.part" "$cache" || return 1
	fi
	cp -r "$cache" "$2"
}

# variant_files VARIANT NAME DIR: what hosts have instead of files of full/.
variant_files() {
	local name=$2 dir=$3
	case $1 in
	caddy)
		rm -r "$dir/etc/nginx"
		issuing_ca "$dir/etc/caddy/ca" "$name.test"
		# Caddy is not root. Others cannot enter that folder.
		chmod 644 "$dir/etc/caddy/ca/privkey.pem"
		;;
	venv) rm -r "$dir/etc/matrix-synapse" ;;
	esac
	cp -r "$VARIANTS/$1/host/." "$dir"
}
