package plans

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// savedFormat is the version of saved plans. It grows when a field changes its
// meaning or goes; new fields do not count.
const savedFormat = 1

// Saved is a plan that waits to be applied, with all that it was made on. It
// holds no secret, only references to them and HMACs under them; of variables
// it holds the names.
type Saved struct {
	Format   int       `json:"ecdeploy_plan"` // first: by this a saved plan is known
	Version  string    `json:"version"`       // of ecdeploy
	Made     time.Time `json:"made"`
	By       string    `json:"by"`               // user@laptop
	PlanFile string    `json:"plan_file"`        // absolute path on the laptop
	Sum      string    `json:"plan_file_scrypt"` // slow: the file may hold a short password
	Salt     string    `json:"plan_file_salt"`   // of Sum, random
	Vars     []string  `json:"vars,omitempty"`   // names given from outside, sorted
	Limit    []string  `json:"limit,omitempty"`  // as --limit said
	// Hosts are digests of what the plan file says of where the hosts are, by
	// name: the same plan for another machine is another plan. Where an alias of
	// ssh_config or a name leads today, they do not tell; known_hosts does.
	Hosts map[string]string `json:"hosts"`
	Sites []SavedSite       `json:"sites"`
}

// SavedSite is the plan of one site.
type SavedSite struct {
	Plan        SitePlan `json:"plan"`
	Hash        string   `json:"hash"`                  // Plan.Hash()
	Credentials string   `json:"credentials,omitempty"` // fingerprint; "" where they are to be made
	Guards
}

// Guards are what watches over a run of a site, next to the checks of its plan.
type Guards struct {
	RevertAfter time.Duration `json:"revert_after"`
	CA          string        `json:"verify_ca,omitempty"` // SHA-256 of what verify.ca_file holds, in hex
	Level       string        `json:"verify_level"`
	Strict      bool          `json:"verify_strict,omitempty"`
	From        []string      `json:"verify_from,omitempty"`
	Helper      bool          `json:"verify_probe_helper,omitempty"`
}

// guards are those that f gives a site.
func (f *File) guards(site string) (Guards, error) {
	i := slices.IndexFunc(f.Sites, func(s Site) bool { return s.ServerName == site })
	if i < 0 {
		return Guards{}, nil
	}
	v := f.Sites[i].Verify
	g := Guards{RevertAfter: f.Sites[i].RevertAfter, Level: v.Level, Strict: v.Strict, From: v.From, Helper: v.ProbeHelper}
	if ca := v.CAFile; ca != "" {
		b, err := os.ReadFile(ca)
		if err != nil {
			return g, fmt.Errorf("verify.ca_file: %w", err)
		}
		g.CA = sumOf(b)
	}
	return g, nil
}

// NewSaved is a plan p for the sites of f. Its caller says who made it when, and
// from which variables and limit.
func NewSaved(f *File, p Plan) (*Saved, error) {
	path, err := filepath.Abs(f.Path)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", f.Path, err)
	}
	s := &Saved{Format: savedFormat, PlanFile: path, Salt: rand.Text(), Hosts: places(f)}
	s.Sum = steps.SlowSum([]byte(f.Sum), s.Salt)
	for _, site := range p.Sites {
		hash, err := site.Hash()
		if err != nil {
			return nil, err
		}
		guards, err := f.guards(site.Site)
		if err != nil {
			return nil, err
		}
		s.Sites = append(s.Sites, SavedSite{Plan: site, Hash: hash, Credentials: KeysOf(site.Secrets).Fingerprint(), Guards: guards})
	}
	return s, nil
}

// places are digests of the address, port and jump that f says for the hosts of
// its sites.
func places(f *File) map[string]string {
	wanted, out := map[string]bool{}, map[string]string{}
	for _, s := range f.Sites {
		for _, name := range s.HostNames() {
			wanted[name] = true
		}
	}
	for _, h := range f.Hosts {
		if wanted[h.Name] {
			out[h.Name] = sumOf([]byte(strings.Join([]string{h.Address, strconv.Itoa(h.Port), h.Jump}, "\n")))
		}
	}
	return out
}

// Elsewhere are the hosts that f has at another address than the plan was made
// for, sorted.
func (s *Saved) Elsewhere(f *File) []string {
	now := places(f)
	out := maps.Clone(s.Hosts)
	maps.DeleteFunc(out, func(name, place string) bool { return now[name] == place })
	return sortedKeys(out)
}

