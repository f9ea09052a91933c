package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commandTree is the command with all that hangs below it, to be asked and not to be run.
func commandTree() *cobra.Command {
	return newRoot(&app{in: strings.NewReader(""), out: io.Discard, err: io.Discard})
}

// eachCommand goes over the commands that a user can see.
func eachCommand(t *testing.T, visit func(cmd *cobra.Command)) {
	t.Helper()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.HasParent() && !cmd.IsAvailableCommand() || cmd.Name() == "help" || cmd.Name() == "completion" {
			return
		}
		visit(cmd)
		for _, child := range cmd.Commands() {
			walk(child)
		}
	}
	walk(commandTree())
}

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDocs_NameEveryCommandAndFlag keeps docs/cli.md and the commands' own help together.
func TestDocs_NameEveryCommandAndFlag(t *testing.T) {
	cli := page(t, "docs/cli.md")
	forClusters := regexp.MustCompile("(?m)^.*`--zk HOST:PORT` .*$").FindString(cli)
	eachCommand(t, func(cmd *cobra.Command) {
		if !strings.Contains(cli, cmd.CommandPath()) && !groupedInDocs(cli, cmd) {
			t.Errorf("docs/cli.md does not have %q", cmd.CommandPath())
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && f.Name != "version" && !strings.Contains(cli, "--"+f.Name) {
				t.Errorf("docs/cli.md does not have --%s of %q", f.Name, cmd.CommandPath())
			}
			if value, _ := pflag.UnquoteUsage(f); strings.ToUpper(value) != value {
				t.Errorf("the help of %q calls the value of --%s %q: a word in capitals in backquotes says what it is", cmd.CommandPath(), f.Name, value)
			}
		})
		if !cmd.HasSubCommands() && cmd.Example == "" {
			t.Errorf("%q has no example in its help", cmd.CommandPath())
		}
		// A group of commands stands for all of them.
		name := strings.TrimPrefix(cmd.CommandPath(), "metaq ")
		group, _, _ := strings.Cut(name, " ")
		if cmd.Annotations[forCluster] != "" && !strings.Contains(forClusters, "`"+name+"`") && !strings.Contains(forClusters, "`"+group+"`") {
			t.Errorf("docs/cli.md does not say that --zk is for %q too", cmd.CommandPath())
		}
	})
}

// groupedInDocs tells whether a subcommand is described together with its siblings, as in "bench put|get|e2e".
func groupedInDocs(cli string, cmd *cobra.Command) bool {
	for line := range strings.Lines(cli) {
		if strings.HasPrefix(line, "## "+cmd.Parent().CommandPath()+" ") && strings.Contains(line, cmd.Name()) {
			return true
		}
	}
	return false
}

// TestDocs_CommandsAreRight takes every command line of the pages and of the help, in blocks and in sentences, and asks for its command and its flags.
func TestDocs_CommandsAreRight(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) < 10 {
		t.Fatalf("the pages are %q, %v", pages, err)
	}
	pages = append(pages, "../../README.md", "../../protocol/PROTOCOL.md", "../../store/FORMAT.md", "../../client/python/README.md")
	found := 0
	for _, p := range pages {
		name, err := filepath.Rel("../..", p)
		if err != nil {
			t.Fatal(err)
		}
		text := page(t, name)
		for _, line := range codeLines(text) {
			for _, words := range metaqCommands(line) {
				found++
				if err := checkCommand(words, true); err != nil {
					t.Errorf("%s has %q: %v", name, line, err)
				}
			}
		}
		for _, m := range regexp.MustCompile("`((?:bin/)?metaq [^`]+)`").FindAllStringSubmatch(text, -1) {
			for _, words := range metaqCommands(m[1]) {
				found++
				if err := checkCommand(words, false); err != nil {
					t.Errorf("%s has %q: %v", name, m[1], err)
				}
			}
		}
	}
	if found < 120 {
		t.Errorf("only %d commands were found in the pages", found)
	}
	eachCommand(t, func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.Example) {
			for _, words := range metaqCommands(line) {
				if err := checkCommand(words, true); err != nil {
					t.Errorf("the help of %q has %q: %v", cmd.CommandPath(), strings.TrimSpace(line), err)
				}
			}
		}
	})
}

