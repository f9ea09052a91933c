package config

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
	"gopkg.in/ini.v1"
)

// loadFile takes the values of a file. The sections of topics are kept for loadTopics.
func (c *Config) loadFile(name string, raw []byte) error {
	c.file, c.raw = name, raw
	// With a file, topics are what it lists, and clients come from other machines, as with the original.
	c.HostName, c.AutoCreateTopics = "", false
	text, err := decode(raw)
	if err != nil {
		return fmt.Errorf("%s:1: %w", name, err)
	}
	where, mistakes := locate(name, text)
	// The original knows neither comments behind a value nor values that go on in the next line.
	f, err := ini.LoadSources(ini.LoadOptions{IgnoreInlineComment: true, IgnoreContinuation: true, SkipUnrecognizableLines: mistakes != nil}, text)
	if err != nil {
		if mistakes != nil {
			return mistakes
		}
		return fmt.Errorf("%s: %w", name, err)
	}
	errs := []error{mistakes}
	for _, s := range f.Sections() {
		for _, k := range s.KeyStrings() {
			if where.lines[place{s.Name(), k}] == 0 {
				s.DeleteKey(k) // one of the mistakes
			}
		}
		topic, ofTopic := strings.CutPrefix(s.Name(), topicSection)
		switch {
		case s.Name() == ini.DefaultSection:
			for _, k := range s.Keys() {
				errs = append(errs, where.errorf(s.Name(), k.Name(), "%s stands before any section; write [system] above it", k.Name()))
			}
		case s.Name() == systemSection || s.Name() == zookeeperSection:
			for _, k := range s.Keys() {
				from := fmt.Sprintf("%s:%d", filepath.Base(name), where.lines[place{s.Name(), k.Name()}])
				if err := c.set(s.Name(), k.Name(), k.Value(), from); err != nil {
					errs = append(errs, where.errorf(s.Name(), k.Name(), "[%s] %w", s.Name(), err))
				}
			}
		case ofTopic:
			c.sections = append(c.sections, fileSection(strings.TrimSpace(topic), s, where))
		default:
			errs = append(errs, where.errorf(s.Name(), "", "unknown section [%s]; there are [system], [zookeeper] and [topic=NAME]", s.Name()))
		}
	}
	return errors.Join(errs...)
}

// decode gives the text of a file: UTF-8, with a byte order mark or not, else GBK, as files of the original are.
func decode(raw []byte) ([]byte, error) {
	if bytes.HasPrefix(raw, []byte("\xff\xfe")) || bytes.HasPrefix(raw, []byte("\xfe\xff")) {
		return nil, errors.New("the file is UTF-16; save it as UTF-8 or GBK")
	}
	raw = bytes.TrimLeft(raw, "\ufeff") // all of them: the library would take off one more
	if utf8.Valid(raw) {
		return raw, nil
	}
	// What is no GBK either becomes U+FFFD: of no importance in a comment, and refused in a value.
	return simplifiedchinese.GBK.NewDecoder().Bytes(raw)
}

// place is a key in a section, or with an empty key the section itself.
type place struct{ section, key string }

// location knows the lines of a file, which the ini library does not tell.
type location struct {
	file  string
	lines map[place]int // the last one of several, since its value holds
}

func (l location) errorf(section, key, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", l.file, l.lines[place{section, key}], fmt.Errorf(format, args...))
}

// locate finds out where everything stands, and refuses what the library would complain about without a line, or would take for a value of
// several lines, which the original does not have.
func locate(file string, text []byte) (location, error) {
	l := location{file: file, lines: map[place]int{}}
	section := ini.DefaultSection
	var errs []error
	for i, raw := range bytes.Split(text, []byte("\n")) {
		line := string(bytes.TrimSpace(raw))
		complain := func(what string) { errs = append(errs, fmt.Errorf("%s:%d: %s: %.40q", file, i+1, what, line)) }
		if line == "" || line[0] == ';' || line[0] == '#' {
			continue
		}
		if line[0] == '[' {
			end := strings.LastIndexByte(line, ']')
			if end < 2 || line[1:end] == ini.DefaultSection {
				complain("no name of a section")
				continue
			}
			section = line[1:end]
			l.lines[place{section, ""}] = i + 1
			continue
		}
		delimiter := strings.IndexAny(line, "=:")
		if delimiter < 0 {
			complain("neither a section nor KEY=VALUE")
			continue
		}
		name, value := strings.TrimSpace(line[:delimiter]), strings.TrimSpace(line[delimiter+1:])
		switch {
		case name == "" || name == "-" || name[0] == '"' || name[0] == '`':
			complain("no name of a key")
		case strings.HasPrefix(value, "`") || strings.HasPrefix(value, `"""`):
			complain("quotes of this kind are not supported")
		default:
			l.lines[place{section, name}] = i + 1
		}
	}
	return l, errors.Join(errs...)
}
