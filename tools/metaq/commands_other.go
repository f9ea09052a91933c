//go:build !linux

package main

import "github.com/spf13/cobra"

// platformCommands is empty here: the broker and the offline tools are for Linux.
func platformCommands(*app) []*cobra.Command { return nil }

func brokerVersion() string { return "" }
