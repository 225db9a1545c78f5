package host

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"al.essio.dev/pkg/shellescape"
)

// readScript defines f, which tells everything about its second and further
// arguments, one field per line, one line "." after each. The first argument is
// the number of the path that was asked for.
const readScript = `
f() {
	i=$1
	shift
	for p; do
		printf 'i %s\np ' "$i"
		b "$p"
		r=$(readlink -f -- "$p" && echo /) || r=$p//
		printf 'r '
		r=${r%/}
		r=${r%?}
		b "$r"
		if [ "$r" != "$p" ]; then l "$p"; fi
		if s=$(stat -L -c 's %f %u %g' -- "$p" 2>/dev/null); then
			printf '%s\n' "$s"
			if [ -f "$p" ]; then
				if [ "$(stat -L -c %s -- "$p")" -gt $max ]; then
					echo 'x it is too large'
				elif d=$(base64 <"$p" 2>&1); then
					printf 'd %s\n' "$(printf %s "$d" | tr -d '\n')"
				else
					printf 'x %s\n' "$(printf %s "$d" | head -n 1)"
				fi
			elif [ -d "$p" ]; then
				printf 'n '
				for n in "$p"/* "$p"/.[!.]* "$p"/..?*; do
					if [ -e "$n" ] || [ -L "$n" ]; then printf '%s/' "${n##*/}"; fi
				done | base64 | tr -d '\n'
				echo
			fi
		fi
		echo .
	done
}
b() { printf %s "$1" | base64 | tr -d '\n'; echo; }
# l PATH: the first symlink on the way that somebody else could turn elsewhere,
# theirs or in a folder that they can write.
l() {
	d='' n=0 left=$1 me=${me:-$(id -u)}
	while [ -n "$left" ] && [ $n -lt 40 ]; do
		c=${left%%/*}
		case $left in */*) left=${left#*/} ;; *) left= ;; esac
		case $c in '' | .) continue ;; ..) d=${d%/*} && continue ;; esac
		if [ ! -L "$d/$c" ]; then
			d=$d/$c
			continue
		fi
		n=$((n + 1))
		case $(stat -c %u -- "$d/$c" 2>/dev/null):$(stat -c '%u %a' -- "$d/" 2>/dev/null) in
		$me:$me\ [1357]??? | $me:$me\ *[0145][0145]) ;;
		*)
			printf 't '
			b "$d/$c"
			return
			;;
		esac
		t=$(readlink -- "$d/$c" && echo /) || return
		t=${t%/}
		t=${t%?}
		case $t in /*) d='' ;; esac
		left=$t/$left
	done
}
`

// readRequest is the script that reads paths.
func readRequest(paths []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "max=%d\n%s", MaxFile, readScript)
	for i, p := range paths {
		fmt.Fprintf(&b, "f %d %s\n", i, globWord(p))
	}
	return b.String()
}

// globWord quotes all of a path but its glob characters.
func globWord(p string) string {
	var b strings.Builder
	for p != "" {
		n := strings.IndexAny(p, "*?[]")
		if n < 0 {
			n = len(p)
		}
		if n > 0 {
			b.WriteString(shellescape.Quote(p[:n]))
		}
		if n < len(p) {
			b.WriteByte(p[n])
			n++
		}
		p = p[n:]
	}
	return b.String()
}

// readFiles asks by way of do, which runs one script.
func readFiles(ctx context.Context, paths []string, do func(context.Context, request) (Result, error)) ([]File, error) {
	for _, p := range paths {
		if !strings.HasPrefix(p, "/") {
			return nil, fmt.Errorf("read %q: the path is not absolute", p)
		}
	}
	res, err := do(ctx, request{script: readRequest(paths)})
	if err != nil {
		return nil, err
	}
	if res.Truncated {
		return nil, errors.New("the files are larger together than what one answer may hold")
	}
	if !res.OK() {
		return nil, fmt.Errorf("read files: %s", Said(string(res.Stderr), saidLines))
	}
	files, asked, err := parseFiles(res.Stdout)
	if err == nil {
		err = answers(paths, files, asked)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errGarbled, err)
	}
	return files, nil
}

// maxMatches is the most that the patterns of one Read may match together.
const maxMatches = 10000

// answers wants what was asked for: one file for each path, in their order,
// where only a pattern may have several. asked has the path's number for each.
// It notes the pattern with the files that matched one.
func answers(paths []string, files []File, asked []int) error {
	next := 0
	for i, p := range paths {
		from := next
		for next < len(files) && asked[next] == i {
			if files[next].Path != p {
				files[next].Pattern = p
			}
			next++
		}
		switch found := files[from:next]; {
		case len(found) == 0:
			return fmt.Errorf("it says nothing about %s", p)
		case !strings.ContainsAny(p, "*?[]") && (len(found) > 1 || found[0].Path != p):
			return fmt.Errorf("asked about %s, it tells of %.200q", p, found[0].Path)
		}
	}
	if next < len(files) {
		return fmt.Errorf("it tells of %.200q, which nobody asked for", files[next].Path)
	}
	return nil
}

// parseFiles reads what readScript prints: the files, and for each the number
// of the path that it was asked by.
func parseFiles(out []byte) (files []File, asked []int, err error) {
	var f File
	n := -1
	for line := range bytes.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		var err error
		switch key {
		case "i":
			f = File{}
			n, err = strconv.Atoi(value)
		case "p":
			f.Path, err = decode(value)
		case "r":
			f.Real, err = decode(value)
		case "t":
			f.Loose, err = decode(value)
		case "s":
			f.Exists = true
			err = parseStat(value, &f)
		case "d":
			f.Data, err = base64.StdEncoding.DecodeString(value)
		case "n":
			var names string
			names, err = decode(value)
			f.Names = slices.DeleteFunc(strings.Split(names, "/"), func(n string) bool { return n == "" })
			slices.Sort(f.Names)
		case "x":
			f.Err = Clean(value)
		case ".":
			files, asked = append(files, f), append(asked, n)
			if len(files) > maxMatches {
				return nil, nil, fmt.Errorf("it tells of more than %d files", maxMatches)
			}
		}
		if err != nil {
			return nil, nil, fmt.Errorf("about %.200q: %w", f.Path, err)
		}
	}
	return files, asked, nil
}

func decode(s string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	return string(b), err
}

func parseStat(value string, f *File) error {
	var mode uint32
	if _, err := fmt.Sscanf(value, "%x %d %d", &mode, &f.UID, &f.GID); err != nil {
		return err
	}
	f.Mode = unixMode(mode)
	return nil
}

// unixMode turns st_mode of Linux into Go's mode.
func unixMode(m uint32) fs.FileMode {
	out := fs.FileMode(m & 0o777)
	for _, b := range []struct {
		unix uint32
		mode fs.FileMode
	}{{0o4000, os.ModeSetuid}, {0o2000, os.ModeSetgid}, {0o1000, os.ModeSticky}} {
		if m&b.unix != 0 {
			out |= b.mode
		}
	}
	switch m & 0o170000 {
	case 0o040000:
		out |= fs.ModeDir
	case 0o010000:
		out |= fs.ModeNamedPipe
	case 0o140000:
		out |= fs.ModeSocket
	case 0o020000:
		out |= fs.ModeDevice | fs.ModeCharDevice
	case 0o060000:
		out |= fs.ModeDevice
	}
	return out
}
