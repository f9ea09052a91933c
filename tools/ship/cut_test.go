//go:build linux

package ship

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// cutAll cuts a text that comes in pieces, as a file does that grows.
func cutAll(t *testing.T, in *Input, text string, sizes func() int) (lines []string, cut int) {
	t.Helper()
	c := cutter{charset: in.charset, input: in, max: in.MaxLine}
	known, next, after := 0, 0, whole
	for {
		known = min(known+sizes(), len(text))
		final := known == len(text)
		p := c.cut([]byte(text[next:known]), after, limits{messages: 3, events: final, final: final})
		for _, b := range p.bodies {
			lines = append(lines, string(b))
		}
		next, after = next+p.used, p.after
		cut += p.cut
		if final && next == len(text) {
			return lines, cut
		}
	}
}

func TestCut(t *testing.T) {
	start := regexp.MustCompile(`^>`)
	long := strings.Repeat("x", 100)
	mark := " [cut: the line is longer than 64 bytes]"
	cut := long[:64] + mark
	cases := []struct {
		name, text string
		event      bool
		want       []string
		cut        int
	}{
		{"nothing", "", false, nil, 0},
		{"lines", "a\nb\n\nc\n", false, []string{"a", "b", "", "c"}, 0},
		{"no newline at the end", "a\nb", false, []string{"a", "b"}, 0},
		{"only newlines", "\n\n", false, []string{"", ""}, 0},
		{"a line at the limit", long[:64] + "\nb\n", false, []string{long[:64], "b"}, 0},
		{"a long line", "a\n" + long + "\nb\n", false, []string{"a", cut, "b"}, 1},
		{"a long line at the end", "a\n" + long, false, []string{"a", cut}, 1},
		{"events", "> a\n b\n> c\n> d\n e\n", true, []string{"> a\n b", "> c", "> d\n e"}, 0},
		{"something before the first event", "x\ny\n> a\n", true, []string{"x\ny", "> a"}, 0},
		{"an event without a newline at the end", "> a\n b", true, []string{"> a\n b"}, 0},
		{"a long line in an event", "> a\n" + long + "\n b\n> c\n", true, []string{"> a\n" + long[:60] + mark, "> c"}, 1},
		{"a long event", "> a\n" + strings.Repeat("b\n", 50) + "> c\n", true, []string{"> a\n" + strings.Repeat("b\n", 30) + mark, "> c"}, 1},
	}
	for _, c := range cases {
		in := DefaultInput()
		in.Topic, in.Paths, in.MaxLine = "t", []string{"/a"}, 64
		if c.event {
			in.EventStart = start
		}
		if err := in.check(); err != nil {
			t.Fatal(err)
		}
		// However it comes, it is the same.
		random := rand.New(rand.NewPCG(1, 2))
		for _, sizes := range []func() int{func() int { return 1 << 20 }, func() int { return 1 }, func() int { return random.IntN(90) }} {
			got, cut := cutAll(t, &in, c.text, sizes)
			if !slices.Equal(got, c.want) || cut != c.cut {
				t.Errorf("%s: %q with %d cut, want %q with %d", c.name, got, cut, c.want, c.cut)
			}
		}
	}
}

func TestBudget_LeavesSomethingForTheOthers(t *testing.T) {
	b := &budget{total: 100, waiting: map[*follower]bool{}}
	held := int64(0)
	for b.take(10, held) {
		held += 10
	}
	if held != 50 {
		t.Errorf("one has %d of 100", held)
	}
	if !b.take(10, 0) {
		t.Error("nothing is left for another one")
	}
	b.give(60)
	if !b.take(1000, 0) || b.take(1, 0) {
		t.Error("what is larger than everything is granted alone")
	}
}

// A line is cut between two characters, in whatever encoding.
func TestCut_BetweenCharacters(t *testing.T) {
	for encoding, text := range map[string]string{
		"raw":      strings.Repeat("日", 100),
		"utf-8":    strings.Repeat("日", 100),
		"gbk":      "x" + strings.Repeat("\xc8\xd5", 100),
		"gb18030":  "x" + strings.Repeat("\x94\x39\xda\x33", 50),
		"utf-16le": "x\x00" + strings.Repeat("\x3d\xd8\x00\xde", 50),
		"utf-16be": "\x00x" + strings.Repeat("\xd8\x3d\xde\x00", 50),
	} {
		for most := 64; most < 72; most++ {
			in := DefaultInput()
			in.Topic, in.Paths, in.MaxLine, in.Encoding = "t", []string{"/a"}, most, encoding
			if err := in.check(); err != nil {
				t.Fatal(err)
			}
			c := cutter{charset: in.charset, input: &in, max: most}
			p := c.cut([]byte(text), whole, limits{messages: 1})
			body, marker, _ := strings.Cut(string(p.bodies[0]), " ")
			if !utf8.ValidString(body) || strings.Contains(body, replacement) || len(body) > most || marker == "" {
				t.Errorf("%s, at %d: %q", encoding, most, p.bodies[0])
			}
			if taken := len(text) - int(p.dropped); taken > most || taken <= most-4 {
				t.Errorf("%s, at %d: %d bytes are taken", encoding, most, taken)
			}
		}
	}
	// What is no text is cut at the limit.
	in := DefaultInput()
	c := cutter{charset: newCharset(t, "raw"), input: &in, max: 64}
	if p := c.cut([]byte(strings.Repeat("\x80", 100)), whole, limits{messages: 1}); p.dropped != 36 {
		t.Errorf("%d of 100 bytes are dropped at a limit of 64", p.dropped)
	}
}

func newCharset(t *testing.T, name string) charset {
	t.Helper()
	c, err := charsetOf(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCut_LinesOfAnEventThatEndAsWindowsDoes(t *testing.T) {
	for encoding, want := range map[string]string{"utf-8": "> a\n b", "raw": "> a\r\n b\r"} {
		in := DefaultInput()
		in.EventStart = regexp.MustCompile(`^>`)
		c := cutter{charset: newCharset(t, encoding), input: &in, max: in.MaxLine}
		p := c.cut([]byte("> a\r\n b\r\n> c\r\n"), whole, limits{messages: 1})
		if len(p.bodies) != 1 || string(p.bodies[0]) != want {
			t.Errorf("%s: %q, want %q", encoding, p.bodies, want)
		}
	}
}
