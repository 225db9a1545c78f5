package engine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// acl grants user 12345 reading: an access ACL as the kernel keeps it (version 2;
// entries of tag, permissions and id; linux/posix_acl_xattr.h).
var acl = []byte{2, 0, 0, 0,
	1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, // the owner: rw
	2, 0, 4, 0, 0x39, 0x30, 0, 0, // user 12345: r
	4, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, // the group: r
	0x10, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, // mask: r
	0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff} // others: nothing

// What a file has besides its bytes stays when it is edited, and comes back, its
// times too, when the edit is rolled back.
func TestAttributes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			d := newOnDisk(t, shell)
			file := filepath.Join(t.TempDir(), "homeserver.yaml")
			put(t, file, "old\n")
			long := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
			xattrs := map[string][]byte{"user.note": []byte("kept"), "system.posix_acl_access": acl, "security.selinux": []byte("system_u:object_r:etc_t:s0\x00")}
			for _, err := range []error{os.Chown(file, 65534, 12), os.Chmod(file, 0o640),
				unix.Setxattr(file, "user.note", xattrs["user.note"], 0), unix.Setxattr(file, "system.posix_acl_access", acl, 0),
				unix.Setxattr(file, "security.selinux", xattrs["security.selinux"], 0), os.Chtimes(file, long, long)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			check := func(when, bytesWanted string, wantTime bool) {
				t.Helper()
				st, err := os.Stat(file)
				if err != nil {
					t.Fatal(err)
				}
				sys := st.Sys().(*syscall.Stat_t)
				if got := get(t, file); got != bytesWanted || st.Mode().Perm() != 0o640 || sys.Uid != 65534 || sys.Gid != 12 {
					t.Errorf("%s: %q, mode %o, owner %d:%d", when, got, st.Mode().Perm(), sys.Uid, sys.Gid)
				}
				if st.ModTime().Equal(long) != wantTime {
					t.Errorf("%s: written %s", when, st.ModTime())
				}
				for name, want := range xattrs {
					got := make([]byte, 100)
					n, err := unix.Getxattr(file, name, got)
					if err != nil || !bytes.Equal(got[:n], want) {
						t.Errorf("%s: %s is %q, %v", when, name, got[:max(n, 0)], err)
					}
				}
			}
			check("before", "old\n", true)
			d.change(t, 1, "ec_save 0 "+file, fmt.Sprintf("ec_place 0 %s 644 0 0", file), "ec_undo_files "+file)
			check("edited", "new 1\n", false)
			if out, code := d.rollback(t); code != 0 {
				t.Fatal(code, out)
			}
			check("rolled back", "old\n", true)
		})
	}
}
