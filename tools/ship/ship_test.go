//go:build linux

package ship

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"

	"github.com/metaq/metaq/client/metaqtest"
)

func TestShip_ALineIsShippedWhenItIsWhole(t *testing.T) {
	r := newRig(t, "a.log", nil)
	r.write("a.log", "1\nbegin")
	r.begin()
	r.want("1")
	r.write("a.log", "ning")
	r.file("a.log", func(f FileStatus) bool { return f.Size == 11 })
	r.write("a.log", "\n\n2\n")
	r.want("1", "beginning", "", "2")
	r.write("a.log", "the end")
	r.rename("a.log", "a.log.1")
	r.want("1", "beginning", "", "2", "the end")
}

func TestShip_GoesOnAfterAStop(t *testing.T) {
	r := newRig(t, "a.log", nil)
	lines := numbered(1, 20_000)
	r.write("a.log", text(lines[:5000]))
	r.begin()
	for at := 5000; at < len(lines); at += 5000 {
		r.write("a.log", text(lines[at:at+5000]))
		r.end() // what is on its way is acknowledged, so that nothing comes twice
		r.begin()
	}
	r.want(lines...)
}

func TestShip_FromTheEnd(t *testing.T) {
	r := newRig(t, "*.log", func(in *Input) { in.FromEnd = true })
	r.write("a.log", "old\nhalf")
	r.begin()
	r.file("a.log", func(f FileStatus) bool { return f.Size == 8 })
	r.write("a.log", " a line\n")
	r.want("half a line")
	r.write("b.log", "a new file\n")
	r.want("half a line", "a new file")
	r.end()
	r.write("c.log", "while nobody looked\n")
	r.begin()
	r.want("half a line", "a new file", "while nobody looked")
}

func TestShip_Encodings(t *testing.T) {
	gbk, err := simplifiedchinese.GBK.NewEncoder().String("日志一\r\n日志二\r\n")
	if err != nil {
		t.Fatal(err)
	}
	// The character U+0A0A and U+0D0A have the bytes of a newline in UTF-16, at other places.
	wide := "first\r\nਊ੊ഊ\r\n\r\nlast\r\n"
	little, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(wide)
	if err != nil {
		t.Fatal(err)
	}
	big, err := unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewEncoder().String(wide)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, encoding, text string
		want                 []string
	}{
		{"gbk", "gbk", gbk, []string{"日志一", "日志二"}},
		{"little", "utf-16", little, []string{"first", "ਊ੊ഊ", "", "last"}},
		{"big", "utf-16", big, []string{"first", "ਊ੊ഊ", "", "last"}},
		{"utf8", "utf-8", "\ufeffa\r\nb\xff\r\n", []string{"a", "b\uFFFD"}},
		{"raw", "raw", "\ufeffa\r\nb\xff\r\n", []string{"\ufeffa\r", "b\xff\r"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, "a.log", func(in *Input) { in.Encoding = c.encoding })
			half := len(c.text)/2 | 1 // in the middle of a unit
			r.write("a.log", c.text[:half])
			r.begin()
			r.file("a.log", func(f FileStatus) bool { return f.Size == int64(half) })
			r.write("a.log", c.text[half:])
			r.want(c.want...)
		})
	}
}

func TestShip_EventsOfSeveralLines(t *testing.T) {
	trace := []string{"2026 error\n  at a\n  at b", "2026 fine", "2026 error\nCaused by:\n  at c"}
	for name, change := range map[string]func(*Input){
		"start":     func(in *Input) { in.EventStart = regexp.MustCompile(`^\d{4}`) },
		"continues": func(in *Input) { in.EventContinues = regexp.MustCompile(`^(\s|Caused)`) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "a.log", change)
			r.begin()
			r.write("a.log", trace[0][:20])
			r.write("a.log", trace[0][20:]+"\n"+trace[1]+"\n")
			r.want(trace[0], trace[1]) // the last one because nothing follows for a while
			r.write("a.log", trace[2]+"\n"+trace[1]+"\n")
			r.want(trace[0], trace[1], trace[2], trace[1])
		})
	}
}

func TestShip_LongLinesAreCut(t *testing.T) {
	r := newRig(t, "a.log", func(in *Input) { in.MaxLine = 1000 })
	long := strings.Repeat("ü", 400_000)
	r.write("a.log", "1\n"+long)
	r.begin()
	mark := " [cut: the line is longer than 1000 bytes]"
	r.want("1", strings.Repeat("ü", 500)+mark)
	r.end() // within the line
	r.write("a.log", long+"\n2\n")
	r.begin()
	r.want("1", strings.Repeat("ü", 500)+mark, "2")
}

