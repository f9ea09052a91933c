//go:build linux

package main

import (
	"github.com/spf13/cobra"

	"github.com/metaq/metaq/server"
)

// platformCommands are the subcommands that are for Linux: those that need the broker's or the store's code, and ship, which knows files by what Linux tells.
func platformCommands(a *app) []*cobra.Command {
	return []*cobra.Command{newServeCommand(a), newShipCommand(a), newCheckCommand(a), newDumpCommand(a)}
}

// brokerVersion is the version that the linker set in package server, or nothing.
func brokerVersion() string {
	if server.Version == "dev" {
		return ""
	}
	return server.Version
}