// MadeOf reports whether the plan was made of the plan file with this Sum.
func (s *Saved) MadeOf(sum string) bool { return steps.SlowSum([]byte(sum), s.Salt) == s.Sum }

// Sum is the SHA-256 of a plan file, in hex, as File has it. A saved plan of
// somebody else may name anything as its plan file.
func Sum(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() || st.Size() > maxPlanFile {
		return "", fmt.Errorf("%s is not a file of at most %d MiB", path, maxPlanFile>>20)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return sumOf(b), nil
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Encode is the plan as a file.
func (s *Saved) Encode() ([]byte, error) {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode plan: %w", err)
	}
	return append(b, '\n'), nil
}

// savedStart is how a saved plan begins, of whichever version.
var savedStart = regexp.MustCompile(`^\s*\{\s*"ecdeploy_plan"\s*:`)

// IsSaved reports whether the content of a file is meant to be a saved plan: no
// plan file begins like that.
func IsSaved(b []byte) bool { return savedStart.Match(b) }

func damagedFile(err error) error {
	return hint.Wrap(fmt.Errorf("the saved plan is damaged: %w", err), "make the plan again: ecdeploy plan -out FILE hosts.hcl")
}

// DecodeSaved reads what Encode wrote.
func DecodeSaved(b []byte) (*Saved, error) {
	var head struct {
		Format  int    `json:"ecdeploy_plan"`
		Version string `json:"version"`
	}
	// First these two alone: a newer format may have anything besides them.
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, damagedFile(err)
	}
	if head.Format > savedFormat {
		err := fmt.Errorf("the saved plan has format %d, of ecdeploy %q; this ecdeploy knows format %d", head.Format, host.Clean(head.Version), savedFormat)
		return nil, hint.Wrap(err, "apply it with that ecdeploy, or make the plan again with this one: ecdeploy plan -out FILE hosts.hcl")
	}
	var s Saved
	err := json.Unmarshal(b, &s)
	if err == nil {
		err = s.check()
	}
	if err != nil {
		return nil, damagedFile(err)
	}
	return &s, nil
}

// savedMistake is that of giving a saved plan where a plan file is wanted.
func savedMistake(path string, b []byte) Mistake {
	of := ""
	if s, err := DecodeSaved(b); err == nil {
		of = ": " + host.Clean(s.PlanFile)
	}
	return Mistake{Severity: SeverityError, File: path, Summary: "this is a saved plan, and no plan file",
		Detail: "`ecdeploy apply` carries it out; give the plan file that it was made of" + of}
}

// names are the texts of which errors and commands for people are made.
func (s *Saved) names() []string {
	out := append([]string{s.Version, s.By, s.PlanFile}, s.Limit...)
	for _, site := range s.Sites {
		out = append(out, site.Plan.Site)
		for _, h := range site.Plan.Hosts {
			out = append(out, h.Host)
			for _, st := range h.Steps {
				out = append(out, string(st.Stage), st.Step)
			}
		}
	}
	return append(out, sortedKeys(s.Hosts)...)
}

// check finds what a whole saved plan cannot be.
func (s *Saved) check() error {
	switch {
	case s.Format != savedFormat:
		return fmt.Errorf("there is no format %d", s.Format)
	case !filepath.IsAbs(s.PlanFile) || s.Sum == "" || s.Salt == "":
		return errors.New("it does not say of which plan file it was made")
	case len(s.Sites) == 0:
		return errors.New("it has no site")
	}
	for _, name := range s.Vars {
		if !hclsyntax.ValidIdentifier(name) {
			return fmt.Errorf("%q is no name of a variable", name)
		}
	}
	for _, text := range s.names() {
		if host.Clean(text) != text || strings.ContainsAny(text, "\n\t") {
			return fmt.Errorf("%q has characters that no name or path needs", text)
		}
	}
	for _, site := range s.Sites {
		hash, err := site.Plan.Hash()
		if err != nil {
			return err
		}
		if hash != site.Hash {
			return fmt.Errorf("the changes of %s are not what they were when it was saved", host.Clean(site.Plan.Site))
		}
		for _, h := range site.Plan.Hosts {
			if s.Hosts[h.Host] == "" {
				return fmt.Errorf("it does not say where host %s is", host.Clean(h.Host))
			}
		}
	}
	return nil
}
