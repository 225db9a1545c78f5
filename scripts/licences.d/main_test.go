package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const isc = `Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted, provided that the above copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.
`

const gpl = `This program is free software: you can redistribute it and/or modify it under the terms of the GNU General Public License as published by the Free Software Foundation, either version 3 of the License, or (at your option) any later version.

This program is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU General Public License for more details.

You should have received a copy of the GNU General Public License along with this program. If not, see <https://www.gnu.org/licenses/>.
`

func TestClassify(t *testing.T) {
	own, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text, want, says string }{
		{"Apache", string(own), "Apache-2.0", ""},
		{"ISC", isc, "ISC", ""},
		{"two", isc + string(own), "ISC Apache-2.0", ""},
		{"GPL", gpl, "", "GPL-3.0"},
		{"GPL behind another", isc + "\n\n" + gpl, "", "GPL-3.0"},
		{"nobody knows it", "You may use this on Sundays.", "", "only 0 %"},
		{"with terms of its own", isc + strings.Repeat("You may not use this on Sundays. ", 40), "", "read it"},
		{"empty", "", "", "only 0 %"},
	} {
		got, err := classify([]byte(c.text))
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, %v, want an error with %q", c.name, got, err, c.says)
			}
			continue
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, %v, want %s", c.name, got, err, c.want)
		}
	}
}

// The folders on the way to a package that is linked count, others do not.
func TestLicencesOfAModule(t *testing.T) {
	root := t.TempDir()
	m := &module{Path: "example.org/m", Dir: root, packages: map[string]bool{filepath.Join(root, "a", "b"): true}}
	for _, d := range []string{"a/b", "c"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.licences(); err == nil || !strings.Contains(err.Error(), "no licence file") {
		t.Errorf("without a file: %v", err)
	}
	apache, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"LICENSE": isc, "a/COPYING.txt": string(apache), "c/LICENSE": gpl, "a/b/license.go": "package b",
		"LICENSE.docs": gpl,
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := m.licences()
	if err != nil || !slices.Equal(got, []string{"Apache-2.0", "ISC"}) {
		t.Errorf("%v, %v", got, err)
	}
	m.packages[filepath.Join(root, "c")] = true
	if _, err := m.licences(); err == nil || !strings.Contains(err.Error(), "GPL") {
		t.Errorf("with a package under GPL: %v", err)
	}
}
