//go:build linux

package main

import (
	"fmt"
	"net"
	"runtime"
	"time"

	"github.com/rs/zerolog"
)

// newLog is the broker's log: a JSON object a line, or lines for people on a terminal.
func newLog(a *app, level zerolog.Level) zerolog.Logger {
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
	if isTerminal(a.err) {
		console := zerolog.ConsoleWriter{Out: a.err, NoColor: a.noColor, TimeFormat: "15:04:05.000", TimeLocation: time.Local}
		return zerolog.New(console).Level(level).With().Timestamp().Logger()
	}
	return zerolog.New(a.err).Level(level).With().Timestamp().Logger()
}

// stackBytes bounds a goroutine dump; beyond it the dump is cut.
const stackBytes = 4 << 20

// dumpGoroutines writes the stacks as one event, so that the log stays a JSON object a line; on a terminal as they are.
func (p *process) dumpGoroutines() {
	buf := make([]byte, stackBytes)
	buf = buf[:runtime.Stack(buf, true)]
	if isTerminal(p.app.err) {
		p.log.Info().Int("goroutines", runtime.NumGoroutine()).Msg("goroutine dump")
		fmt.Fprintf(p.app.err, "%s\n", buf)
		return
	}
	p.log.Info().Int("goroutines", runtime.NumGoroutine()).Bytes("stacks", buf).Msg("goroutine dump")
}

// reachable is the address to connect to from this machine when the broker listens on addr.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if host == "" || net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// pasteLines are a first put and get by hand, printed for a person at a terminal.
func pasteLines(addr string) string {
	addr = reachable(addr)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	option := ""
	if addr != defaultBroker {
		option = " -b " + addr
	}
	return fmt.Sprintf(`
The broker answers on %[1]s port %[2]s. Try it in another terminal:

  nc %[1]s %[2]s
  put greetings 0 5 0
  hello
  get greetings me 0 0 4096
  stats
  help
  quit

or with this tool:

  metaq put greetings "hello world"%[3]s
  metaq get greetings -f%[3]s

Ctrl-C stops it.

`, host, port, option)
}