func TestShip_WhatTheBrokerRefusesIsSetAside(t *testing.T) {
	r := newRig(t, "a.log", nil, metaqtest.Set("maxMessageSize", "1K"))
	big := strings.Repeat("b", 2000)
	r.write("a.log", "1\n2\n"+big+"\n3\n")
	r.begin()
	r.eventually("the last line", func() bool { return slices.Contains(r.lines(), "3") })
	r.file("a.log", func(f FileStatus) bool { return f.Lag == 0 })
	f, err := os.ReadFile(filepath.Join(r.config.Dir, refusedName))
	if err != nil {
		t.Fatal(err)
	}
	var line refusedLine
	if err := json.Unmarshal(f, &line); err != nil || string(line.Line) != big || line.At != 4 || line.File != r.path("a.log") {
		t.Errorf("set aside is %.300q, %v", f, err)
	}
	r.write("a.log", "4\n")
	r.eventually("what follows", func() bool { return slices.Contains(r.lines(), "4") })
}

// What was sent again is not counted again.
func TestShip_CutLinesAreCountedOnce(t *testing.T) {
	r := newRig(t, "a.log", func(in *Input) { in.MaxLine = 1100 }, metaqtest.Set("maxMessageSize", "1120"))
	r.write("a.log", "1\n"+strings.Repeat("b", 2000)+"\n2\n") // with its mark, the second one is too large for the broker
	r.begin()
	r.file("a.log", func(f FileStatus) bool { return f.Size > 0 && f.Lag == 0 })
	if s := r.agent.Status().Inputs[0]; s.Cut != 1 || s.CutBytes != 900 || s.Refused != 1 {
		t.Errorf("counted %+v", s)
	}
}

func TestShip_OrderNoneSpreadsAndAttributesTellTheFile(t *testing.T) {
	r := newRig(t, "*.log", func(in *Input) { in.Order, in.Attribute = OrderNone, "of {path}" }, metaqtest.Set("numPartitions", "4"))
	r.write("a.log", text(numbered(1, 100)))
	r.begin()
	r.eventually("all lines", func() bool { return len(r.stored()) == 100 })
	used := map[int32]bool{}
	for _, m := range r.stored() {
		used[m.Partition] = true
		if m.Attribute != "of "+r.path("a.log") {
			t.Fatalf("the attribute is %q", m.Attribute)
		}
	}
	if len(used) != 4 {
		t.Errorf("the lines are in the partitions %v of 4", used)
	}
}

func TestShip_StrictOrderSendsOneLineAtATime(t *testing.T) {
	r := newRig(t, "a.log", func(in *Input) { in.Order = OrderStrict })
	r.write("a.log", text(numbered(1, 200)))
	r.once()
	r.want(numbered(1, 200)...)
}

func TestShip_ThousandsOfFiles(t *testing.T) {
	const files = 3000
	r := newRig(t, "*.log", nil)
	for n := range files {
		r.write(fmt.Sprintf("%04d.log", n), fmt.Sprintf("%04d 1\n", n))
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = 1000
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) }) // it was so before
	r.begin()
	for n := range files {
		r.write(fmt.Sprintf("%04d.log", n), fmt.Sprintf("%04d 2\n", n))
	}
	r.eventually("all lines", func() bool { return r.agent.Counted().Messages == 2*files })
	lines := r.lines()
	slices.Sort(lines)
	if len(slices.Compact(lines)) != 2*files {
		t.Errorf("%d different lines", len(slices.Compact(lines)))
	}
}

func TestShip_NoFiles(t *testing.T) {
	r := newRig(t, "*", nil)
	if err := os.Mkdir(r.path("directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(r.path("pipe"), 0o644); err != nil { // opening it would wait for ever
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", r.path("dangling")); err != nil {
		t.Fatal(err)
	}
	r.write("a", "1\n")
	r.once()
	r.want("1")
}

func TestShip_OneAgentADirectory(t *testing.T) {
	r := newRig(t, "a.log", nil)
	r.begin()
	_, err := Open(r.config, slog.New(slog.DiscardHandler))
	if want := fmt.Sprintf("process %d ships with the checkpoint in %s", os.Getpid(), r.config.Dir); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the second agent: %v, want %q", err, want)
	}
}

