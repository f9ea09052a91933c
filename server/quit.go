package server

var quitHelp = help{"quit", `closes the connection once everything before it is answered. It has no answer itself.`}

func (c *conn) quit(l *loop) {
	c.ending = true
}
