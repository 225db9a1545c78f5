package splice

// ConfigFile is one file of an `nginx -T` output.
type ConfigFile struct {
	Path    string
	Content []byte // as nginx read it
}

// ParseNginxDump splits the standard output of `nginx -T` into its files, in
// nginx's order; the first is the main file.
func ParseNginxDump(dump []byte) []ConfigFile { return nil }
