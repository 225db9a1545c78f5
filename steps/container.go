package steps

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// Labels that ecdeploy puts on its containers.
const (
	LabelSite = "ecdeploy.site" // the site's server name
	LabelRun  = "ecdeploy.run"  // the run that made the container
	LabelSpec = "ecdeploy.spec" // digest of all that the container was made from
)

// Container is a container with the files that it reads, changed as one: the
// old container is set aside, never deleted, so that undo brings it back with
// the files that belong to it.
type Container struct {
	Site      string             `json:"site"`
	Spec      host.ContainerSpec `json:"spec"` // without LabelRun and LabelSpec
	Dirs      []Dir              `json:"dirs,omitempty"`
	Edits     []FileEdit         `json:"edits,omitempty"`
	Config    []Text             `json:"config,omitempty"`   // all files that the container reads, changed or not
	Check     string             `json:"check,omitempty"`    // lint on the staged files
	Replaces  string             `json:"replaces,omitempty"` // id of the container that goes aside
	Why       []string           `json:"why,omitempty"`
	Interrupt string             `json:"interrupt,omitempty"`
	Foreign   bool               `json:"foreign,omitempty"` // the one that goes aside is somebody else's
	Back      *Back              `json:"back,omitempty"`    // somebody else's container that comes back in the place of one that is gone
	Stops     string             `json:"stops,omitempty"`   // what ends on the day on which the container is taken away
	Gone      bool               `json:"gone,omitempty"`    // none comes in the place of the one that goes aside
	Rmdirs    []string           `json:"rmdirs,omitempty"`  // folders of ours that go where they are empty then, the inner ones first
	Leave     []string           `json:"leave,omitempty"`   // entries of the ledger that go with this
}

// Back is a container that was set aside, and how it was then.
type Back struct {
	ID      string `json:"id"`
	Aside   string `json:"aside"` // its name now
	Restart string `json:"restart"`
	Running bool   `json:"running,omitempty"`
	Paused  bool   `json:"paused,omitempty"`
}

// Kind implements Change.
func (Container) Kind() string { return "container" }

// Summary implements Change.
func (c Container) Summary() Summary {
	s := Summary{Verb: "+", Title: "container " + c.Spec.Name, Interrupt: c.Interrupt}
	if c.Replaces != "" {
		s.Verb = "~"
	}
	if c.Gone {
		s.Verb = "-"
	}
	if c.Spec.Image != "" {
		s.Details = []string{"image " + c.Spec.Image}
	}
	s.Details = append(s.Details, c.Why...)
	if c.Back != nil {
		s.Details = append(s.Details, c.Back.summary(c.Spec.Name))
	}
	s.Details = append(s.Details, editDetails(c.Edits)...)
	s.Diff = editDiffs(c.Edits)
	return s
}

// Resolve implements Change.
func (c Container) Resolve(ctx context.Context, env Env) (Resolved, error) {
	staged, sums, err := stageEdits(ctx, env, c.Edits)
	if err != nil {
		return Resolved{}, err
	}
	r := Resolved{Stage: staged, Check: c.Check, Timeout: 2 * time.Minute, Ledger: c.moves(env)}
	if c.Gone {
		return c.resolveGone(env, r, sums), nil
	}
	sum, err := SpecDigest(c.Spec, c.Config, env.Secrets)
	if err != nil {
		return Resolved{}, err
	}
	spec := c.Spec
	spec.Labels = map[string]string{LabelSite: c.Site, LabelRun: env.Run, LabelSpec: sum}
	name := shellescape.Quote(spec.Name)
	r.Save = joinSh("ec_save_container "+name+" || exit 1", saveEdits(c.Edits, sums))
	r.Do = joinSh(c.stillThere(),
		placeEdits(c.Dirs, c.Edits),
		fmt.Sprintf("ec_set_aside %s %s %d || exit 1", name, shellescape.Quote(AsideName(spec.Name, env.Run)), int(spec.StopTimeout.Seconds())))
	r.Undo = joinSh("ec_undo_container_ours "+name+" || exit 1", undoEdits(c.Edits), "ec_undo_container_old "+name+" || exit 1", "ec_undo_dirs")
	r.Act = func(ctx context.Context, d host.Docker) error {
		if _, err := d.Create(ctx, spec); err != nil {
			return err
		}
		return d.Start(ctx, spec.Name)
	}
	return r, nil
}

