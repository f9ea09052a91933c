package spout

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
)

// maxLines bounds what waits for Storm to take it. Storm reads only while it waits for the answer to a command.
const maxLines = 256

// lines are what is to be said in the log of Storm's worker.
type lines struct {
	mu      sync.Mutex
	waiting []logMessage
	left    int // out
}

// stormLevel is what Storm calls a level.
func stormLevel(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 4
	case l >= slog.LevelWarn:
		return 3
	case l >= slog.LevelInfo:
		return 2
	}
	return 1
}

func (l *lines) add(level slog.Level, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == maxLines {
		l.left++
		return
	}
	l.waiting = append(l.waiting, logMessage{"log", text, stormLevel(level)})
}

// take is what has come since it was called last.
func (l *lines) take() (list []logMessage, left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list, left = l.waiting, l.left
	l.waiting, l.left = nil, 0
	return list, left
}

// logger is one whose records become lines.
func (l *lines) logger() *slog.Logger {
	var text bytes.Buffer
	inner := slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			return slog.Attr{} // Storm writes its own, and the message stands in front
		}
		return a
	}})
	return slog.New(&handler{Handler: inner, lines: l, mu: &sync.Mutex{}, text: &text})
}

// handler writes records into a buffer, and its text to the lines.
type handler struct {
	slog.Handler
	lines *lines
	mu    *sync.Mutex // text is of one record at a time
	text  *bytes.Buffer
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text.Reset()
	err := h.Handler.Handle(ctx, r)
	h.lines.add(r.Level, strings.TrimSpace("metaq: "+r.Message+" "+h.text.String()))
	return err
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attrs), h.lines, h.mu, h.text}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.lines, h.mu, h.text}
}
