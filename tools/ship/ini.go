//go:build linux

package ship

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"gopkg.in/ini.v1"
)

// topicSection is what the name of a section begins with that has the files of a topic.
const topicSection = "topic"

// Default is a Config with nothing to ship.
func Default() Config {
	return Config{HTTP: DefaultHTTP, Memory: DefaultMemory, Timeout: DefaultTimeout, Drain: DefaultDrain}
}

// DefaultInput is an Input without a topic and without files.
func DefaultInput() Input {
	return Input{Order: OrderFile, EventWait: DefaultEventWait, RotateWait: DefaultRotateWait, MaxLine: DefaultMaxLine}
}

// Load reads a configuration: the sections system, meta, and one that begins with topic for each set of files. The keys of an original tail4j.ini are among
// those it knows; what has no meaning here any more is told to log.
func Load(path string, log *slog.Logger) (Config, error) {
	c := Default()
	// What stands there twice would otherwise be the last of both, without a word.
	file, err := ini.LoadSources(ini.LoadOptions{IgnoreInlineComment: true, IgnoreContinuation: true, AllowNonUniqueSections: true, AllowShadows: true}, path)
	if err != nil {
		if line, ok := err.(ini.ErrDelimiterNotFound); ok {
			err = fmt.Errorf("neither a section nor KEY=VALUE: %.40q", strings.TrimSpace(line.Line))
		}
		return c, fmt.Errorf("ship: the configuration %s: %w", path, err)
	}
	maxLine := DefaultMaxLine
	seen := map[string]bool{}
	for _, section := range file.Sections() {
		r := &reading{section: section, log: log}
		if seen[section.Name()] {
			return c, fmt.Errorf("ship: %s: there are two sections [%s]: give them different names, as [topic_1] and [topic_2]", path, section.Name())
		}
		seen[section.Name()] = true
		switch name := section.Name(); {
		case name == ini.DefaultSection:
			if keys := section.KeyStrings(); len(keys) > 0 {
				return c, fmt.Errorf("ship: %s: %s stands before any section: there are [system], [meta] and [topic...]", path, keys[0])
			}
		case name == "system":
			r.text("checkpoint_path", &c.Dir)
			r.text("http", &c.HTTP)
			r.bytes("memory", &c.Memory)
			r.bytes("rate", &c.Rate)
			r.duration("drain_timeout", &c.Drain)
			size := int64(maxLine)
			r.bytes("max_buf_size", &size)
			maxLine = int(min(size, mostMaxLine+1))
		case name == "meta":
			r.text("server_url", &c.Broker)
			r.obsolete("diamond_zk_data_id", "diamond_zk_group")
		case name == "local_test":
			continue // the original's own test
		case strings.HasPrefix(name, topicSection):
			in := DefaultInput()
			in.Name, in.MaxLine = name, 0
			r.input(&in, &c)
			c.Inputs = append(c.Inputs, in)
		default:
			return c, fmt.Errorf("ship: %s: the section [%s] is not known: there are [system], [meta] and [topic...]", path, name)
		}
		if err := r.end(); err != nil {
			return c, fmt.Errorf("ship: %s: [%s] %w", path, section.Name(), err)
		}
	}
	for i := range c.Inputs {
		if c.Inputs[i].MaxLine == 0 {
			c.Inputs[i].MaxLine = maxLine
		}
	}
	return c, nil
}

// reading reads the keys of a section. The first mistake is kept.
type reading struct {
	section *ini.Section
	log     *slog.Logger
	known   []string
	err     error
}

// value is the text of a key, if it has one.
func (r *reading) value(key string) (string, bool) {
	r.known = append(r.known, key)
	if !r.section.HasKey(key) {
		return "", false
	}
	k := r.section.Key(key)
	if len(k.ValueWithShadows()) > 1 && r.err == nil {
		r.err = fmt.Errorf("%s is given twice; several files stand in one path, with commas between", key)
	}
	v := strings.TrimSpace(k.Value())
	return v, v != ""
}

func (r *reading) fail(key, value, want string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s=%s: it must be %s", key, value, want)
	}
}

func (r *reading) text(key string, to *string) {
	if v, ok := r.value(key); ok {
		*to = v
	}
}

