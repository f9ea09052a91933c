package protocol

import "fmt"

// maxName bounds topic and group names, in bytes.
const maxName = 255

// Topic is a valid topic name. Get one from ParseTopic.
type Topic string

// Group is a valid name of a consumer group. Get one from ParseGroup.
type Group string

// ParseTopic checks a topic name: letters, digits and _ - . only, 1 to 255 bytes, not starting with . or -.
func ParseTopic(s string) (Topic, error) {
	if err := checkName("topic", s); err != nil {
		return "", err
	}
	return Topic(s), nil
}

// ParseGroup checks the name of a group by the rule for topics.
func ParseGroup(s string) (Group, error) {
	if err := checkName("group", s); err != nil {
		return "", err
	}
	return Group(s), nil
}

func checkName(what, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("the %s name is empty", what)
	case len(s) > maxName:
		return fmt.Errorf("the %s name has %d bytes, at most %d are allowed", what, len(s), maxName)
	case !validName(s):
		return fmt.Errorf("%s name %q: only letters, digits and _ - . are allowed, and no . or - at the beginning", what, s)
	}
	return nil
}

// ValidTopic is the check of ParseTopic without an error text. It does not allocate.
func ValidTopic(b []byte) bool { return len(b) > 0 && len(b) <= maxName && validName(b) }

func validName[T ~string | ~[]byte](s T) bool {
	if s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.') {
			return false
		}
	}
	return true
}
