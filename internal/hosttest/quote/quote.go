package quote

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Evil is what a shell must never take for its own: quotes, substitutions, an end
// of a command and of a line.
const Evil = "/x/a'b \"c\" $(touch pwned) `touch pwned`; touch pwned\nnext"

// RunQuoted runs scripts in which Evil stands as a word, with stubs for all that
// they call, and wants it to arrive there as one word and to do nothing.
func RunQuoted(t *testing.T, scripts map[string]string) {
	t.Helper()
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			// Whatever is called writes down what it was given.
			stubs := "D=$PWD\nfor f in ec_save ec_mkdir ec_place ec_unchanged ec_remove ec_sync ec_undo_files " +
				"ec_save_container ec_undo_container_ours ec_undo_container_old ec_undo_dirs ec_keep_ufw ec_undo_ufw ec_save_nft " +
				"ec_nft ec_nft_insert ec_undo_nft ufw nft docker setpriv cp chown chmod rm id; do\n" +
				"eval \"$f() { printf '%s|' \\\"\\$@\\\" >>\\\"\\$D/words\\\"; }\"\ndone\n"
			cmd := exec.Command("sh", "-c", stubs+"J=/j\n"+script)
			cmd.Dir = dir
			_ = cmd.Run() // the stubs answer nothing, so that some scripts end early
			words, err := os.ReadFile(filepath.Join(dir, "words"))
			if err != nil || !strings.Contains(string(words), Evil) {
				t.Errorf("the words were %q, %v", words, err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
				t.Errorf("it made %v, %v", left, err)
			}
		})
	}
}
