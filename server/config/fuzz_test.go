package config

import (
	"regexp"
	"strings"
	"testing"
)

var errorLine = regexp.MustCompile(`^server\.ini:[1-9]\d*: `)

// FuzzINI holds files to three rules: nothing panics, an error names a line, and what is loaded knows where it stood.
func FuzzINI(f *testing.F) {
	f.Add(allKeys)
	for _, text := range []string{
		"[topic=*]\n[system]\nx", "[system]\n-=1\n", "[DEFAULT]\n", "[system]\n\"x\"=1", "[system]\nx=`a\nb`", "[system]\nx=\"\"\"", "[system]]\n",
		"\xef\xbb\xbf\xef\xbb\xbf[system]", "\xb7\xfe\xce\xf1", "[topic=a]\n[topic=a]\nstat=x", "[system]\nbrokerId:1\\\n", "=", "\r", "[topic= a ]\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := Default()
		err := c.loadFile("server.ini", []byte(text))
		if err == nil {
			err = c.loadTopics()
		}
		if err == nil {
			for key, from := range c.sources {
				if !strings.HasPrefix(from, "server.ini:") || strings.HasSuffix(from, ":0") {
					t.Errorf("%q comes from %q", key, from)
				}
			}
			return
		}
		for _, line := range strings.Split(err.Error(), "\n") {
			if !errorLine.MatchString(line) {
				t.Errorf("no line in %q", line)
			}
		}
	})
}
