package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
	"gopkg.in/ini.v1"

	"github.com/metaq/metaq/protocol"
)

// Load makes the configuration: the defaults, then the file ("" for none), then METAQ_ variables of the environment, then set, which is
// the command line: "serverPort" or "topic.NAME.numPartitions". An error lists everything that is wrong.
func Load(file string, env []string, set map[string]string) (*Config, error) {
	c := Default()
	var errs []error
	if file != "" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		c.file, c.raw = file, raw
		// With a file, topics are what it lists, and clients come from other machines, as with the original.
		c.HostName, c.AutoCreateTopics = "", false
		errs = append(errs, c.loadFile(raw))
	}
	errs = append(errs, c.loadEnv(env))
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if topic, ok := strings.CutPrefix(name, "topic."); ok {
			errs = append(errs, c.setTopic(topic, set[name]))
			continue
		}
		errs = append(errs, c.set(name, set[name], "flag"))
	}
	// What a topic does not say is the system's, whatever set that.
	errs = append(errs, c.loadTopics())
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

// decode gives the text of a file: UTF-8, with a byte order mark or not, else GBK, as files of the original are.
func decode(raw []byte) ([]byte, error) {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	if utf8.Valid(raw) {
		return raw, nil
	}
	text, err := simplifiedchinese.GBK.NewDecoder().Bytes(raw)
	if err != nil {
		return nil, fmt.Errorf("neither UTF-8 nor GBK: %w", err)
	}
	return text, nil
}

func (c *Config) loadFile(raw []byte) error {
	text, err := decode(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", c.file, err)
	}
	f, err := ini.LoadSources(ini.LoadOptions{IgnoreInlineComment: true, IgnoreContinuation: true, SkipUnrecognizableLines: false}, text)
	if err != nil {
		return fmt.Errorf("%s: %w", c.file, err)
	}
	var errs []error
	for _, s := range f.Sections() {
		switch {
		case s.Name() == ini.DefaultSection:
			for _, k := range s.Keys() {
				errs = append(errs, c.place(text, k.Name(), "stands before any section; write [system] above it"))
			}
		case s.Name() == "system" || s.Name() == "zookeeper":
			for _, k := range s.Keys() {
				if err := c.set(k.Name(), k.Value(), "file"); err != nil {
					errs = append(errs, c.place(text, k.Name(), err.Error()))
				}
			}
		case strings.HasPrefix(s.Name(), "topic="):
			c.sections = append(c.sections, section{name: strings.TrimSpace(strings.TrimPrefix(s.Name(), "topic=")), keys: s.Keys(), text: text})
		default:
			errs = append(errs, c.place(text, "["+s.Name(), fmt.Sprintf("unknown section [%s]; there are [system], [zookeeper] and [topic=NAME]", s.Name())))
		}
	}
	return errors.Join(errs...)
}

// section is a [topic=...] of the file, or what --set says about a topic.
type section struct {
	name string
	keys []*ini.Key
	text []byte
	set  [2]string // key and value, instead of keys
}

func (c *Config) setTopic(path, value string) error {
	i := strings.LastIndexByte(path, '.')
	if i <= 0 {
		return fmt.Errorf("topic.%s: write topic.NAME.KEY", path)
	}
	c.sections = append(c.sections, section{name: path[:i], set: [2]string{path[i+1:], value}})
	return nil
}

// loadTopics builds the list of topics from the sections.
func (c *Config) loadTopics() error {
	var errs []error
	for _, s := range c.sections {
		i := slices.IndexFunc(c.Topics, func(t TopicConfig) bool { return t.Name == s.name })
		if i < 0 {
			if _, err := protocol.ParseTopic(strings.ReplaceAll(s.name, "*", "x")); err != nil {
				errs = append(errs, c.place(s.text, "[topic="+s.name, err.Error()))
				continue
			}
			c.Topics = append(c.Topics, c.system(s.name))
			i = len(c.Topics) - 1
		}
		t := &c.Topics[i]
		if s.keys == nil && s.set[0] != "" {
			if err := t.set(s.set[0], s.set[1]); err != nil {
				errs = append(errs, fmt.Errorf("topic.%s.%s: %w", s.name, s.set[0], err))
			}
		}
		for _, k := range s.keys {
			if err := t.set(k.Name(), k.Value()); err != nil {
				errs = append(errs, c.place(s.text, k.Name(), fmt.Sprintf("[topic=%s] %v", s.name, err)))
			}
		}
	}
	return errors.Join(errs...)
}

func (t *TopicConfig) set(name, value string) error {
	if strings.HasPrefix(name, "group.") {
		return fmt.Errorf("%s: filters of the server are Java classes in the original and are not supported; filter in the consumer", name)
	}
	set := topicKeys[name]
	if set == nil {
		return fmt.Errorf("unknown key %s%s", name, suggest(name, slices.Collect(maps.Keys(topicKeys))))
	}
	if err := set(t, strings.TrimSpace(value)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// set gives a key its value.
func (c *Config) set(name, value, from string) error {
	for _, k := range keys {
		if k.name != name {
			continue
		}
		c.sources[name] = from
		if k.set == nil {
			return nil
		}
		if err := k.set(c, strings.TrimSpace(value)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	var names []string
	for _, k := range keys {
		names = append(names, k.name)
	}
	return fmt.Errorf("unknown key %s%s", name, suggest(name, names))
}

// place puts file and line in front of what is wrong.
func (c *Config) place(text []byte, word, what string) error {
	for i, line := range bytes.Split(text, []byte("\n")) {
		if bytes.HasPrefix(bytes.TrimSpace(line), []byte(word)) {
			return fmt.Errorf("%s:%d: %s", c.file, i+1, what)
		}
	}
	return fmt.Errorf("%s: %s", c.file, what)
}

func (c *Config) loadEnv(env []string) error {
	var errs []error
	for _, v := range env {
		name, value, ok := strings.Cut(v, "=")
		if !ok || !strings.HasPrefix(name, "METAQ_") || clientVariables[name] {
			continue
		}
		found := false
		for _, k := range keys {
			if envName(k.name) == name {
				found = true
				if err := c.set(k.name, value, name); err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", name, err))
				}
			}
		}
		if !found {
			errs = append(errs, fmt.Errorf("the environment has %s, which is no key", name))
		}
	}
	return errors.Join(errs...)
}

// clientVariables are for the tool, not for the broker.
var clientVariables = map[string]bool{"METAQ_BROKER": true}

// envName is the variable of a key: serverPort -> METAQ_SERVER_PORT, zk.zkRoot -> METAQ_ZK_ZK_ROOT.
func envName(key string) string {
	var b strings.Builder
	b.WriteString("METAQ_")
	lower := false
	for _, r := range key {
		if r == '.' {
			r, lower = '_', false
		}
		if unicode.IsUpper(r) && lower {
			b.WriteByte('_')
		}
		lower = unicode.IsLower(r)
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

// suggest names the key that was meant, if one is near.
func suggest(name string, names []string) string {
	best, least := "", max(len(name)/3, 2)+1
	slices.Sort(names)
	for _, n := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(n)); d < least {
			best, least = n, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is how many letters have to be changed, added or dropped.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j]+1, row[j+1]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
