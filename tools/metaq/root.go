package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/metaq/metaq/zkcoord"
)

const (
	defaultBroker = "127.0.0.1:8123"
	brokerEnv     = "METAQ_BROKER"
	// askTimeout bounds a command that asks one question when --timeout is not given.
	askTimeout = 10 * time.Second
)

// app is what all subcommands share: the streams and the global flags.
type app struct {
	in  io.Reader
	out io.Writer // data
	err io.Writer // words

	broker  string
	zk      string
	cluster *zkcoord.ClusterAddress // what --zk or --broker named; nil: one broker
	timeout time.Duration
	noColor bool
	quiet   bool

	limit   time.Duration // what withTimeout set
	started bool          // the subcommand's own code ran, so the command line was in order
}

const rootLong = `metaq runs the MetaQ message broker and talks to it.

Data goes to standard output, words go to standard error.

Environment:
  METAQ_BROKER   the broker's address, or a cluster's, when neither --broker nor --zk is given
  NO_COLOR       no colours when set to anything

Exit codes:
  0    done
  1    failed while running
  2    wrong usage
  3    not found, or nothing there
  124  timed out
  130  interrupted`

const rootExample = `  metaq serve                          # a broker on port 8123, no configuration needed
  metaq put greetings "hello world"    # store a message
  metaq get greetings                  # print what is stored
  metaq get greetings -f               # and wait for more
  metaq topics -o json
  metaq lag backup --zk 127.0.0.1:2181 # what a group of a cluster has not read
  metaq bench e2e --rate 5000 --duration 30s`

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:           "metaq",
		Short:         "A message broker and the tools for it",
		Long:          rootLong,
		Example:       rootExample,
		Version:       releaseVersion(),
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.checkGlobals(cmd)
		},
	}
	root.SetVersionTemplate(versionText() + "\n")
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetIn(a.in)

	broker := defaultBroker
	if v := os.Getenv(brokerEnv); v != "" {
		broker = v
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&a.broker, "broker", "b", broker, "the broker's `HOST:PORT`, or a cluster's zk://HOST:PORT; also the environment's "+brokerEnv)
	flags.StringVar(&a.zk, "zk", "", "the cluster of this ZooKeeper, `HOST:PORT`[,HOST:PORT...][/chroot][?root=/meta]")
	flags.DurationVar(&a.timeout, "timeout", 0, "give up after this `DURATION` and exit 124; by default 10s for a question, none for what may take long")
	flags.BoolVar(&a.noColor, "no-color", os.Getenv("NO_COLOR") != "", "no colours; also the environment's NO_COLOR")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "no words on standard error but errors")

	root.AddCommand(
		newPutCommand(a),
		newGetCommand(a),
		newBrowseCommand(a),
		newTopicsCommand(a),
		newStatsCommand(a),
		newRouteCommand(a),
		newGroupsCommand(a),
		newLagCommand(a),
		newOffsetsCommand(a),
		newZKCommand(a),
		newPartitionsCommand(a),
		newSpillCommand(a),
		newSpoutCommand(a),
		newBenchCommand(a),
		newVersionCommand(a),
	)
	root.AddCommand(platformCommands(a)...)
	// What cobra adds by itself says of no mistake that it is one.
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = wantHelpTopic
			asksNobody(c)
		case "completion":
			c.Args, c.RunE = cobra.ArbitraryArgs, needSubcommand
			for _, shell := range c.Commands() {
				asksNobody(shell)
			}
		}
	}
	root.SetFlagErrorFunc(flagError)
	a.watchStart(root)
	return root
}

// watchStart notes, for every command, that its own code began to run.
func (a *app) watchStart(cmd *cobra.Command) {
	if inner := cmd.RunE; inner != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			a.started = true
			return inner(cmd, args)
		}
	}
	for _, child := range cmd.Commands() {
		a.watchStart(child)
	}
}

func (a *app) checkGlobals(cmd *cobra.Command) error {
	if named := cmd.Flags().Changed("zk") || cmd.Flags().Changed("broker"); !named && !needsBroker(cmd) {
		return a.checkTimeout()
	}
	if err := a.checkCluster(cmd); err != nil {
		return err
	}
	if a.cluster != nil {
		return a.checkTimeout()
	}
	if _, _, err := net.SplitHostPort(a.broker); err != nil {
		return usagef("%s %q is not HOST:PORT, such as %s", brokerFrom(cmd), a.broker, defaultBroker)
	}
	return a.checkTimeout()
}

