// Command metaq is the one binary of the project: the broker (metaq serve) and the tools that talk to it.
//
// A subcommand is a file. The subcommands that need the broker's or the store's code are registered in
// commands_linux.go, so that everything else also compiles for macOS and Windows.
package main

import (
	"context"
	"os"
	"os/signal"
)

// version is the release, set by the linker: -ldflags "-X main.version=1.2.3".
var version = "dev"

func main() {
	os.Exit(run(os.Args[1:]))
}

// run is main without the exit: it returns the exit code.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	// Once the first interrupt has been taken, a second one kills as usual: nobody has to wait for a stuck clean-up.
	defer context.AfterFunc(ctx, stop)()

	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	return a.execute(ctx, args)
}
