//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/metaq/metaq/tools/ship"
)

type shipOptions struct {
	config       string
	topic        string
	checkpoint   string
	from         string
	order        string
	encoding     string
	event        string
	continues    string
	eventWait    time.Duration
	rotateWait   time.Duration
	maxLine      string
	gzip         bool
	rotated      string
	attribute    string
	rate         string
	memory       string
	once         bool
	http         string
	drainTimeout time.Duration
	logLevel     string
}

func newShipCommand(a *app) *cobra.Command {
	var o shipOptions
	cmd := &cobra.Command{
		Use:   "ship FILE|PATTERN...",
		Short: "Follow log files and store their lines",
		Long: `ship follows files, those of patterns that appear later included, and stores each line as a message, at least once. It goes on where it
was after a stop, a crash or a broker that was away: how far files were read is kept in a checkpoint, after the broker has acknowledged the lines.

Files may be renamed, truncated after they were copied, and removed meanwhile. The lines of a file and of those that rotation made of it go to
one partition, in their order; --order none spreads them.

-c reads a configuration with several topics, also an original tail4j.ini. docs/shipping.md explains its keys.

SIGTERM and SIGINT stop: what is on its way is waited for, at most --drain-timeout long. SIGHUP does this as well, and with -c it then starts
again with what the configuration says now, if that has no mistake.`,
		Example: `  metaq ship --topic web /var/log/nginx/access.log
  metaq ship --topic app '/var/log/app/*.log' --event-start '^\d{4}-\d\d-\d\d'   # stack traces stay together
  metaq ship --topic old --encoding gbk --once /data/import.log                  # all there is, then end
  metaq ship -c /etc/metaq/ship.ini --zk 127.0.0.1:2181
  metaq ship status -c /etc/metaq/ship.ini`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			config, log, err := o.load(a, cmd, args)
			if err != nil {
				return err
			}
			run := shipRun{app: a, config: config, log: log}
			if o.config != "" {
				run.reread = func() (ship.Config, error) {
					config, _, err := o.load(a, cmd, args)
					return config, err
				}
			}
			return run.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.topic, "topic", "", "store the lines in this `TOPIC`")
	flags.StringVar(&o.from, "from", "beginning", "`PLACE` where files are begun that are there at the first start: beginning or end")
	flags.StringVar(&o.order, "order", string(ship.OrderFile), "what `ORDER` of lines is kept: file, strict (also when a line is refused for a while; slow), none")
	flags.StringVar(&o.encoding, "encoding", "raw", "`ENCODING` of the files, as gbk or utf-16, which becomes UTF-8; raw = bytes as they are")
	flags.StringVar(&o.event, "event-start", "", "a message is a line that matches this `REGEXP` and those that follow up to the next")
	flags.StringVar(&o.continues, "event-continues", "", "a line that matches this `REGEXP` belongs to the message of the one before")
	flags.DurationVar(&o.eventWait, "event-wait", ship.DefaultEventWait, "take a message of several lines for complete when nothing is written for this `DURATION`")
	flags.DurationVar(&o.rotateWait, "rotate-wait", ship.DefaultRotateWait, "expect nothing more in a renamed or removed file after this `DURATION`")
	flags.StringVar(&o.maxLine, "max-line", humanBytes(ship.DefaultMaxLine), "cut lines that are longer than `SIZE`")
	flags.BoolVar(&o.gzip, "gzip", false, "read rotated .gz files as far as they were not read before")
	flags.StringVar(&o.rotated, "rotated", "", "`PATTERN` of rotated files, for one FILE; none = there are none; by default the usual names")
	flags.StringVar(&o.attribute, "attribute", "", "give each message this attribute `TEXT`; {host} and {path} stand for what they say")
	flags.StringVar(&o.rate, "rate", "0", "send at most this `SIZE` a second; 0 = no limit")
	flags.StringVar(&o.memory, "memory", humanBytes(ship.DefaultMemory), "`SIZE` of what may be read and not acknowledged")
	flags.BoolVar(&o.once, "once", false, "end when everything that is there is acknowledged")
	flags.StringVar(&o.http, "http", ship.DefaultHTTP, "serve status and metrics at `HOST:PORT`, port 0 for any free one; '' = nowhere")
	flags.DurationVar(&o.drainTimeout, "drain-timeout", ship.DefaultDrain, "longest `DURATION` of an orderly stop")
	flags.StringVar(&o.logLevel, "log-level", "info", "least `LEVEL` that is logged: debug, info, warn, error")
	o.addPlace(cmd)
	_ = cmd.RegisterFlagCompletionFunc("order", cobra.FixedCompletions([]string{"file", "strict", "none"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("from", cobra.FixedCompletions([]string{"beginning", "end"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(newShipStatusCommand(a))
	return worksOnCluster(cmd)
}

// ofInput are the flags that say something of the files of the command line.
var ofInput = []string{"from", "order", "encoding", "event-start", "event-continues", "event-wait", "rotate-wait", "max-line", "gzip", "rotated", "attribute"}

// addPlace adds the flags that say where the checkpoint is.
func (o *shipOptions) addPlace(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.config, "config", "c", "", "configuration `FILE`")
	cmd.Flags().StringVar(&o.checkpoint, "checkpoint", "", "`DIR` of the checkpoint; by default /var/lib/metaq-ship, or below the home directory for who is not root")
	_ = cmd.MarkFlagDirname("checkpoint")
}

func humanBytes(n uint64) string {
	if n%(1<<20) == 0 {
		return humanize.IBytes(n)
	}
	return humanize.Bytes(n)
}

// defaultCheckpoint is where the checkpoint is kept when nobody says where.
func defaultCheckpoint() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/metaq-ship", nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "metaq-ship"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%w: name a directory with --checkpoint", err)
	}
	return filepath.Join(home, ".local", "state", "metaq-ship"), nil
}

// load puts the configuration together: what a flag says beats the file.
func (o *shipOptions) load(a *app, cmd *cobra.Command, args []string) (ship.Config, *slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return ship.Config{}, nil, usagef("--log-level %q: the levels are debug, info, warn, error", o.logLevel)
	}
	log := slog.New(slog.NewJSONHandler(a.err, &slog.HandlerOptions{Level: level}))
	if isTerminal(a.err) {
		log = slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
	}
	config := ship.Default()
	var err error
	switch {
	case o.config != "" && (len(args) > 0 || o.topic != ""):
		return config, nil, usagef("files come from the command line or from --config, not both")
	case o.config == "" && len(args) == 0:
		return config, nil, usagef("no FILE was given, and no --config")
	case o.config == "" && o.topic == "":
		return config, nil, usagef("--topic is missing")
	case o.config != "":
		for _, name := range ofInput {
			if cmd.Flags().Changed(name) {
				return config, nil, usagef("--%s is for files of the command line: in a configuration, each section has a key for it", name)
			}
		}
		if config, err = ship.Load(o.config, log); err != nil {
			return config, nil, err
		}
	default:
		in, err := o.input(args)
		if err != nil {
			return config, nil, err
		}
		config.Inputs = []ship.Input{in}
	}
	if err := o.place(&config); err != nil {
		return config, nil, err
	}
	for _, size := range []struct {
		flag, text string
		to         *int64
	}{{"rate", o.rate, &config.Rate}, {"memory", o.memory, &config.Memory}} {
		if cmd.Flags().Changed(size.flag) {
			if *size.to, err = parseBytes(size.flag, size.text); err != nil {
				return config, nil, err
			}
		}
	}
	if cmd.Flags().Changed("http") {
		config.HTTP = o.http
	}
	if cmd.Flags().Changed("drain-timeout") {
		config.Drain = o.drainTimeout
	}
	if err := config.Check(); err != nil {
		if o.config == "" {
			return config, nil, usageError{err}
		}
		return config, nil, err
	}
	config.Once = o.once
	switch {
	case a.cluster != nil:
		config.Broker = a.cluster.String()
	case config.Broker == "" || cmd.Flags().Changed("broker"):
		config.Broker = a.broker
	}
	return config, log, nil
}

// place says where the checkpoint is.
func (o *shipOptions) place(config *ship.Config) (err error) {
	if o.checkpoint != "" {
		config.Dir = o.checkpoint
	}
	if config.Dir == "" {
		config.Dir, err = defaultCheckpoint()
	}
	return err
}

func parseBytes(flag, text string) (int64, error) {
	n, err := humanize.ParseBytes(text)
	if err != nil || n > 1<<62 {
		return 0, usagef("--%s %q is no size, as 131072, 128KiB or 10MB", flag, text)
	}
	return int64(n), nil
}

// input is what the command line names.
func (o *shipOptions) input(paths []string) (in ship.Input, err error) {
	in = ship.DefaultInput()
	in.Name, in.Topic, in.Paths = o.topic, o.topic, paths
	in.Rotated, in.Order, in.Encoding, in.Gzip, in.Attribute = o.rotated, ship.Order(o.order), o.encoding, o.gzip, o.attribute
	in.EventWait, in.RotateWait = o.eventWait, o.rotateWait
	if o.from != "beginning" && o.from != "end" {
		return in, usagef("--from %q: it is beginning or end", o.from)
	}
	in.FromEnd = o.from == "end"
	size, err := parseBytes("max-line", o.maxLine)
	if err != nil {
		return in, err
	}
	in.MaxLine = int(size)
	for _, p := range []struct {
		flag, text string
		to         **regexp.Regexp
	}{{"event-start", o.event, &in.EventStart}, {"event-continues", o.continues, &in.EventContinues}} {
		if p.text != "" {
			if *p.to, err = regexp.Compile(p.text); err != nil {
				return in, usagef("--%s: %w", p.flag, err)
			}
		}
	}
	return in, nil
}

func newShipStatusCommand(a *app) *cobra.Command {
	var o shipOptions
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell how far files are shipped",
		Long: `status asks the agent that ships with a checkpoint how far it is with each file: what is acknowledged, what is left, and what has happened. When
none runs, it tells what the checkpoint says. -o json has everything.`,
		Example: `  metaq ship status
  metaq ship status -c /etc/metaq/ship.ini
  metaq ship status --checkpoint /var/lib/metaq-ship -o json | jq '.inputs[].files[] | select(.lag > 0)'`,
		Args: wantArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output, "text", "json"); err != nil {
				return err
			}
			config := ship.Default()
			if o.config != "" {
				var err error
				if config, err = ship.Load(o.config, slog.New(slog.DiscardHandler)); err != nil {
					return err
				}
			}
			if err := o.place(&config); err != nil {
				return err
			}
			ctx, cancel := a.withTimeout(cmd.Context(), askTimeout)
			defer cancel()
			s, err := ship.ReadStatus(ctx, config.Dir)
			if errors.Is(err, fs.ErrNotExist) {
				return notFoundf("%s", err)
			}
			if err != nil {
				return err
			}
			return printShipStatus(a, s, output)
		},
	}
	o.addPlace(cmd)
	addOutputFlag(cmd, &output, "text", "json")
	return asksNobody(worksOnCluster(cmd))
}
