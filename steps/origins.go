package steps

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
)

// layer is what one run did to a file that somebody else wrote, as the host
// remembers it (internal/engine/origins.sh).
type layer struct {
	Title  string // of the change: "nginx", "Synapse", "well-known"
	Path   string // of the file
	Before []byte
	After  []byte
}

// QueryOrigins lists the layers of a site, oldest first, in lines BEFORE AFTER
// TITLE PATH parted by tabs; the first two are paths. What runs before the site was
// last taken away did is not one; of a run that was rolled back it is one where somebody
// had edited the file and all stayed as it was.
func QueryOrigins(site *Site) host.Cmd {
	return host.Sh(`cd "$1" 2>/dev/null || exit 0
of() { # ABOUT BEFORE AFTER
	{ IFS= read -r title && IFS= read -r path; } <"$1" && printf '%s\t%s\t%s\t%s\n' "$PWD/$2" "$PWD/$3" "$title" "$path"
}
all=$(for o in origins/"$2"/*; do
	[ ! -e "$o/about" ] || of "$o/about" "$o/before" "$o/after"
done)
for r in runs/*."$2"; do
	if [ "${r##*/}" != "$(cat "$r/run" 2>/dev/null).$2" ] || [ -e "$r/layered" ]; then continue; fi
	if [ -e "$r/destroys" ]; then
		[ ! -e "$r/committed" ] || all=
		continue
	fi
	[ -e "$r/committed" ] || [ -e "$r/conflict" ] || continue
	id=$(cat "$r/run")
	for o in origins/"$2"/*."$id".*; do [ ! -e "$o" ] || continue 2; done
	for f in "$r"/changes/*/*.foreign; do
		k=${f%.foreign}
		if [ ! -e "$f" ] || [ ! -e "$k.saved" ] || [ ! -e "${f%/*}/touched" ] || [ -e "${f%/*}/restored" ]; then continue; fi
		all="$all
$(of "$f" "$k.old" "$k.new")"
	done
done
printf '%s\n' "$all"`, Root, site.Slug())
}

// ForeignFacts are the files of others that hold something of a site.
type ForeignFacts struct {
	layers []layer
	files  map[string]host.File // as they are now, by the path in layers
}

// ReadForeign brings the layers that QueryOrigins listed for changes of a title,
// and the files as they are now.
func ReadForeign(ctx context.Context, o host.Observer, listed host.Result, title string) (ForeignFacts, error) {
	f := ForeignFacts{files: map[string]host.File{}}
	var paths []string
	for line := range strings.Lines(string(listed.Stdout)) {
		p := strings.SplitN(strings.TrimRight(line, "\n"), "\t", 4)
		if len(p) != 4 || p[2] != title {
			continue
		}
		f.layers = append(f.layers, layer{Title: p[2], Path: p[3]})
		paths = append(paths, p[0], p[1], p[3])
	}
	if len(paths) == 0 {
		return f, nil
	}
	files, err := o.Read(ctx, paths...)
	if err != nil {
		return f, err
	}
	if len(files) != len(paths) {
		return f, fmt.Errorf("read what earlier runs did: %d files for %d paths", len(files), len(paths))
	}
	for i := range f.layers {
		before, after, now := files[3*i], files[3*i+1], files[3*i+2]
		if !before.Exists || !after.Exists || before.Err != "" || after.Err != "" {
			return f, fmt.Errorf("read what earlier runs did to %s: %s or %s cannot be read", now.Path, before.Path, after.Path)
		}
		f.layers[i].Before, f.layers[i].After = before.Data, after.Data
		f.files[f.layers[i].Path] = now
	}
	return f, nil
}

// Undo makes the edits that undo all layers, the newest first. What
// somebody else changed since stays, and a finding says so. The files as they will
// be are texts, by path.
func (f ForeignFacts) Undo() (edits []FileEdit, texts map[string][]byte, findings []Finding, err error) {
	texts = map[string][]byte{}
	var paths []string
	for _, l := range f.layers {
		if !slices.Contains(paths, l.Path) {
			paths = append(paths, l.Path)
		}
	}
	for _, p := range paths {
		now := f.files[p]
		switch {
		case !now.Exists:
			findings = append(findings, Note.Finding(p+" is not there any more: there is nothing to undo in it", ""))
			continue
		case now.Err != "" || !now.Mode.IsRegular():
			findings = append(findings, Error.Finding(p+" cannot be read: "+cmp.Or(now.Err, "it is no regular file"), "see what became of it"))
			continue
		}
		text := now.Data
		var kept []string
		for _, l := range slices.Backward(f.layers) {
			if l.Path != p {
				continue
			}
			back, k := splice.Undo(l.Before, l.After, text)
			kept = append(kept, k...)
			if text, err = splice.Apply(text, back); err != nil {
				return nil, nil, nil, fmt.Errorf("undo what was done to %s: %w", p, err)
			}
		}
		if len(kept) > 0 {
			findings = append(findings, Warning.Finding("somebody else changed in "+p+" what ecdeploy had put there; theirs stays",
				"look for it, and take it out by hand if nothing needs it. It was:\n"+maskSecrets(splice.Lines(kept))))
		}
		if json.Valid(now.Data) && !json.Valid(text) {
			findings = append(findings, Error.Finding(p+" would be no JSON any more without what ecdeploy put there", "take it out by hand, then run ecdeploy again"))
			continue
		}
		texts[now.Real] = text
		if back := splice.Between(now.Data, text); len(back) > 0 {
			e, err := ForeignFile(now.Real, now.Data, back)
			if err != nil {
				return nil, nil, nil, err
			}
			edits = append(edits, e)
		}
	}
	return edits, texts, findings, nil
}
