package main

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestDocs_NameEveryCommandAndFlag keeps docs/cli.md and the commands' own help together.
func TestDocs_NameEveryCommandAndFlag(t *testing.T) {
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if !cmd.IsAvailableCommand() && cmd.HasParent() {
			return
		}
		if !strings.Contains(page, cmd.CommandPath()) && !groupedInDocs(page, cmd) {
			t.Errorf("docs/cli.md does not have %q", cmd.CommandPath())
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && f.Name != "version" && !strings.Contains(page, "--"+f.Name) {
				t.Errorf("docs/cli.md does not have --%s of %q", f.Name, cmd.CommandPath())
			}
		})
		if !cmd.HasSubCommands() && cmd.Example == "" {
			t.Errorf("%q has no example in its help", cmd.CommandPath())
		}
		for _, child := range cmd.Commands() {
			walk(child)
		}
	}
	walk(newRoot(&app{in: strings.NewReader(""), out: io.Discard, err: io.Discard}))
}

// groupedInDocs tells whether a subcommand is described together with its siblings, as in "bench put|get|e2e".
func groupedInDocs(page string, cmd *cobra.Command) bool {
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "## "+cmd.Parent().CommandPath()+" ") && strings.Contains(line, cmd.Name()) {
			return true
		}
	}
	return false
}
