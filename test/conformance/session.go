package conformance

import "strings"

// Session returns what a vector sends, as one text on one connection, with RUN in the names of its topics. It is false for a vector that cannot
// be played like that: one that needs numbers from earlier answers, several connections, pauses, or state beyond topics of its own.
func (v Vector) Session(run string) ([]byte, bool) {
	n := &notation{run: run, numbers: map[string]int64{}}
	var all []byte
	for i := range v.Steps {
		s := &v.Steps[i]
		if s.conn() != "a" || s.Close || s.WaitMs > 0 || s.TimeoutMs > 0 || v.Needs != "" {
			return nil, false
		}
		if s.Send == nil {
			continue
		}
		data, err := n.build(*s.Send)
		if err != nil {
			return nil, false
		}
		for _, word := range []string{"stats", "cv-two", "cv-closed", "cv-no"} {
			if strings.Contains(string(data), word) {
				return nil, false
			}
		}
		all = append(all, data...)
	}
	return all, len(all) > 0
}