func (r *reading) bytes(key string, to *int64) {
	if v, ok := r.value(key); ok {
		n, err := humanize.ParseBytes(v)
		if err != nil || n > 1<<62 {
			r.fail(key, v, "a number of bytes, as 131072, 128KiB or 10MB")
		}
		*to = int64(n)
	}
}

func (r *reading) duration(key string, to *time.Duration) {
	if v, ok := r.value(key); ok {
		d, err := time.ParseDuration(v)
		if err != nil {
			r.fail(key, v, "a duration, as 500ms, 10s or 1m")
		}
		*to = d
	}
}

func (r *reading) boolean(key string) bool {
	v, ok := r.value(key)
	if !ok {
		return false
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		r.fail(key, v, "true or false")
	}
	return b
}

func (r *reading) pattern(key string, to **regexp.Regexp) {
	if v, ok := r.value(key); ok {
		p, err := regexp.Compile(v)
		if err != nil {
			r.fail(key, v, "a regular expression: "+err.Error())
		}
		*to = p
	}
}

// obsolete takes keys that have no meaning here.
func (r *reading) obsolete(keys ...string) {
	for _, k := range keys {
		if v, ok := r.value(k); ok {
			r.log.Warn("a key of the original has no meaning here", "section", r.section.Name(), "key", k, "value", v)
		}
	}
}

// end says what was wrong.
func (r *reading) end() error {
	for _, k := range r.section.KeyStrings() {
		if r.err == nil && !slices.Contains(r.known, k) {
			return fmt.Errorf("%s: the key is not known; there are %s", k, strings.Join(r.known, ", "))
		}
	}
	return r.err
}

// input reads a section of a topic.
func (r *reading) input(in *Input, c *Config) {
	r.text("topic", &in.Topic)
	r.text("checkpoint_name", &in.Name)
	var paths string
	r.text("path", &paths)
	r.text("tmp_log_fullpath", &paths) // the original's: the file that is being written
	for p := range strings.SplitSeq(paths, ",") {
		if p = strings.TrimSpace(p); p != "" {
			in.Paths = append(in.Paths, p)
		}
	}
	r.text("rotated", &in.Rotated)
	// The original's: a regular expression of whole paths, in which backslashes are doubled, and the directory of the files.
	r.text("log_base_path", &in.RotatedDir)
	if v, ok := r.value("log_name_regx"); ok {
		v = strings.ReplaceAll(v, `\\`, `\`)
		p, err := regexp.Compile(v)
		if err != nil {
			r.fail("log_name_regx", v, "a regular expression: "+err.Error())
		}
		in.RotatedName = p
		if in.RotatedDir == "" && len(in.Paths) > 0 {
			in.RotatedDir = filepath.Dir(in.Paths[0])
		}
	}
	if v, ok := r.value("start"); ok {
		in.FromEnd = v == "end"
		if v != "end" && v != "beginning" {
			r.fail("start", v, "beginning or end")
		}
	}
	if v, ok := r.value("ordered"); ok {
		order, known := map[string]Order{"true": OrderFile, "strict": OrderStrict, "false": OrderNone}[v]
		if !known {
			r.fail("ordered", v, "true, strict or false")
		}
		in.Order = order
	}
	r.text("encoding", &in.Encoding)
	r.pattern("event_start", &in.EventStart)
	r.pattern("event_continues", &in.EventContinues)
	r.duration("event_wait", &in.EventWait)
	r.duration("rotate_wait", &in.RotateWait)
	size := int64(in.MaxLine)
	r.bytes("max_line", &size)
	in.MaxLine = int(min(size, mostMaxLine+1))
	in.Gzip = r.boolean("gzip")
	r.text("attribute", &in.Attribute)
	if r.boolean("compress") {
		r.log.Warn("compress=true: lines are sent as they are, because consumers cannot tell compressed messages from others", "section", r.section.Name())
	}
	if v, ok := r.value("timeout"); ok { // the original's: milliseconds
		ms, err := strconv.Atoi(v)
		if err != nil || ms < 1 {
			r.fail("timeout", v, "a number of milliseconds of at least 1")
		}
		c.Timeout = max(c.Timeout, time.Duration(ms)*time.Millisecond)
	}
}