func TestCheckpoint_Damaged(t *testing.T) {
	r := newRig(t, "a.log", nil)
	r.write("a.log", text(numbered(1, 100)))
	r.begin()
	r.want(numbered(1, 100)...)
	r.end()
	r.write("a.log", text(numbered(101, 200)))
	r.begin()
	r.want(numbered(1, 200)...)
	r.end()
	harm := func(name string) {
		path := filepath.Join(r.config.Dir, name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	harm(checkpointName)
	r.write("a.log", text(numbered(201, 201)))
	r.begin() // with the one before: some lines come again, none is missing
	r.eventually("the last line", func() bool { return slices.Contains(r.lines(), numbered(201, 201)[0]) })
	for _, line := range numbered(1, 201) {
		if !slices.Contains(r.lines(), line) {
			t.Errorf("%q is lost", line)
		}
	}
	r.end()
	harm(checkpointName)
	harm(checkpointOld)
	if _, err := Open(r.config, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "is damaged") || !strings.Contains(err.Error(), checkpointOld) {
		t.Errorf("with two damaged checkpoints: %v", err)
	}
}

func TestStatus_IsToldByTheCheckpointWhenNobodyRuns(t *testing.T) {
	r := newRig(t, "a.log", nil)
	r.config.HTTP = DefaultHTTP
	r.write("a.log", "1\n2\n")
	r.begin()
	r.want("1", "2")
	s, err := ReadStatus(t.Context(), r.config.Dir)
	if err != nil || s.PID != os.Getpid() || len(s.Inputs) != 1 || s.Inputs[0].Messages != 2 || s.Inputs[0].Files[0].Position != 4 {
		t.Errorf("status %+v, %v", s, err)
	}
	r.end()
	r.write("a.log", "3\n")
	s, err = ReadStatus(t.Context(), r.config.Dir)
	if err != nil || s.PID != 0 || len(s.Inputs) != 1 || s.Inputs[0].Files[0].Position != 4 || s.Inputs[0].Files[0].Lag != 2 {
		t.Errorf("status %+v, %v", s, err)
	}
}

func TestLoad_OriginalConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tail4j.ini")
	err := os.WriteFile(path, []byte(`[system]
checkpoint_path=/var/lib/tail4j/
max_buf_size=131073

[meta]
server_url=127.0.0.1:8123
diamond_zk_data_id=metamorphosis.zkConfig
diamond_zk_group=

[local_test]
test_path=/tmp

[topic_1]
topic=test
log_base_path=/var/log/app
tmp_log_fullpath=/var/log/app/client.log
log_name_regx=/var/log/app/client\\.log.*
encoding=gbk
compress=false
ordered=false
timeout=20000
checkpoint_name=test_cp
`), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	c, err := Load(path, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	in := c.Inputs[0]
	if c.Dir != "/var/lib/tail4j/" || c.Broker != "127.0.0.1:8123" || c.Timeout != 20*time.Second || in.Name != "test_cp" || in.Topic != "test" ||
		in.Paths[0] != "/var/log/app/client.log" || in.RotatedDir != "/var/log/app" || !in.RotatedName.MatchString("/var/log/app/client.log.1") ||
		in.Order != OrderNone || in.MaxLine != 131073 || in.Encoding != "gbk" {
		t.Errorf("read %+v", c)
	}
	if !strings.Contains(said.String(), "diamond_zk_data_id") {
		t.Errorf("of keys without a meaning it says %q", said.String())
	}
}

func TestLoad_Mistakes(t *testing.T) {
	for text, want := range map[string]string{
		"[topic_1]\ntopik=t\n":                  `topik: the key is not known`,
		"[stuff]\na=b\n":                        `the section [stuff] is not known`,
		"[topic_1]\nordered=maybe\n":            `it must be true, strict or false`,
		"[topic_1]\nevent_start=(\n":            `a regular expression`,
		"[system]\nrate=fast\n":                 `a number of bytes`,
		"[topic_1]\nevent_wait=1\n":             `a duration`,
		"[topic_1]\nstart=middle\n":             `beginning or end`,
		"[topic_1]\ntimeout=soon\n":             `milliseconds`,
		"[topic_1]\nlog_name_regx=[\n":          `a regular expression`,
		"[topic_1]\ngzip=perhaps\n":             `true or false`,
		"topic=t\n[topic_1]\npath=/a\n":         `topic stands before any section`,
		"[topic_1]\ntopic\n":                    `neither a section nor KEY=VALUE: "topic"`,
		"[topic_1]\ntopic=t\npath=/a\n[meta]\n": "",
		"[topic]\ntopic=a\n[topic]\ntopic=b\n":  `two sections [topic]`,
		"[topic_1]\npath=/a\npath=/b\n":         `path is given twice`,
		"[topic_1]\nevent_start=%(a)s\\\\\n":    "",
	} {
		path := filepath.Join(t.TempDir(), "ship.ini")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path, slog.New(slog.NewTextHandler(io.Discard, nil)))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// The examples of a configuration are right, what is commented out in them included.
func TestConfig_Examples(t *testing.T) {
	shipped, err := os.ReadFile("../../conf/ship.ini")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/shipping.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "```ini\n")
	block, _, _ = strings.Cut(block, "```")
	for name, text := range map[string]string{
		"conf/ship.ini":                      string(shipped),
		"conf/ship.ini without its comments": regexp.MustCompile(`(?m)^# (\w+=)`).ReplaceAllString(string(shipped), "$1"),
		"docs/shipping.md":                   block,
	} {
		path := filepath.Join(t.TempDir(), "ship.ini")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path, slog.New(slog.DiscardHandler))
		if err == nil {
			err = c.Check()
		}
		if err != nil || len(c.Inputs) == 0 || c.Broker == "" || c.Dir == "" {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestConfig_Mistakes(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"nothing to ship":             func(c *Config) { c.Inputs = nil },
		"no directory":                func(c *Config) { c.Dir = "" },
		"of memory":                   func(c *Config) { c.Memory = 1 },
		"a rate":                      func(c *Config) { c.Rate = -1 },
		"two inputs":                  func(c *Config) { c.Inputs = append(c.Inputs, c.Inputs[0]) },
		"topic":                       func(c *Config) { c.Inputs[0].Topic = "" },
		"no file is named":            func(c *Config) { c.Inputs[0].Paths = nil },
		"the pattern":                 func(c *Config) { c.Inputs[0].Paths = []string{"["} },
		"for one file only":           func(c *Config) { c.Inputs[0].Paths, c.Inputs[0].Rotated = []string{"*"}, "/x/*" },
		"the order":                   func(c *Config) { c.Inputs[0].Order = "?" },
		"lines of at most 1 bytes":    func(c *Config) { c.Inputs[0].MaxLine = 1 },
		"a quarter of the memory":     func(c *Config) { c.Inputs[0].MaxLine = 60 << 20 },
		`the encoding "?" is unknown`: func(c *Config) { c.Inputs[0].Encoding = "?" },
		"are both given": func(c *Config) {
			c.Inputs[0].EventStart, c.Inputs[0].EventContinues = regexp.MustCompile("a"), regexp.MustCompile("b")
		},
		"is negative": func(c *Config) { c.Inputs[0].EventWait = -1 },
	} {
		c := Default()
		in := DefaultInput()
		in.Name, in.Topic, in.Paths = "t", "t", []string{"/var/log/a"}
		c.Dir, c.Inputs = t.TempDir(), []Input{in}
		change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(want, "unknown", "not known")) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// One agent after the other uses a checkpoint, each for other files. What the others have shipped stays known.
func TestCheckpoint_OfOthersIsKept(t *testing.T) {
	r := newRig(t, "a.log", nil)
	use := func(name, path string) {
		r.config.Inputs[0].Name, r.config.Inputs[0].Paths = name, []string{r.path(path)}
	}
	r.write("a.log", "a1\n")
	r.write("b.log", "b1\n")
	r.write("c.log", "c1\n")
	r.once()
	use("another", "b.log")
	r.once()
	use("another", "c.log") // an input has other files than before
	r.once()
	r.want("a1", "b1", "c1")
	r.rename("b.log", "b.log.1") // nobody is told of b.log
	r.write("b.log", "b2\n")
	r.once()
	use("t", "a.log")
	r.once()
	r.want("a1", "b1", "c1")
	use("another", "b.log")
	r.write("b.log", "b3\n")
	r.once()
	r.want("a1", "b1", "c1", "b2", "b3")
}

// Whoever asks for the status again and again is in no agent's way.
func TestLock_IsNotTakenByWhoAsks(t *testing.T) {
	dir := t.TempDir()
	stop, asked := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				asked <- nil
				return
			default:
			}
			if _, _, err := whoHolds(dir); err != nil && !errors.Is(err, io.EOF) { // of one that has just begun
				asked <- err
				return
			}
		}
	}()
	for range 300 {
		l, err := takeLock(dir)
		if err != nil {
			t.Fatal(err)
		}
		if h, held, err := whoHolds(dir); err != nil || !held || h.PID != os.Getpid() {
			t.Fatalf("%+v, %t, %v", h, held, err)
		}
		if err := l.release(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-asked; err != nil {
		t.Error(err)
	}
}

// Names of files are bytes, in whatever encoding they were given.
func TestCheckpoint_NamesThatAreNoUTF8(t *testing.T) {
	r := newRig(t, "*.log", func(in *Input) { in.Attribute = "{path}" }, metaqtest.Set("numPartitions", "64"))
	const name = "\xc8\xd5\xd6\xbe.log"
	r.write(name, "1\n")
	r.begin()
	r.want("1")
	r.end()
	r.write(name, "2\n")
	r.begin()
	r.eventually("both lines", func() bool { return len(r.lines()) == 2 })
	for _, m := range r.stored() {
		if m.Partition != r.stored()[0].Partition || m.Attribute != r.path(name) {
			t.Errorf("%q is in partition %d, of %q", m.Body, m.Partition, m.Attribute)
		}
	}
}
