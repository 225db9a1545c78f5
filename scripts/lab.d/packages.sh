# shellcheck shell=bash
# shellcheck disable=SC2034 # used by the parts that source this
# The one place that says which Debian packages are used, and where.

# This machine: what the tests and the lab run here.
TOOLS=(
	ca-certificates curl git openssl                    # the lab's keys and checks
	gcc libc6-dev                                       # go test -race
	docker.io e2fsprogs iproute2 iptables mmdebstrap nftables openssh-client python3-pip util-linux # hosts and the way to them
	busybox mksh openssh-server shellcheck sudo         # unit tests and lint
	chromium                                            # looks at the page of a report
)

# Every host.
HOST=(
	systemd systemd-sysv dbus libpam-systemd
	openssh-server sudo
	docker.io docker-cli iptables nftables ufw nginx
	attr ca-certificates curl openssl iproute2 procps
	bash busybox dash mksh
)
# Light hosts are of Debian's stable release, which has no Synapse; so the
# product meets two ages of systemd, OpenSSH, Docker, nginx and ufw.
LIGHT_SUITE=trixie
LIGHT=("${HOST[@]}")
FULL_SUITE=sid
FULL=("${HOST[@]}" matrix-synapse)