// needsBroker tells whether a command has to know of a broker.
func needsBroker(cmd *cobra.Command) bool {
	if cmd.HasSubCommands() && cmd.Annotations[forCluster] == "" {
		return false // it only groups others
	}
	asks, _ := cmd.Flags().GetBool("ask") // of version
	return asks || cmd.Annotations[forNobody] == ""
}

// brokerFrom is what has named the broker.
func brokerFrom(cmd *cobra.Command) string {
	if cmd.Flags().Changed("broker") {
		return "--broker"
	}
	return brokerEnv
}

func (a *app) checkTimeout() error {
	if a.timeout < 0 {
		return usagef("--timeout %s is negative", a.timeout)
	}
	return nil
}

// execute runs one command line and returns the exit code. ctx ends when the user interrupts.
func (a *app) execute(ctx context.Context, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	code := exitCode(err, a.started, ctx.Err() != nil)
	switch code {
	case exitOK:
	case exitInterrupted:
		a.say("interrupted")
	case exitTimeout:
		if a.limit > 0 {
			fmt.Fprintf(a.err, "metaq: timed out after %s: %s\n", a.limit, errorText(err))
		} else {
			fmt.Fprintf(a.err, "metaq: timed out: %s\n", errorText(err))
		}
	case exitUsage:
		fmt.Fprintf(a.err, "metaq: %s\nTry '%s --help'.\n", errorText(err), cmd.CommandPath())
	default:
		fmt.Fprintf(a.err, "metaq: %s\n", errorText(err))
	}
	return code
}

// errorText leaves out the client's name in the middle of a sentence: the line begins with it already.
func errorText(err error) string { return strings.ReplaceAll(err.Error(), "metaq: ", "") }

// say writes a line of words to standard error, unless --quiet was given.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.err, format+"\n", args...)
	}
}

// withTimeout applies --timeout, or else fallback; 0 means no limit.
func (a *app) withTimeout(ctx context.Context, fallback time.Duration) (context.Context, context.CancelFunc) {
	limit := a.timeout
	if limit == 0 {
		limit = fallback
	}
	a.limit = limit
	if limit == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit)
}

// isTerminal tells whether a stream is a person's terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// needSubcommand is the RunE of a command that only groups others.
func needSubcommand(cmd *cobra.Command, args []string) error {
	names := ""
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names += " " + c.Name()
		}
	}
	if len(args) > 0 {
		return usagef("unknown command %q for %q; there are:%s", args[0], cmd.CommandPath(), names)
	}
	return usagef("%s wants one of:%s", cmd.CommandPath(), names)
}

// flagError says what a flag takes when its value is none of that; the parsers of numbers and durations say how they failed.
func flagError(cmd *cobra.Command, err error) error {
	if unknown := (*pflag.NotExistError)(nil); errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "" {
		return fmt.Errorf("%w%s", err, suggestFlags(cmd, unknown.GetSpecifiedName()))
	}
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	flag, want := invalid.GetFlag(), ""
	switch kind := flag.Value.Type(); {
	case errors.Is(err, strconv.ErrRange):
		return fmt.Errorf("--%s %s is out of range", flag.Name, invalid.GetValue())
	case kind == "duration":
		want = "a duration, such as 200ms, 10s or 5m"
	case kind == "int32Slice":
		want = "a list of whole numbers, such as 0,1"
	case strings.HasPrefix(kind, "int"):
		want = "a whole number"
	case strings.HasPrefix(kind, "float"):
		want = "a number"
	default:
		return err
	}
	return fmt.Errorf("--%s %q is not %s", flag.Name, invalid.GetValue(), want)
}

// suggestFlags names the flags that may have been meant. What is near is for cobra to say, which knows it of commands only.
func suggestFlags(cmd *cobra.Command, name string) string {
	near := &cobra.Command{SuggestionsMinimumDistance: min(2, len(name)/2)}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		near.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
	})
	names := near.SuggestionsFor(name)
	if len(names) == 0 {
		return ""
	}
	return "; did you mean --" + strings.Join(names, " or --") + "?"
}

// wantHelpTopic refuses help for what is no command.
func wantHelpTopic(cmd *cobra.Command, args []string) error {
	topic, rest, err := cmd.Root().Find(args)
	if err != nil {
		return usageError{err}
	}
	if len(rest) > 0 && topic.HasSubCommands() {
		return needSubcommand(topic, rest)
	}
	return nil
}

// wantArgs checks the number of arguments; most < 0 means any number from least on.
func wantArgs(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch n := len(args); {
		case n < least:
			return usagef("not enough arguments: %s", cmd.UseLine())
		case most >= 0 && n > most:
			return usagef("too many arguments, beginning with %q: %s", args[most], cmd.UseLine())
		}
		return nil
	}
}
