//go:build linux

package ship

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/metaq/metaq/protocol"
)

// Config is what an Agent does.
type Config struct {
	Broker  string        // host:port, or zk://... for a cluster
	Dir     string        // of the checkpoint
	HTTP    string        // where status and metrics are served, host:port; "" for nowhere
	Memory  int64         // bytes that may be read and not acknowledged
	Rate    int64         // bytes a second that are sent at most; 0: no limit
	Timeout time.Duration // how long a broker may leave everything without an answer
	Drain   time.Duration // how long a stop waits for acknowledgements
	Once    bool          // end when everything that is there has been acknowledged
	Inputs  []Input
}

// Input is a set of files whose lines go to one topic.
type Input struct {
	Name  string // in the checkpoint and in the status
	Topic string
	Paths []string // files, or patterns as filepath.Match knows them, with ** for any number of directories
	// Rotated is a pattern of the paths that rotation gives to files; "" for the usual names in the same directory, "none" for none. RotatedName, of an original
	// tail4j.ini, is a regular expression of them in the directory RotatedDir instead. Both are for one path without a pattern.
	Rotated     string
	RotatedDir  string
	RotatedName *regexp.Regexp

	FromEnd        bool // of the files that are there at the first start; others are read from their beginning
	Order          Order
	Encoding       string
	EventStart     *regexp.Regexp // what begins an event of several lines
	EventContinues *regexp.Regexp // or: what belongs to the line before
	EventWait      time.Duration  // after which an event counts as complete when nothing is written
	RotateWait     time.Duration  // after which nothing more is expected in a file that was renamed or removed
	MaxLine        int            // bytes of a message
	Gzip           bool           // rotated files that are compressed are read, as far as they were not before
	Attribute      string         // of each message; {host} and {path} stand for what they say

	charset charset
}

// Order is what is kept of the order of lines.
type Order string

// The orders.
const (
	// OrderFile keeps the lines of a file together with those of the files that rotation made of it, in one partition. A line that the broker refuses for a while
	// is stored behind those that were on their way.
	OrderFile Order = "file"
	// OrderStrict is OrderFile with one line of a file on its way at a time, which excludes that.
	OrderStrict Order = "strict"
	// OrderNone spreads lines over all partitions, around brokers that are away.
	OrderNone Order = "none"
)

// Defaults of a Config and of an Input.
const (
	DefaultMemory     = 64 << 20
	DefaultTimeout    = 10 * time.Second
	DefaultDrain      = 30 * time.Second
	DefaultHTTP       = "127.0.0.1:0"
	DefaultMaxLine    = 1_000_000 // a broker takes 1 MiB, with the attribute
	DefaultEventWait  = time.Second
	DefaultRotateWait = 5 * time.Second
)

const (
	leastMemory  = 8 << 20
	leastMaxLine = 64
	mostMaxLine  = 64 << 20
)

// Check says what is wrong, and completes the rest. Open does the same; it is here for who wants to know before.
func (c *Config) Check() error {
	switch {
	case c.Dir == "":
		return errors.New("ship: there is no directory for the checkpoint")
	case len(c.Inputs) == 0:
		return errors.New("ship: there is nothing to ship: no topic with files was given")
	case c.Memory < leastMemory:
		return fmt.Errorf("ship: %d bytes of memory: it needs at least %d", c.Memory, leastMemory)
	case c.Rate < 0:
		return fmt.Errorf("ship: a rate of %d bytes a second: it must be 0, which is no limit, or more", c.Rate)
	}
	for i := range c.Inputs {
		in := &c.Inputs[i]
		if err := in.check(); err != nil {
			return fmt.Errorf("ship: %s: %w", in.Name, err)
		}
		if int64(in.MaxLine)*4 > c.Memory {
			return fmt.Errorf("ship: %s: lines of %d bytes: a quarter of the memory, which is %d, is the limit", in.Name, in.MaxLine, c.Memory)
		}
		if slices.ContainsFunc(c.Inputs[:i], func(x Input) bool { return x.Name == in.Name }) {
			return fmt.Errorf("ship: %s: there are two inputs of this name", in.Name)
		}
	}
	return nil
}

func (in *Input) check() (err error) {
	if _, err := protocol.ParseTopic(in.Topic); err != nil {
		return err
	}
	if len(in.Paths) == 0 {
		return errors.New("no file is named")
	}
	in.Paths = slices.Clone(in.Paths)
	for i, p := range in.Paths {
		if _, err := filepath.Match(p, ""); err != nil {
			return fmt.Errorf("the pattern %q: %w", p, err)
		}
		// Whoever starts the agent from elsewhere means the same files.
		if in.Paths[i], err = filepath.Abs(p); err != nil {
			return err
		}
	}
	custom := in.RotatedName != nil || in.Rotated != "" && in.Rotated != "none"
	if custom && (len(in.Paths) > 1 || isPattern(in.Paths[0])) {
		return errors.New("names of rotated files can be given for one file only, not for several or for a pattern")
	}
	if _, err := filepath.Match(in.Rotated, ""); err != nil {
		return fmt.Errorf("the pattern %q of rotated files: %w", in.Rotated, err)
	}
	if custom && in.RotatedName == nil {
		if in.Rotated, err = filepath.Abs(in.Rotated); err != nil {
			return err
		}
	}
	switch {
	case !slices.Contains([]Order{OrderFile, OrderStrict, OrderNone}, in.Order):
		return fmt.Errorf("the order %q: there are %s, %s and %s", in.Order, OrderFile, OrderStrict, OrderNone)
	case in.MaxLine < leastMaxLine || in.MaxLine > mostMaxLine:
		return fmt.Errorf("lines of at most %d bytes: it must be from %d to %d", in.MaxLine, leastMaxLine, mostMaxLine)
	case in.EventStart != nil && in.EventContinues != nil:
		return errors.New("what begins an event and what continues one are both given: give one of them")
	case in.EventWait < 0 || in.RotateWait < 0:
		return errors.New("a time to wait is negative")
	}
	in.charset, err = charsetOf(in.Encoding)
	return err
}

// names says whether a path is one that the input names.
func (in *Input) names(path string) bool {
	return slices.ContainsFunc(in.Paths, func(p string) bool { return p == path || isPattern(p) && matches(p, path) })
}

// isPattern says whether a path stands for several files.
func isPattern(path string) bool {
	for i := 0; i < len(path); i++ {
		switch path[i] {
		case '*', '?', '[':
			return true
		}
	}
	return false
}

// event says whether messages may have several lines.
func (in *Input) event() bool { return in.EventStart != nil || in.EventContinues != nil }

// begins says whether a line begins an event.
func (in *Input) begins(line []byte) bool {
	if in.EventStart != nil {
		return in.EventStart.Match(line)
	}
	return !in.EventContinues.Match(line)
}
