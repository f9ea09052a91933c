package server

import "github.com/metaq/metaq/protocol"

// Version is the version of the program, set by the linker.
var Version = "dev"

var versionHelp = help{"version [OPAQUE]", `answers the broker's version. Clients use it as their heartbeat.`}

func (c *conn) version(r *protocol.Request) { c.answer(protocol.StatusOK, r.Opaque, Version) }
