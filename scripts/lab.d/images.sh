# shellcheck shell=bash
# The images: two kinds of hosts, and the two services that are deployed to
# them. Each is made again only when what it is made of has changed.

setup() {
	tools
	locked timed "setup" build_all
}

build_all() {
	mkdir -p "$LAB/rootfs" "$LAB/images" "$LAB/bin"
	make_keys
	start_engine
	# Compiling and unpacking packages use different things of the machine.
	build_services 9>&- &
	local services=$! rc=0
	host_image full || rc=1
	host_image light || rc=1
	wait $services || rc=1
	[ $rc = 0 ] || die "setup is not complete"
}

# The Debian mirror that this machine itself uses.
# shellcheck disable=SC2016
mirror() { apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -m 1 '/debian/*$'; }

packages() { [ "$1" = full ] && printf '%s\n' "$FULL_SUITE" "${FULL[@]}" || printf '%s\n' "$LIGHT_SUITE" "${LIGHT[@]}"; }

# rootfs KIND: makes sure that there is a root file system of what packages.sh
# says now, or else the last that could be made, and prints its path. Debian's
# unstable release changes every day; what is here stays.
rootfs() {
	local kind=$1 tar
	tar=$LAB/rootfs/$kind-$({ packages "$kind"; declare -f bootstrap; } | digest -).tar
	if [ ! -f "$tar" ]; then
		if timed "debian for $kind hosts" bootstrap "$kind" "$tar" 2>"$tar.log"; then
			find "$LAB/rootfs" -name "$kind-*" ! -path "$tar*" -delete
		else
			tail -n 5 "$tar.log" >&2
			# shellcheck disable=SC2012
			tar=$(ls -t "$LAB/rootfs/$kind-"*.tar 2>/dev/null | head -n 1)
			[ -n "$tar" ] || return 1
			say "the packages of $kind hosts do not install today: going on with an older $tar"
		fi
	fi
	echo "$tar"
}

# shellcheck disable=SC2016
bootstrap() {
	local kind=$1 tar=$2 suite list
	{ read -r suite; list=$(paste -sd,); } < <(packages "$kind")
	rm -f "$LAB/rootfs/$kind-"*.part
	nice mmdebstrap --mode=root --format=tar --variant=minbase --components=main --include="$list" \
		--aptopt='Acquire::Check-Valid-Until "false"' --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt=force-unsafe-io \
		--essential-hook='printf "%s\n" "matrix-synapse matrix-synapse/server-name string not-set.test" "matrix-synapse matrix-synapse/report-stats boolean false" | chroot "$1" debconf-set-selections' \
		--customize-hook='rm -f "$1"/etc/ssh/ssh_host_* "$1"/usr/sbin/policy-rc.d' \
		"$suite" "$tar.part" "$(mirror)" && mv "$tar.part" "$tar"
}

# host_tag KIND: the image that hosts of this kind are started from.
host_tag() {
	local tar
	tar=$(find "$LAB/rootfs" -name "$1-*.tar" -printf '%T@ %f\n' 2>/dev/null | sort -n | tail -n 1 | cut -d' ' -f2)
	echo "$LABEL/$1:$({ echo "$tar"; cat scripts/lab.d/image/* "$LAB/ca/ca.pem" "$LAB/id_lab.pub" "$LAB/deploypw.hash"; } | digest -)"
}

host_image() {
	local kind=$1 tar tag context
	tar=$(rootfs "$kind") || return 1
	tag=$(host_tag "$kind")
	! docker image inspect "$tag" >/dev/null 2>&1 || return 0
	context=$(mktemp -d)
	cp scripts/lab.d/image/* "$LAB/ca/ca.pem" "$LAB/id_lab.pub" "$LAB/deploypw.hash" "$context"
	timed "image of $kind hosts" host_layers "$tar" "$tag" "$context" || { rm -rf "$context"; return 1; }
	rm -rf "$context"
	forget_images "$LABEL/$kind" "$tag"
}

host_layers() {
	local base
	base=$(docker import "$1") &&
		DOCKER_BUILDKIT=0 docker build --quiet --build-arg "BASE=$base" --label "$LABEL=image" --tag "$2" "$3" >/dev/null
}

# forget_images NAME KEEP: removes other tags of an image, as far as no host
# uses them.
forget_images() {
	docker images "$1" --format '{{.Repository}}:{{.Tag}}' | while read -r tag; do
		[ "$tag" = "$2" ] || docker rmi "$tag" >/dev/null 2>&1 || :
	done
}

build_services() {
	local key
	key=$({ echo "$LIVEKIT"; declare -f build_livekit service_image; } | digest -)
	fresh livekit "$key" || timed "LiveKit $LIVEKIT" build_livekit "$key" || return 1
	key=$({ find internal/hosttest/jwtservice -name '*.go' ! -name '*_test.go' | LC_ALL=C sort | xargs cat; go version; declare -f build_jwt service_image; } | digest - go.mod)
	fresh jwt "$key" || timed "the stand-in for the JWT service" build_jwt "$key" || return 1
}

fresh() { [ -f "$LAB/images/$1.tar" ] && [ "$(cat "$LAB/images/$1.key" 2>/dev/null)" = "$2" ]; }

# LiveKit as its project released it. 1.13.5 is the newest that builds as a
# module by itself; later ones replace modules by forks.
build_livekit() {
	CGO_ENABLED=0 GOBIN=$LAB/bin nice go install -trimpath -ldflags='-s -w' "github.com/livekit/livekit-server/cmd/server@$LIVEKIT" &&
		service_image livekit "$1" "$LIVEKIT_IMAGE" "$LAB/bin/server" livekit-server
}

build_jwt() {
	CGO_ENABLED=0 nice go build -trimpath -ldflags='-s -w' -o "$LAB/bin/jwtservice" ./internal/hosttest/jwtservice &&
		service_image jwt "$1" "$JWT_IMAGE" "$LAB/bin/jwtservice" jwt-service
}

# service_image FILE KEY IMAGE BINARY NAME: an image of nothing but a static
# binary and what it needs to speak TLS, and the archive of that image.
service_image() {
	local context
	context=$(mktemp -d)
	cp "$4" "$context/$5"
	cp /etc/ssl/certs/ca-certificates.crt "$context"
	echo 'hosts: files dns' >"$context/nsswitch.conf"
	cat >"$context/Dockerfile" <<-TEXT
		FROM scratch
		COPY ca-certificates.crt /etc/ssl/certs/
		COPY nsswitch.conf /etc/
		COPY $5 /$5
		ENTRYPOINT ["/$5"]
	TEXT
	rm -f "$LAB/images/$1.key"
	DOCKER_BUILDKIT=0 docker build --quiet --tag "$3" "$context" >/dev/null &&
		docker save -o "$LAB/images/$1.tar.part" "$3" &&
		mv "$LAB/images/$1.tar.part" "$LAB/images/$1.tar" && echo "$2" >"$LAB/images/$1.key"
	local rc=$?
	rm -rf "$context"
	return $rc
}
