package conformance

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
)

var token = regexp.MustCompile(`\$\{([^}]*)\}`)

// notation turns the texts of vectors into bytes to send and into patterns for what comes back. It remembers numbers
// from one step to the next.
type notation struct {
	run     string
	numbers map[string]int64
}

func newNotation() *notation {
	letters := make([]byte, 6)
	for i := range letters {
		letters[i] = byte('a' + rand.IntN(26))
	}
	return &notation{run: string(letters), numbers: make(map[string]int64)}
}

// split calls text and tok for the parts of s, in their order.
func split(s string, text, tok func(string) error) error {
	pos := 0
	for _, m := range token.FindAllStringSubmatchIndex(s, -1) {
		if err := text(s[pos:m[0]]); err != nil {
			return err
		}
		if err := tok(s[m[2]:m[3]]); err != nil {
			return err
		}
		pos = m[1]
	}
	return text(s[pos:])
}

// fromText makes bytes from a text in which a character is a byte.
func fromText(s string) ([]byte, error) {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 0xff {
			return nil, fmt.Errorf("%q is no byte", r)
		}
		out = append(out, byte(r))
	}
	return out, nil
}

// toText is the way back. Patterns are matched against such texts, since a pattern's unit is a character.
func toText(b []byte) string {
	var out strings.Builder
	out.Grow(len(b))
	for _, c := range b {
		out.WriteRune(rune(c))
	}
	return out.String()
}

// constant returns the bytes of a token that stands for known ones; ok is false for any other token.
func (n *notation) constant(tok string) (data []byte, ok bool, err error) {
	kind, rest, _ := strings.Cut(tok, ":")
	switch {
	case tok == "run":
		return []byte(n.run), true, nil
	case kind == "hex":
		data, err = hex.DecodeString(rest)
		return data, true, err
	case kind == "rep":
		char, count, found := strings.Cut(rest, ":")
		times, err := strconv.Atoi(count)
		if !found || len(char) != 1 || err != nil || times < 0 {
			return nil, true, fmt.Errorf("cannot read ${%s}", tok)
		}
		return []byte(strings.Repeat(char, times)), true, nil
	case strings.HasPrefix(tok, "="):
		value, err := n.number(tok[1:])
		return strconv.AppendInt(nil, value, 10), true, err
	case kind == "be8" && rest != "":
		data, err := n.bigEndian(rest)
		return data, true, err
	}
	return nil, false, nil
}

// number is a remembered number, with something added if the name says so.
func (n *notation) number(ref string) (int64, error) {
	name, more, plus := strings.Cut(ref, "+")
	value, ok := n.numbers[name]
	if !ok {
		return 0, fmt.Errorf("nothing is remembered as %s", name)
	}
	if !plus {
		return value, nil
	}
	add, err := strconv.ParseInt(more, 10, 64)
	return value + add, err
}

// bigEndian reads NAME or NAME:FROM:TO.
func (n *notation) bigEndian(ref string) ([]byte, error) {
	parts := strings.Split(ref, ":")
	value, err := n.number(parts[0])
	if err != nil {
		return nil, err
	}
	data := binary.BigEndian.AppendUint64(nil, uint64(value))
	if len(parts) == 1 {
		return data, nil
	}
	if len(parts) == 3 {
		from, err1 := strconv.Atoi(parts[1])
		to, err2 := strconv.Atoi(parts[2])
		if err1 == nil && err2 == nil && 0 <= from && from <= to && to <= len(data) {
			return data[from:to], nil
		}
	}
	return nil, fmt.Errorf("cannot read ${be8:%s}", ref)
}

// build makes the bytes to send.
func (n *notation) build(text string) ([]byte, error) {
	var out []byte
	err := split(text, func(s string) error {
		data, err := fromText(s)
		out = append(out, data...)
		return err
	}, func(tok string) error {
		data, ok, err := n.constant(tok)
		if err == nil && !ok {
			err = fmt.Errorf("cannot send ${%s}", tok)
		}
		out = append(out, data...)
		return err
	})
	return out, err
}

// variables are the patterns of the tokens that stand for something unknown, by name; what is in their parentheses is
// remembered.
var variables = map[string]string{
	"len": `\d+`, "num": `\d+`, "be8": `.{8}`, "broker": `meta://[^ ':]+:\d+`, "dec": `\d+(?:\.\d+)?`,
	"word": `[^ \r\n]+`, "line": `[^\r\n]*`, "any": `.*`,
	"num:": `(\d+)`, "id:": `(-?\d{1,19})`,
}

// pattern makes a pattern of the whole response, and the names under which its groups are to be remembered.
func (n *notation) pattern(text string) (*regexp.Regexp, []string, error) {
	var (
		out   strings.Builder
		names []string
	)
	out.WriteString(`(?s)\A`)
	err := split(text, func(s string) error {
		out.WriteString(regexp.QuoteMeta(s))
		return nil
	}, func(tok string) error {
		data, ok, err := n.constant(tok)
		if err != nil {
			return err
		}
		if ok {
			out.WriteString(regexp.QuoteMeta(toText(data)))
			return nil
		}
		kind, rest, named := strings.Cut(tok, ":")
		if named && kind == "lines" {
			fmt.Fprintf(&out, `(?:(?:%s)\r\n)*`, rest)
			return nil
		}
		if named {
			kind += ":"
			names = append(names, rest)
		}
		re, known := variables[kind]
		if !known {
			return fmt.Errorf("unknown token ${%s}", tok)
		}
		out.WriteString(re)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	out.WriteString(`\z`)
	re, err := regexp.Compile(out.String())
	return re, names, err
}

// matches says whether a response is what a text describes, and remembers what it names.
func (n *notation) matches(text string, response []byte, level string) (bool, error) {
	if level == matchStatusOnly {
		return sameStatus(text, string(response)), nil
	}
	re, names, err := n.pattern(text)
	if err != nil {
		return false, err
	}
	groups := re.FindStringSubmatch(toText(response))
	if groups == nil {
		return false, nil
	}
	for i, name := range names {
		value, err := strconv.ParseInt(groups[i+1], 10, 64)
		if err != nil {
			return false, err
		}
		n.numbers[name] = value
	}
	return true, nil
}

// sameStatus compares the verb, the code and the opaque of two responses; a value has no code.
func sameStatus(text, response string) bool {
	want := headWords(token.ReplaceAllString(text, "0"))
	have := headWords(response)
	places := []int{0, 2}
	if want[0] == "result" {
		places = []int{0, 1, 3}
	}
	for _, i := range places {
		if i >= len(want) || i >= len(have) || want[i] != have[i] {
			return false
		}
	}
	return true
}

func headWords(response string) []string {
	head, _, _ := strings.Cut(response, "\r\n")
	return strings.Split(head, " ")
}