// moves are the entries of the container and of its files.
func (c Container) moves(env Env) LedgerMoves {
	m := editMoves(env, Entry{Title: c.Spec.Name}, c.Dirs, c.Edits)
	m.Leave = append(m.Leave, c.Leave...)
	id := entryID(EntryContainer, c.Spec.Name)
	if c.Gone {
		m.Leave = append(m.Leave, id)
		return m
	}
	if c.Foreign {
		m.Enter = append(m.Enter, Entered{Entry{ID: entryID(EntryAside, c.Spec.Name), Kind: EntryAside, Name: c.Spec.Name,
			Title: c.Spec.Name, Aside: AsideName(c.Spec.Name, env.Run)}, -1})
	}
	m.Enter = append(m.Enter, Entered{Entry{ID: id, Kind: EntryContainer, Name: c.Spec.Name, Title: c.Spec.Name,
		Stop: &Stop{Grace: Seconds(c.Spec.StopTimeout / time.Second), Interrupt: c.Stops}}, -1})
	return m
}

// resolveGone sets the container aside before its files go, and gives the files
// back before it starts again.
func (c Container) resolveGone(env Env, r Resolved, sums []string) Resolved {
	name := shellescape.Quote(c.Spec.Name)
	r.Save = joinSh("ec_save_container "+name+" || exit 1", saveEdits(c.Edits, sums))
	r.Do = joinSh(c.stillThere(),
		fmt.Sprintf("ec_set_aside %s %s %d || exit 1", name, shellescape.Quote(AsideName(c.Spec.Name, env.Run)), int(c.Spec.StopTimeout.Seconds())),
		placeEdits(nil, c.Edits), rmdirs(c.Rmdirs))
	undoBack := ""
	if b := c.Back; b != nil {
		r.Do = joinSh(r.Do, fmt.Sprintf("ec_bring_back %s %s || exit 1", name, b.words()))
		undoBack = fmt.Sprintf("ec_undo_bring_back %s %s || exit 1", shellescape.Quote(b.ID), shellescape.Quote(b.Aside))
	}
	r.Undo = joinSh(undoBack, "ec_undo_container_ours "+name+" || exit 1", undoRmdirs(c.Rmdirs), undoEdits(c.Edits), "ec_undo_container_old "+name+" || exit 1")
	return r
}

// words are the container for ec_bring_back: its id, its restart policy, and
// "running" or "paused" where it was.
func (b Back) words() string {
	state := "stopped"
	switch {
	case b.Paused:
		state = "paused"
	case b.Running:
		state = "running"
	}
	return shellescape.QuoteCommand([]string{b.ID, b.Restart, state})
}

func (b Back) summary(name string) string {
	what := "it is not started, as it did not run"
	if b.Running {
		what = "it is started"
	}
	return "container " + name + " from before ecdeploy comes back (" + b.Aside + "): " + what
}

// stillThere fails where the name belongs to another container by now.
func (c Container) stillThere() string {
	return fmt.Sprintf(`[ "$(cat "$J/container.id" 2>/dev/null)" = %s ] || { echo "another container is called" %s "now" >&2; exit 75; }`,
		shellescape.Quote(c.Replaces), shellescape.Quote(c.Spec.Name))
}

// AsideName is what a container is called that a run has set aside.
func AsideName(name, run string) string { return name + ".ecdeploy-" + run }

// SpecDigest is a digest of everything that a container is made from: the same
// digest means that nothing would change if it were made again.
func SpecDigest(spec host.ContainerSpec, config []Text, secrets Secrets) (string, error) {
	spec.Labels = nil
	all := struct {
		Spec  host.ContainerSpec
		Files []string
	}{Spec: spec}
	sealed := Secrets{}
	for _, t := range config {
		data, err := t.Fill(secrets)
		if err != nil {
			return "", err
		}
		if t.HasSecret() {
			sealed = secrets
		}
		all.Files = append(all.Files, string(data))
	}
	b, err := json.Marshal(all)
	if err != nil {
		return "", fmt.Errorf("encode container %s: %w", spec.Name, err)
	}
	return Digest(b, sealed), nil
}

// ContainerFacts are what `docker container inspect` says of a name.
type ContainerFacts struct {
	Found   bool
	Name    string // where it was found by its site
	ID      string
	Image   string
	Running bool
	Restart string
	Labels  map[string]string
}

// QueryContainer asks for a container; its answer goes to parseContainer.
func QueryContainer(name string) host.Cmd {
	return host.Cmd{Argv: []string{"docker", "container", "inspect", "--", name}}
}

