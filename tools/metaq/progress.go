package main

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// steps shows a person how far a command is that asks many questions. step is called for each; done takes the bar away. Nobody who watches, no bar.
func (a *app) steps(total int, what string) (step, done func()) {
	if !isTerminal(a.err) || a.quiet {
		return func() {}, func() {}
	}
	bar := progressbar.NewOptions(total,
		progressbar.OptionSetWriter(a.err),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(),
		progressbar.OptionEnableColorCodes(!a.noColor),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)
	// An error of drawing is one of the terminal, and no reason to stop.
	return func() { _ = bar.Add(1) }, func() { _ = bar.Finish() }
}
