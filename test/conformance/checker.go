package conformance

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A Checker plays vectors against a broker. It is for one goroutine.
type Checker struct {
	Addr    string
	Timeout time.Duration // for a response
	Silence time.Duration // how long nothing must come for a broker to count as silent
	Closing time.Duration // for the end of a connection
}

// NewChecker returns a checker with the patience that a loaded machine needs.
func NewChecker(addr string) *Checker {
	return &Checker{Addr: addr, Timeout: 8 * time.Second, Silence: 400 * time.Millisecond, Closing: 4 * time.Second}
}

// player is a vector being played.
type player struct {
	*Checker
	notation *notation
	level    string
	conns    map[string]*conn
}

// Play returns nil when the broker does what the vector describes, or what is wrong.
func (c *Checker) Play(v Vector) error {
	p := &player{Checker: c, notation: newNotation(), level: v.Match, conns: make(map[string]*conn)}
	defer func() {
		for _, conn := range p.conns {
			conn.close()
		}
	}()
	for i := range v.Steps {
		if err := p.play(&v.Steps[i]); err != nil {
			return fmt.Errorf("%s: step %d: %w", v.Name, i+1, err)
		}
	}
	if v.NoPing {
		return nil
	}
	if err := p.ping(); err != nil {
		return fmt.Errorf("%s: %w", v.Name, err)
	}
	return nil
}

func (p *player) play(s *Step) error {
	if s.WaitMs > 0 {
		<-time.After(time.Duration(s.WaitMs) * time.Millisecond)
	}
	name := s.conn()
	if s.Close {
		if c := p.conns[name]; c != nil {
			c.close()
			delete(p.conns, name)
		}
	}
	if s.Send == nil {
		return nil
	}
	data, err := p.notation.build(*s.Send)
	if err != nil {
		return err
	}
	c := p.conns[name]
	if c == nil {
		if c, err = dial(p.Addr, p.Timeout); err != nil {
			return err
		}
		p.conns[name] = c
	}
	c.send(data, s.Chunk, p.Timeout)

	got, err := p.outcomes(s, c)
	if err != nil && s.OrError && p.tolerated(c, got) {
		c.close()
		delete(p.conns, name)
		return nil
	}
	if err != nil {
		return fmt.Errorf("sent %s: %w\n%s", show([]byte(*s.Send)), err, compare(s, got))
	}
	if c.ended {
		c.close()
		delete(p.conns, name)
	}
	return nil
}

// outcomes tries the outcomes that are right, one after the other, on the responses that come.
func (p *player) outcomes(s *Step, c *conn) (got [][]byte, err error) {
	got, err = p.attempt(s, s.Outcome, c, nil)
	for _, other := range s.Alt {
		if err == nil {
			break
		}
		var otherErr error
		if got, otherErr = p.attempt(s, other, c, got); otherErr == nil {
			err = nil
		}
	}
	return got, err
}

// attempt compares the responses with one outcome. got are those that were read before; it returns all.
func (p *player) attempt(s *Step, o Outcome, c *conn, got [][]byte) ([][]byte, error) {
	open := slices.Clone(o.Expect)
	for i := range o.Expect {
		if i == len(got) {
			r := c.response(s.timeout(p.Timeout))
			if r == nil {
				return got, p.missing(c)
			}
			got = append(got, r)
		}
		places := []int{i}
		if s.Unordered {
			places = places[:0]
			for place := range o.Expect {
				places = append(places, place)
			}
		}
		hit := -1
		for _, place := range places {
			if open[place] == "" {
				continue
			}
			ok, err := p.notation.matches(open[place], got[i], p.level)
			if err != nil {
				return got, err
			}
			if ok {
				hit = place
				break
			}
		}
		if hit < 0 {
			return got, fmt.Errorf("response %d differs", i+1)
		}
		open[hit] = ""
	}
	if len(got) > len(o.Expect) {
		return got, errors.New("too many responses")
	}
	return p.end(o.Then, c, got)
}

func (p *player) missing(c *conn) error {
	text := "no response"
	if c.ended {
		text += ", connection closed"
	}
	if len(c.buf) > 0 {
		text += ", an unfinished one: " + show(c.buf)
	}
	return errors.New(text)
}

// end checks what has to follow the responses.
func (p *player) end(then string, c *conn, got [][]byte) ([][]byte, error) {
	switch then {
	case thenClosed:
		if r := c.response(p.Closing); r != nil {
			return append(got, r), errors.New("a response before the close")
		}
		if !c.ended {
			return got, errors.New("the connection was not closed")
		}
	case thenSilent:
		r := c.response(p.Silence)
		if r != nil {
			return append(got, r), errors.New("a response instead of silence")
		}
		if c.ended {
			return got, errors.New("the connection was closed instead of silence")
		}
	case "", "open":
	default:
		return got, fmt.Errorf("unknown end %q", then)
	}
	return got, nil
}

var explicitError = regexp.MustCompile(`^result [45]\d\d \d+ `)

// tolerated says whether the broker answered with an error, or closed without an answer, where that is allowed.
func (p *player) tolerated(c *conn, got [][]byte) bool {
	if len(got) == 0 {
		r := c.response(time.Second)
		if r == nil {
			return c.ended
		}
		got = [][]byte{r}
	}
	return !slices.ContainsFunc(got, func(r []byte) bool { return !explicitError.Match(r) })
}

var versionAnswer = regexp.MustCompile(`^result 200 \d+ 987654\r\n[^\r\n]*$`)

// ping checks that every connection that is still open is in step: its next response must be that of a new request.
func (p *player) ping() error {
	for name, c := range p.conns {
		c.send([]byte("version 987654\r\n"), 0, p.Timeout)
		if r := c.response(p.Timeout); !versionAnswer.Match(r) {
			return fmt.Errorf("connection %s is out of step at the end: %s", name, show(r))
		}
	}
	return nil
}

// shown is how much of a long response an error message prints.
const shown = 700

func show(data []byte) string {
	if len(data) > shown {
		return fmt.Sprintf("%q... (%d bytes)", data[:shown], len(data))
	}
	return fmt.Sprintf("%q", data)
}

// compare prints what was expected and what came, as lines of - and +.
func compare(s *Step, got [][]byte) string {
	var out strings.Builder
	for _, w := range s.Expect {
		fmt.Fprintf(&out, "  - %s\n", show([]byte(w)))
	}
	then := s.Then
	if then == "" {
		then = "open"
	}
	fmt.Fprintf(&out, "  - (then %s)\n", then)
	for _, r := range got {
		fmt.Fprintf(&out, "  + %s\n", show(r))
	}
	return strings.TrimSuffix(out.String(), "\n")
}