// ParseContainer reads the answer; the zero value says that there is no such container.
func ParseContainer(r host.Result) (ContainerFacts, error) {
	if !r.OK() {
		return ContainerFacts{}, nil
	}
	var raw []struct {
		ID         string `json:"Id"`
		Image      string
		State      struct{ Running bool }
		HostConfig struct{ RestartPolicy struct{ Name string } }
		Config     struct{ Labels map[string]string }
	}
	if err := json.Unmarshal(r.Stdout, &raw); err != nil || len(raw) != 1 {
		return ContainerFacts{}, fmt.Errorf("read docker's answer about a container: %w", err)
	}
	c := raw[0]
	return ContainerFacts{Found: true, ID: c.ID, Image: c.Image, Running: c.State.Running, Restart: c.HostConfig.RestartPolicy.Name, Labels: c.Config.Labels}, nil
}

// whyReplace lists what makes a container differ from the one wanted; nothing
// means that it can stay.
func (f ContainerFacts) whyReplace(spec host.ContainerSpec, sum, imageID string) []string {
	var why []string
	switch {
	case !f.Found:
		return []string{"not there yet"}
	case f.Labels[LabelSpec] == "":
		why = append(why, "a container of this name was not made by ecdeploy; it is stopped and set aside until `ecdeploy destroy` brings it back")
	case f.Labels[LabelSpec] != sum:
		why = append(why, "its settings differ")
	}
	if imageID != "" && f.Image != imageID {
		why = append(why, "it runs an older image of that name")
	}
	if f.Restart != spec.Restart {
		why = append(why, fmt.Sprintf("its restart policy is %q", f.Restart))
	}
	if !f.Running {
		why = append(why, "it does not run")
	}
	return why
}

// PlanReplace says why the container must be made again, or nothing. secrets are
// those of its files, and whySecrets says what becomes of those that they hold now.
func (c *Container) PlanReplace(f ContainerFacts, image ImageFacts, images []Change, whySecrets []string, secrets Secrets) {
	c.Why = append(c.Why, whySecrets...)
	sum := ""
	if s, err := SpecDigest(c.Spec, c.Config, secrets); err == nil {
		sum = s
	}
	c.Foreign = f.Found && f.Labels[LabelSite] == ""
	c.Why = append(c.Why, f.whyReplace(c.Spec, sum, image.ID)...)
	if len(images) > 0 && f.Found {
		c.Why = append(c.Why, "a new image comes")
	}
	if len(c.Edits) > 0 && len(c.Why) == 0 {
		c.Why = append(c.Why, "its files differ")
	}
}

// Foreign is the finding for a container that another site's plan made.
func (f ContainerFacts) Foreign(site *Site, name string) []Finding {
	if owner := f.Labels[LabelSite]; f.Found && owner != "" && owner != site.Name {
		return []Finding{Error.Finding("container "+name+" is the site "+owner+"'s", `choose another name with container = "..."`)}
	}
	return nil
}

// LintFile is a file that a lint run sees at Target: the staged file of edit K,
// or, with K below 0, the one that is there already.
type LintFile struct {
	Target string
	Path   string
	K      int
}

// DockerLint is a Check that runs the image on the files as they will be, as
// the user that will read them, and wants to see ok in what it prints.
func DockerLint(spec host.ContainerSpec, uid int, files []LintFile, ok string, args ...string) string {
	var copies, binds strings.Builder
	for i, f := range files {
		src := shellescape.Quote(f.Path)
		if f.K >= 0 {
			src = fmt.Sprintf(`"$J/%d.new"`, f.K)
		}
		fmt.Fprintf(&copies, "cp -- %s \"$J/lint%d\" && chown 0:%d \"$J/lint%d\" && chmod 0640 \"$J/lint%d\" || exit 1\n", src, i, uid, i, i)
		fmt.Fprintf(&binds, ` -v "$J/lint%d":%s:ro`, i, shellescape.Quote(f.Target))
	}
	run := shellescape.QuoteCommand([]string{
		"docker", "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--pull",
		"never", "--user", spec.User,
	})
	cmd := "out=$(" + run + binds.String() + " " + shellescape.QuoteCommand(append([]string{spec.Image}, args...)) + " 2>&1)"
	// A busy engine may lose what a container says that ends at once.
	return copies.String() + cmd + "\n[ -n \"$out\" ] || " + cmd + "\n" +
		`rm -f -- "$J"/lint*` + "\n" + `case $out in *` + shellescape.Quote(ok) + `*) exit 0 ;; esac
printf '%s\n' "$out" >&2
exit 1`
}
