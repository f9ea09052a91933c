package spout

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/metaq/metaq/client"
)

// Schemes are the ways in which a message becomes a value of a tuple.
var Schemes = []string{"string", "json", "raw"}

// maxDepth is how deep a message in JSON may be nested. Storm's parser ends its worker, again and again, at a message of 400 levels.
const maxDepth = 256

// maxDigits is how long a number in JSON may be. Storm's parser takes minutes for a million digits, and is taken for dead meanwhile.
const maxDigits = 4096

// Fields are the values that a tuple may have.
var Fields = []string{"message", "topic", "partition", "offset", "id", "attribute"}

// Tuples makes tuples of messages.
type Tuples struct {
	Scheme string   // one of Schemes
	Fields []string // of Fields, and .NAME for what an object in JSON has under that name
}

// Check says what is wrong.
func (t Tuples) Check() error {
	if !slices.Contains(Schemes, t.Scheme) {
		return fmt.Errorf("there is no scheme %q: use %s", t.Scheme, strings.Join(Schemes, ", "))
	}
	if len(t.Fields) == 0 {
		return errors.New("a tuple needs a field")
	}
	for _, f := range t.Fields {
		switch {
		case len(f) > 1 && f[0] == '.' && t.Scheme != "json":
			return fmt.Errorf("the field %q is taken from a message in JSON: use the scheme json", f)
		case len(f) > 1 && f[0] == '.' || slices.Contains(Fields, f):
		default:
			return fmt.Errorf("there is no field %q: use %s, or .NAME with the scheme json", f, strings.Join(Fields, ", "))
		}
	}
	return nil
}

// of makes the tuple of a message. The error says why the message does not parse.
func (t Tuples) of(m client.Received) ([]any, error) {
	var body any
	var object map[string]json.RawMessage
	switch t.Scheme {
	case "raw":
		body = base64.StdEncoding.EncodeToString(m.Body)
	case "string":
		if !utf8.Valid(m.Body) {
			return nil, errors.New("it is no text in UTF-8")
		}
		body = string(m.Body)
	default:
		if err := checkJSON(m.Body); err != nil {
			return nil, err
		}
		body = json.RawMessage(m.Body)
		if slices.ContainsFunc(t.Fields, func(f string) bool { return f[0] == '.' }) {
			if first := bytes.TrimLeft(m.Body, " \t\r\n"); first[0] != '{' {
				return nil, errors.New("it is no object in JSON")
			}
			if err := json.Unmarshal(m.Body, &object); err != nil {
				return nil, err
			}
		}
	}
	tuple := make([]any, len(t.Fields))
	for i, f := range t.Fields {
		switch f {
		case "message":
			tuple[i] = body
		case "topic":
			tuple[i] = m.Topic
		case "partition":
			tuple[i] = partition(m)
		case "offset":
			tuple[i] = m.Offset
		case "id":
			tuple[i] = m.ID
		case "attribute":
			tuple[i] = m.Attribute
		default:
			if value, ok := object[f[1:]]; ok {
				tuple[i] = value
			}
		}
	}
	return tuple, nil
}

// checkJSON says whether Storm will be able to read a message in JSON.
func checkJSON(text []byte) error {
	switch {
	case !utf8.Valid(text):
		return errors.New("it is no text in UTF-8")
	case !json.Valid(text):
		return errors.New("it is no JSON")
	}
	depth, digits, inString := 0, 0, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		if inString || c < '0' || c > '9' {
			digits = 0
		} else if digits++; digits > maxDigits {
			return fmt.Errorf("it is JSON with a number of more than %d digits, which Storm does not read in time", maxDigits)
		}
		switch {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("it is JSON of more than %d levels, which Storm does not read", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// partition names the partition of a message, as the tools do in a cluster.
func partition(m client.Received) string {
	return strconv.Itoa(m.Broker) + "-" + strconv.Itoa(int(m.Partition))
}
