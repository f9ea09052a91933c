//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/metaq/metaq/server"
	"github.com/metaq/metaq/server/config"
)

// The configuration keys behind the flags of serve that have a name of their own.
const (
	keyDataPath = "dataPath"
	keyPort     = "serverPort"
	keyHTTPPort = "dashboardHttpPort"
)

type serveOptions struct {
	file         string
	data         string
	port         int
	httpPort     int
	set          []string
	checkConfig  bool
	readyFile    string
	drainTimeout time.Duration
	logLevel     string
}

func newServeCommand(a *app) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a broker in the foreground",
		Long: `serve runs a broker until it is told to stop.

A setting comes from the first of: a flag, the environment (METAQ_ and the key), the configuration file, the default.

Signals:
  SIGTERM, SIGINT  stop: no new connections, answer what is under way, flush, exit 0;
                   a second one exits at once with 1
  SIGHUP           read the configuration again; what needs a restart is logged
  SIGUSR1          write the stacks of all goroutines to the log

The log goes to standard error, a JSON object a line, or plain text when that is a terminal.
A broker that ends by itself exits with 1.`,
		Example: `  metaq serve
  metaq serve -c /etc/metaq/server.ini
  metaq serve --data /var/lib/metaq --port 8123 --http-port 8120
  metaq serve --set unflushThreshold=1000 --set numPartitions=4
  metaq serve -c server.ini --check-config        # every value and where it came from
  metaq serve --port 0 --http-port 0 --ready-file /tmp/metaq.ready   # any free ports`,
		Args: wantArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(a, &o, func(name string) bool { return cmd.Flags().Changed(name) })
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.file, "config", "c", "", "configuration `FILE`; without one the defaults hold")
	flags.StringVar(&o.data, "data", "", "`DIR` that holds the messages (key "+keyDataPath+")")
	flags.IntVar(&o.port, "port", 8123, "port `N` of the broker, 0 for any free one (key "+keyPort+")")
	flags.IntVar(&o.httpPort, "http-port", 8120, "port `N` of health and metrics, 0 for any free one, -1 for none (key "+keyHTTPPort+")")
	flags.StringArrayVar(&o.set, "set", nil, "set a configuration `KEY=VALUE`; may be given several times")
	flags.BoolVar(&o.checkConfig, "check-config", false, "print every setting and where it came from, then exit")
	flags.StringVar(&o.readyFile, "ready-file", "", "write the addresses to `FILE` when ready, remove it when stopping")
	flags.DurationVar(&o.drainTimeout, "drain-timeout", 30*time.Second, "longest `DURATION` of an orderly stop")
	flags.StringVar(&o.logLevel, "log-level", "info", "least `LEVEL` that is logged: debug, info, warn, error")
	_ = cmd.MarkFlagDirname("data")
	_ = cmd.RegisterFlagCompletionFunc("log-level",
		cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
	return asksNobody(cmd)
}

// settings are the configuration keys that the command line sets. A flag with a name of its own beats --set.
func (o *serveOptions) settings(changed func(flag string) bool) (map[string]string, error) {
	set := make(map[string]string)
	for _, pair := range o.set {
		key, value, ok := strings.Cut(pair, "=")
		if key = strings.TrimSpace(key); !ok || key == "" {
			return nil, usagef("--set %q is not KEY=VALUE", pair)
		}
		set[key] = value
	}
	if changed("data") {
		set[keyDataPath] = o.data
	}
	if changed("port") {
		set[keyPort] = strconv.Itoa(o.port)
	}
	if changed("http-port") {
		set[keyHTTPPort] = strconv.Itoa(o.httpPort)
	}
	return set, nil
}