func TestDocs_CheckerFindsMistakes(t *testing.T) {
	for _, line := range []string{
		"metaq gte greetings", "metaq get greetings --form json", "metaq put", "metaq bench frob", "metaq topics all", "metaq get t -n many",
		"metaq get t | metaq putt u", "metaq serve & metaq gett", "$ bin/metaq lag", "metaq help frobnicate",
	} {
		failed := false
		for _, words := range metaqCommands(line) {
			failed = failed || checkCommand(words, true) != nil
		}
		if !failed {
			t.Errorf("%q passes", line)
		}
	}
	want := [][]string{{"get", "t", "--from", "2026-11-21 14:30"}, {"put", "u", "a # b"}}
	got := metaqCommands(`NO_COLOR=1 metaq get t --from '2026-11-21 14:30' | tail -1 | bin/metaq put u "a # b" # it's a remark | metaq x`)
	if !slices.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Errorf("the commands are %q", got)
	}
}

// codeLines are the lines of the blocks of a page that shells would read: indented, or fenced with the language of a shell or none.
func codeLines(text string) (lines []string) {
	fenced, shell := false, false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if language, ok := strings.CutPrefix(line, "```"); ok {
			fenced, shell = !fenced, slices.Contains([]string{"", "sh", "console"}, language)
			continue
		}
		if fenced && shell || !fenced && strings.HasPrefix(line, "    ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

var assignment = regexp.MustCompile(`^[A-Z_]+=`)

// metaqCommands are the arguments of each metaq that a line of a shell runs.
func metaqCommands(line string) (commands [][]string) {
	for _, words := range shellCommands(strings.TrimPrefix(strings.TrimSpace(line), "$ ")) {
		for len(words) > 0 && assignment.MatchString(words[0]) {
			words = words[1:]
		}
		// An output that begins with the name of the program is "metaq:".
		if len(words) > 1 && slices.Contains([]string{"metaq", "bin/metaq", "./bin/metaq"}, words[0]) {
			commands = append(commands, words[1:])
		}
	}
	return commands
}

// shellCommands splits a line at |, & and ; into commands, and these into words, with the quotes taken away and without a remark at the end.
func shellCommands(line string) (commands [][]string) {
	var words []string
	word, inWord := []byte{}, false
	endWord := func() {
		if inWord {
			words = append(words, string(word))
		}
		word, inWord = word[:0], false
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\'' || c == '"':
			end := strings.IndexByte(line[i+1:], c)
			if end < 0 {
				return nil // prose with an apostrophe
			}
			word, inWord = append(word, line[i+1:i+1+end]...), true
			i += end + 1
		case c == '#' && !inWord:
			i = len(line)
		case c == ' ':
			endWord()
		case c == '[' || c == ']': // around what may be left out
		case c == '|' || c == '&' || c == ';':
			endWord()
			commands, words = append(commands, words), nil
		default:
			word, inWord = append(word, c), true
		}
	}
	endWord()
	return append(commands, words)
}

// checkCommand says what is wrong with a command line. One in a sentence may leave out arguments, and stand for several with "...".
func checkCommand(args []string, whole bool) error {
	root := commandTree()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if !whole {
		rest = slices.DeleteFunc(slices.Clone(rest), func(word string) bool { return word == "..." })
		if n := len(rest); n > 0 && strings.HasPrefix(rest[n-1], "-") {
			name := strings.TrimLeft(rest[n-1], "-")
			if f := cmd.Flag(name); f != nil && f.NoOptDefVal == "" {
				rest = rest[:n-1] // its value is left out
			}
		}
	}
	if err := cmd.ParseFlags(rest); err != nil && err != pflag.ErrHelp {
		return err
	}
	operands := cmd.Flags().Args()
	if cmd.HasSubCommands() && len(operands) > 0 && cmd.ValidArgsFunction == nil && cmd.Name() != "ship" {
		return needSubcommand(cmd, operands)
	}
	if help, _ := cmd.Flags().GetBool("help"); help || !whole {
		return nil
	}
	return cmd.ValidateArgs(operands)
}
