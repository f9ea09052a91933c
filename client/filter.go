package client

import (
	"fmt"
	"path"
	"strings"
)

// A Filter says whether a message is for the program. Run may call it from several goroutines.
type Filter func(Received) bool

// WithFilter leaves out the messages that a filter does not want: they are read, count as done, and are handed to nobody. Given several times, all filters
// have to want a message.
func WithFilter(f Filter) ConsumerOption {
	return func(o *consumerOptions) { o.filters = append(o.filters, f) }
}

// AttributeIs wants messages with one of some attributes.
func AttributeIs(attributes ...string) Filter {
	wanted := map[string]bool{}
	for _, a := range attributes {
		wanted[a] = true
	}
	return func(m Received) bool { return wanted[m.Attribute] }
}

// AttributePrefix wants messages whose attribute begins so.
func AttributePrefix(prefix string) Filter {
	return func(m Received) bool { return strings.HasPrefix(m.Attribute, prefix) }
}

// AttributeGlob wants messages whose attribute matches a pattern as a whole: * stands for any text without /, ? for one character that is no /, [a-z] for one
// of a range, as in path.Match.
func AttributeGlob(pattern string) (Filter, error) {
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, fmt.Errorf("metaq: filter %q: %w", pattern, err)
	}
	return func(m Received) bool {
		ok, _ := path.Match(pattern, m.Attribute) // the pattern was checked
		return ok
	}, nil
}
