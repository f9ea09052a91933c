package protocol

// Verb is what a command asks for.
type Verb uint8

// The verbs. VerbNone is a blank line.
const (
	VerbNone Verb = iota
	VerbPut
	VerbGet
	VerbOffset
	VerbStats
	VerbVersion
	VerbQuit
	VerbSync
	VerbTransaction
	VerbCommit
	VerbCommitted
	VerbSeek
	VerbLag
	VerbTopics
	VerbRoute
	VerbHelp
	VerbClose
	VerbOpen
)

var verbNames = [...]string{"", "put", "get", "offset", "stats", "version", "quit", "sync", "transaction", "commit", "committed", "seek", "lag", "topics", "route", "help", "close", "open"}

func (v Verb) String() string {
	if int(v) < len(verbNames) {
		return verbNames[v]
	}
	return "unknown"
}

// ParseVerb finds a verb by its word, in any case; VerbNone if there is none.
func ParseVerb(word []byte) Verb {
	for v := VerbPut; int(v) < len(verbNames); v++ {
		if equalFold(word, verbNames[v]) {
			return v
		}
	}
	return VerbNone
}

func equalFold(word []byte, lower string) bool {
	if len(word) != len(lower) {
		return false
	}
	for i, c := range word {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
