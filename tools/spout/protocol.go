package spout

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// maxMessage bounds a message of Storm. The largest is the first one, which has the whole topology in it.
const maxMessage = 64 << 20

// pipe carries the messages of the protocol: each is JSON, followed by a line that says end.
type pipe struct {
	in  *bufio.Reader
	out *bufio.Writer
	enc *json.Encoder // into out
}

func newPipe(in io.Reader, out io.Writer) *pipe {
	p := &pipe{in: bufio.NewReaderSize(in, 64<<10), out: bufio.NewWriterSize(out, 64<<10)}
	p.enc = json.NewEncoder(p.out)
	p.enc.SetEscapeHTML(false)
	return p
}

// read is the next message. io.EOF: Storm has gone.
func (p *pipe) read() ([]byte, error) {
	var text []byte
	for {
		piece, err := p.in.ReadSlice('\n')
		begins := len(text) == 0 || text[len(text)-1] == '\n'
		switch {
		case begins && string(bytes.TrimRight(piece, "\r\n")) == "end" && err == nil:
			return text, nil
		case len(text)+len(piece) > maxMessage:
			return nil, fmt.Errorf("a message of Storm has more than %d bytes", maxMessage)
		}
		text = append(text, piece...)
		if err == bufio.ErrBufferFull {
			continue // the line is longer than the buffer
		}
		if err == io.EOF && len(bytes.TrimSpace(text)) > 0 {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
	}
}

// write puts a message into the buffer; flush sends it.
func (p *pipe) write(message any) error {
	if err := p.enc.Encode(message); err != nil {
		return err
	}
	_, err := p.out.WriteString("end\n")
	return err
}

func (p *pipe) flush() error { return p.out.Flush() }

// setup is the first message of Storm.
type setup struct {
	PIDDir  string                     `json:"pidDir"`
	Conf    map[string]json.RawMessage `json:"conf"`
	Context struct {
		Task       int            `json:"taskid"`
		Components map[int]string `json:"task->component"`
	} `json:"context"`
}

// siblings is how many tasks of the topology are this spout.
func (s setup) siblings() (n int) {
	for _, component := range s.Context.Components {
		if component == s.Context.Components[s.Context.Task] {
			n++
		}
	}
	return n
}

// greet takes the first message, and answers with the process's id, which Storm also looks for as the name of a file. check may refuse the topology.
func (p *pipe) greet(check func(setup) error) (setup, error) {
	text, err := p.read()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return setup{}, fmt.Errorf("the first message of Storm: %w (a ShellSpout starts this command; it is nothing to type into)", err)
	}
	var s setup
	if err := json.Unmarshal(text, &s); err != nil {
		return setup{}, fmt.Errorf("the first message of Storm is not understood: %w: %.100q", err, text)
	}
	if err := check(s); err != nil {
		return setup{}, err
	}
	pid := os.Getpid()
	if s.PIDDir != "" {
		if err := os.WriteFile(filepath.Join(s.PIDDir, strconv.Itoa(pid)), nil, 0o644); err != nil {
			return setup{}, fmt.Errorf("pidDir of Storm: %w", err)
		}
	}
	if err := p.write(map[string]int{"pid": pid}); err != nil {
		return setup{}, err
	}
	return s, p.flush()
}

// number is one of the topology's configuration, 0 if it is not there.
func (s setup) number(key string) float64 {
	var n float64
	_ = json.Unmarshal(s.Conf[key], &n) // what is no number, null for example, is not set
	return n
}

// disabled says that a switch of the topology's configuration is off.
func (s setup) disabled(key string) bool { return string(s.Conf[key]) == "false" }

// command is what Storm asks for after that.
type command struct {
	Name string          `json:"command"`
	ID   json.RawMessage `json:"id"`
}

// next is the next command.
func (p *pipe) next() (command, error) {
	for {
		text, err := p.read()
		if err != nil {
			return command{}, err
		}
		if text = bytes.TrimSpace(text); len(text) > 0 && text[0] == '[' {
			continue // the tasks that a tuple went to, which older versions of Storm tell without being asked
		}
		var c command
		if err := json.Unmarshal(text, &c); err != nil {
			return command{}, fmt.Errorf("a message of Storm is not understood: %w: %.100q", err, text)
		}
		return c, nil
	}
}

// The messages of a spout.
type (
	emitMessage struct {
		Command string `json:"command"`
		ID      string `json:"id"`
		Tuple   []any  `json:"tuple"`
		NeedIDs bool   `json:"need_task_ids"`
	}
	logMessage struct {
		Command string `json:"command"`
		Text    string `json:"msg"`
		Level   int    `json:"level"`
	}
	metricMessage struct {
		Command string `json:"command"`
		Name    string `json:"name"`
		Params  any    `json:"params"`
	}
	syncMessage struct {
		Command string `json:"command"`
	}
)
