# shellcheck shell=bash
# Hosts whose /etc and journals lie on a small disk of their own, so that a test
# can fill it, and can lose what was not written to it when the power fails.

DISK_DIRS="/etc /var/lib/ecdeploy"
disk_image() { echo "$LAB/disks/$1.img"; }
disk_mount() { echo "$LAB/disks/$1"; }

# make_disk IMAGE NAME: with what that image has in those folders.
make_disk() {
	local of=$1 name=$2 image mount d
	image=$(disk_image "$name") mount=$(disk_mount "$name")
	[ "$(id -u)" = 0 ] || die "only root can mount a disk"
	mkdir -p "$mount"
	truncate -s 48M "$image"
	mkfs.ext4 -q -m 0 -O ^metadata_csum "$image"
	mount -o loop "$image" "$mount"
	(umask 022 && for d in $DISK_DIRS; do mkdir -p "$mount$d"; done)
	docker run --rm --network none --entrypoint tar "$of" -C / -c etc | tar -C "$mount" -x
}

# disk_options NAME: what `docker create` needs for it.
disk_options() {
	local d
	for d in $DISK_DIRS; do printf -- '--volume %s%s:%s ' "$(disk_mount "$1")" "$d" "$d"; done
}

remove_disk() {
	[ -e "$(disk_image "$1")" ] || return 0
	umount "$(disk_mount "$1")" 2>/dev/null || umount -l "$(disk_mount "$1")" 2>/dev/null || :
	rmdir "$(disk_mount "$1")" 2>/dev/null || :
	rm -f "$(disk_image "$1")"
}

# crash NAME: the power fails, and comes back. All processes end at once; the
# disk is a copy of what had been written by then. What the kernel still held in
# memory is lost: that is what a copy of a mounted image does not have.
crash() {
	local name=$1 image mount
	image=$(disk_image "$name") mount=$(disk_mount "$name")
	[ -e "$image" ] || die "$name has no disk of its own: scripts/lab up --light --disk $name"
	docker kill "$(container "$name")" >/dev/null
	cp --sparse=always "$image" "$image.new"
	within 20 umount "$mount" || die "the disk of $name is busy"
	mv "$image.new" "$image"
	mount -o loop "$image" "$mount"
	docker start "$(container "$name")" >/dev/null
}
