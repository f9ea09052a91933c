package server

import (
	"fmt"
	"strings"

	"github.com/metaq/metaq/protocol"
)

// help is what `help VERB` says. The text has LF line ends here.
type help struct{ usage, text string }

var helpHelp = help{"help [VERB [OPAQUE]]", `lists the commands, or explains one.`}

// helpTexts has the commands in the order in which help lists them.
func helpTexts() []struct {
	verb protocol.Verb
	help help
} {
	return []struct {
		verb protocol.Verb
		help help
	}{
		{protocol.VerbPut, putHelp},
		{protocol.VerbGet, getHelp},
		{protocol.VerbOffset, offsetHelp},
		{protocol.VerbSeek, seekHelp},
		{protocol.VerbLag, lagHelp},
		{protocol.VerbCommit, commitHelp},
		{protocol.VerbCommitted, committedHelp},
		{protocol.VerbTopics, topicsHelp},
		{protocol.VerbRoute, routeHelp},
		{protocol.VerbStats, statsHelp},
		{protocol.VerbClose, closeHelp},
		{protocol.VerbOpen, openHelp},
		{protocol.VerbVersion, versionHelp},
		{protocol.VerbHelp, helpHelp},
		{protocol.VerbQuit, quitHelp},
	}
}

func (c *conn) help(r *protocol.Request) {
	if len(r.Item) == 0 {
		c.answer(protocol.StatusOK, r.Opaque, helpAll())
		return
	}
	verb := protocol.ParseVerb(r.Item)
	for _, e := range helpTexts() {
		if e.verb == verb {
			c.answer(protocol.StatusOK, r.Opaque, lines(e.help.usage+"\n"+e.help.text+"\n"))
			return
		}
	}
	c.answer(protocol.StatusNotFound, r.Opaque, fmt.Sprintf("there is no help for %.40q; type help for the list", r.Item))
}

func helpAll() string {
	var b strings.Builder
	b.WriteString("The commands. A line ends with CR LF or LF; [OPAQUE] is a number that the answer repeats. help VERB explains one.\n")
	for _, e := range helpTexts() {
		b.WriteString("  " + e.help.usage + "\n")
	}
	b.WriteString("An answer is \"result code length opaque\" and that many bytes, or \"value length opaque\" and messages.\n" +
		"Codes: 200 done, 301 go on at the offset in the text, 400 bad request, 403 forbidden, 404 nothing there yet, 500 failed, 503 not now, 504 timed out.\n")
	return lines(b.String())
}

// lines gives text the line ends of the protocol.
func lines(text string) string { return strings.ReplaceAll(text, "\n", protocol.CRLF) }
