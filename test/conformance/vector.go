package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// The names of a vector's group, match and end that the code has to know.
const (
	groupTransaction = "transaction"
	matchStatusOnly  = "status-only"
	thenClosed       = "closed"
	thenSilent       = "silent"
)

// A Vector is an exchange with a broker.
type Vector struct {
	Name   string `json:"name"`
	Group  string `json:"group"`
	Match  string `json:"match"`
	Note   string `json:"note"`
	Needs  string `json:"needs"` // a setting of the broker without which the vector cannot be played
	NoPing bool   `json:"no_ping"`
	Steps  []Step `json:"steps"`
	Reason string `json:"reason"` // of a difference: why we differ
}

// A Step sends something and says what must come back.
type Step struct {
	Send      *string   `json:"send"`
	Conn      string    `json:"conn"`
	Chunk     int       `json:"chunk"`
	WaitMs    int       `json:"wait_ms"`
	TimeoutMs int       `json:"timeout_ms"`
	Close     bool      `json:"close"`
	Unordered bool      `json:"unordered"`
	OrError   bool      `json:"or_error"`
	Alt       []Outcome `json:"alt"`
	Outcome
}

// An Outcome is one way in which a step may end.
type Outcome struct {
	Expect []string `json:"expect"`
	Then   string   `json:"then"`
}

func (s *Step) conn() string {
	if s.Conn == "" {
		return "a"
	}
	return s.Conn
}

func (s *Step) timeout(fallback time.Duration) time.Duration {
	if s.TimeoutMs == 0 {
		return fallback
	}
	return time.Duration(s.TimeoutMs) * time.Millisecond
}

// Load reads a file of vectors.
func Load(name string) ([]Vector, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Vectors []Vector `json:"vectors"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(doc.Vectors) == 0 {
		return nil, fmt.Errorf("%s: no vectors", name)
	}
	return doc.Vectors, nil
}
