package server

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A transcript in testdata/transcripts is a conversation. Lines:
//
//	# words                   a comment
//	set key=value             the configuration; before the first line of a client
//	c1> get t g 0 0 4096      client c1 sends this and CR LF
//	c1: hello                 client c1 sends this, without an end of line
//	c1< 200 7 text            c1 gets `result 200 ... 7`; * in the text is anything, \n is CR LF
//	c1< value 7 a|b           c1 gets a value with these messages
//	c1< end                   the broker closes the connection
//
// Each one is run over an event loop and over a plain connection.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, way := range []string{"loop", "plain"} {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+way, func(t *testing.T) {
				t.Parallel()
				runTranscript(t, strings.Split(string(text), "\n"), way == "plain")
			})
		}
	}
}

func runTranscript(t *testing.T, lines []string, plain bool) {
	set := settings{}
	for _, line := range lines {
		if rest, ok := strings.CutPrefix(line, "set "); ok {
			key, value, _ := strings.Cut(rest, "=")
			set[key] = value
		}
	}
	s := startServer(t, set)
	addr := s.Addr()
	if plain {
		addr = listenPlain(t, s)
	}
	clients := map[string]*client{}
	for i, line := range lines {
		name, rest := line, ""
		if k := strings.IndexAny(line, ">:<"); k == 2 && line[0] == 'c' {
			name, rest = line[:2], line[2:]
		} else {
			continue
		}
		c := clients[name]
		if c == nil {
			c = dial(t, addr)
			clients[name] = c
		}
		words := strings.TrimPrefix(rest[1:], " ")
		switch rest[0] {
		case '>':
			c.send(words + "\r\n")
		case ':':
			c.send(words)
		case '<':
			if problem := c.expect(words); problem != "" {
				t.Fatalf("line %d, %s: %s", i+1, line, problem)
			}
		}
	}
}

func (c *client) expect(words string) string {
	r, ok := c.next()
	switch {
	case words == "end" && !ok:
		return ""
	case !ok:
		return "the connection was closed"
	}
	fields := strings.SplitN(words, " ", 3)
	text := ""
	if len(fields) == 3 {
		text = fields[2]
	}
	if fields[0] == "value" {
		if got := strings.Join(payloads(c.t, r.body), "|"); !r.value || strconv.Itoa(int(r.opaque)) != fields[1] || got != text {
			return "got " + got + " in " + describe(r)
		}
		return ""
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.ReplaceAll(text, `\n`, "\r\n")), `\*`, `(?s:.*)`)
	if r.value || strconv.Itoa(int(r.status)) != fields[0] || strconv.Itoa(int(r.opaque)) != fields[1] || !regexp.MustCompile("^"+pattern+"$").MatchString(r.body) {
		return "got " + describe(r)
	}
	return ""
}

func describe(r reply) string {
	kind := "result " + strconv.Itoa(int(r.status))
	if r.value {
		kind = "value"
	}
	return kind + " " + strconv.Itoa(int(r.opaque)) + " " + strconv.Quote(r.body)
}