func serve(a *app, o *serveOptions, changed func(flag string) bool) error {
	set, err := o.settings(changed)
	if err != nil {
		return err
	}
	load := func() (*config.Config, error) { return config.Load(o.file, os.Environ(), set) }
	cfg, err := load()
	if err != nil {
		if _, without := config.Load(o.file, os.Environ(), nil); without == nil {
			return usageError{err} // the command line alone is at fault
		}
		return err
	}
	if o.checkConfig {
		cfg.Explain(a.out)
		return nil
	}
	level, err := zerolog.ParseLevel(o.logLevel)
	if err != nil || level == zerolog.NoLevel {
		return usagef("--log-level %q: the levels are debug, info, warn, error", o.logLevel)
	}
	log := newLog(a, level)
	limitMemory(log)

	// From here on a signal is kept, so that one that comes while the log is recovered is not lost.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1)
	defer signal.Stop(signals)

	if server.Version == "dev" {
		server.Version = version
	}
	srv, err := server.New(cfg, log)
	if err != nil {
		return err
	}
	if err := srv.Start(); err != nil {
		return errors.Join(err, srv.Shutdown(context.Background()))
	}
	log.Info().Str("address", srv.Addr()).Str("http", srv.HTTPAddr()).Str("version", releaseVersion()).
		Int("pid", os.Getpid()).Msg("broker is ready")
	if isTerminal(a.err) && !a.quiet {
		fmt.Fprint(a.err, pasteLines(srv.Addr()))
	}
	if o.readyFile != "" {
		if err := writeReadyFile(o.readyFile, srv.Addr(), srv.HTTPAddr()); err != nil {
			return errors.Join(err, srv.Shutdown(context.Background()))
		}
		defer os.Remove(o.readyFile)
	}
	p := process{app: a, options: o, server: srv, log: log, load: load, signals: signals}
	return p.watch()
}

// process is a running broker as the operating system's signals see it.
type process struct {
	app     *app
	options *serveOptions
	server  *server.Server
	log     zerolog.Logger
	load    func() (*config.Config, error)
	signals <-chan os.Signal
}

// watch serves signals until the broker has stopped.
func (p *process) watch() error {
	for {
		select {
		case err := <-p.server.Done():
			if err == nil {
				err = errors.New("without a reason")
			}
			// Shutdown releases the store; the reason for the end is what counts.
			ctx, cancel := context.WithTimeout(context.Background(), p.options.drainTimeout)
			defer cancel()
			return fmt.Errorf("the broker ended by itself: %w", errors.Join(err, p.server.Shutdown(ctx)))
		case sig := <-p.signals:
			switch sig {
			case syscall.SIGHUP:
				p.reload()
			case syscall.SIGUSR1:
				p.dumpGoroutines()
			default:
				return p.drain(sig)
			}
		}
	}
}

// drain stops the broker in order; another signal to stop ends it at once.
func (p *process) drain(sig os.Signal) error {
	if p.options.readyFile != "" {
		// Whoever waits for the file must not find it while nobody is let in any more.
		os.Remove(p.options.readyFile)
	}
	p.log.Info().Stringer("signal", sig).Stringer("at_most", p.options.drainTimeout).Msg("stopping: answering what is under way")
	ctx, cancel := context.WithTimeout(context.Background(), p.options.drainTimeout)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- p.server.Shutdown(ctx) }()
	for {
		select {
		case err := <-stopped:
			if err != nil {
				return fmt.Errorf("stop: %w", err)
			}
			p.log.Info().Msg("stopped")
			return nil
		case sig := <-p.signals:
			switch sig {
			case syscall.SIGTERM, syscall.SIGINT:
				return fmt.Errorf("second %s: stopped without waiting", sig)
			case syscall.SIGUSR1:
				p.dumpGoroutines()
			case syscall.SIGHUP:
				p.log.Warn().Msg("configuration not reloaded: stopping")
			}
		}
	}
}

func (p *process) reload() {
	report, err := p.server.Reload(p.load)
	if err != nil {
		p.log.Error().Err(err).Msg("configuration not reloaded")
		return
	}
	p.log.Info().Str("report", report).Msg("configuration reloaded")
}

// writeReadyFile tells other programs that the broker answers, and where: two lines that a shell can read. The file
// appears whole or not at all.
func writeReadyFile(name, addr, httpAddr string) error {
	text := fmt.Sprintf("%s=%s\nHTTP_ADDRESS=%s\n", brokerEnv, reachable(addr), reachable(httpAddr))
	draft := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".new")
	if err := os.WriteFile(draft, []byte(text), 0o644); err != nil {
		return fmt.Errorf("ready file: %w", err)
	}
	if err := os.Rename(draft, name); err != nil {
		os.Remove(draft)
		return fmt.Errorf("ready file: %w", err)
	}
	return nil
}
