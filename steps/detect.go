package steps

import (
	"context"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// queryImages lists the containers that run: NAME, tab, IMAGE.
var queryImages = host.Cmd{Argv: []string{"docker", "ps", "--format", "{{.Names}}\t{{.Image}}"}}

// DetectContainer finds containers whose image has a name; config makes what the
// plan file would say of one on a host.
func DetectContainer(image string, config func(on, name, image string) Config) func(context.Context, host.Observer) ([]Found, error) {
	return func(ctx context.Context, o host.Observer) ([]Found, error) {
		res, err := o.Query(ctx, queryImages)
		if err != nil {
			return nil, err
		}
		var out []Found
		for line := range strings.Lines(string(res[0].Stdout)) {
			name, ref, _ := strings.Cut(strings.TrimSpace(line), "\t")
			r, ok := ParseImageRef(ref)
			if !ok || r.Name[strings.LastIndexByte(r.Name, '/')+1:] != image {
				continue
			}
			out = append(out, Found{Config: config(o.Name(), name, ref), Why: "container " + name + " on " + o.Name() + " runs " + ref, Sure: true})
		}
		return out, nil
	}
}
