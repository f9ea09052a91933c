package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store"
)

// The commands of the original's HTTP plug-in, as its SimpleHttpProducer and SimpleHttpConsumer use them. The number behind the command is that of a broker,
// by which a proxy can find it; it means nothing here. The codes of answers are those of the text protocol, and so are the texts.
func (s *Server) handleMessages(mux *http.ServeMux) {
	for pattern, serve := range map[string]http.HandlerFunc{
		"POST /put/{broker}": s.httpPut, "GET /get/{broker}": s.httpGet, "GET /offset/{broker}": s.httpOffset,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if stuck := s.store.Busy(); stuck != nil && (r.Method == http.MethodPost || stuck.Blocks()) {
				status, text := s.onWire(stuck)
				answerHTTP(w, status, text)
				return
			}
			serve(w, r)
		})
	}
}

// parameters reads the query of a command. The first mistake stays.
type parameters struct {
	query url.Values
	err   error
}

func (p *parameters) text(name string) string {
	v := p.query.Get(name)
	if v == "" && p.err == nil {
		p.err = refusef(protocol.StatusBadRequest, "the parameter %s is missing", name)
	}
	return v
}

func (p *parameters) int(name string, bits int) int64 {
	return p.parse(name, p.text(name), bits)
}

// optional is int for a parameter that may be missing.
func (p *parameters) optional(name string, bits int, otherwise int64) int64 {
	if v := p.query.Get(name); v != "" {
		return p.parse(name, v, bits)
	}
	return otherwise
}

func (p *parameters) parse(name, text string, bits int) int64 {
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil && p.err == nil {
		p.err = refusef(protocol.StatusBadRequest, "the parameter %s=%.40q is no number of %d bits", name, text, bits)
	}
	return n
}

func answerHTTP(w http.ResponseWriter, status protocol.Status, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(int(status))
	_, _ = io.WriteString(w, text) // nobody is left to tell
}

// httpPut stores a message, the body of the request.
func (s *Server) httpPut(w http.ResponseWriter, r *http.Request) {
	began, counts := time.Now(), &s.counts[0]
	counts.requests[protocol.VerbPut].Add(1)
	p := parameters{query: r.URL.Query()}
	name := p.text("topic")
	partition, flag := int32(p.int("partition", 32)), int32(p.int("flag", 32))
	length, checksum := p.optional("length", 32, -1), p.optional("checksum", 32, -1)
	err := p.err
	var receipt string
	if err == nil {
		receipt, err = s.storeOne(r, []byte(name), partition, flag, length, checksum)
	}
	if err != nil {
		status, text := s.onWire(err)
		counts.putFailed.Add(1)
		counts.failures[failureIndex(status)].Add(1)
		if p.err == nil {
			text = s.putFailed([]byte(name), partition, text)
		}
		answerHTTP(w, status, text)
		return
	}
	counts.durations[protocol.VerbPut].observe(time.Since(began), 1)
	answerHTTP(w, protocol.StatusOK, receipt)
}

// storeOne puts the body of a request and waits until that is as safe as the topic's rule says.
func (s *Server) storeOne(r *http.Request, name []byte, partition, flag int32, length, checksum int64) (receipt string, err error) {
	lim := s.limits.Load()
	size := r.ContentLength
	switch {
	case size < 0:
		return "", refusef(protocol.StatusBadRequest, "the request does not say how large the message is (Content-Length)")
	case size > int64(lim.parse.Body):
		return "", refusef(protocol.StatusBadRequest, "the message has %d bytes, at most %d are taken (maxMessageSize)", size, lim.parse.Body)
	case length >= 0 && length != size:
		return "", refusef(protocol.StatusBadRequest, "length is %d, but %d bytes come", length, size)
	case s.budget.spent(lim):
		return "", &refusal{protocol.StatusUnavailable, s.budget.refusal(lim)}
	}
	s.budget.add(size)
	defer s.budget.add(-size)
	body := make([]byte, size)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return "", refusef(protocol.StatusBadRequest, "the message did not come whole: %v", err)
	}
	t, q, at, err := s.catalog.target(name, partition)
	if err != nil {
		return "", err
	}
	switch {
	case q.Closed():
		err = refusef(protocol.StatusForbidden, "partition[%d-%d] has been closed", s.brokerID, at)
	case checksum != -1 && int64(protocol.Checksum(body)) != checksum:
		err = refusef(protocol.StatusError, "Checksum failure,message may be corrupted when transfering on networking.")
	default:
		receipt, err = s.appendOne(q, at, flag, body)
	}
	if err != nil {
		t.counts.putFailed.Add(1)
		return "", err
	}
	t.counts.puts.Add(1)
	t.counts.putBytes.Add(int64(len(body)))
	s.counts[0].puts.Add(1)
	s.counts[0].putBytes.Add(int64(len(body)))
	return receipt, nil
}

// appended is a store.Waiter for one goroutine.
type appended chan error

// Acked is called by the store.
func (a appended) Acked(err error) { a <- err }

func (s *Server) appendOne(q *store.Queue, partition, flag int32, body []byte) (receipt string, err error) {
	var batch store.Batch
	batch.Add(q, flag, body)
	position, err := s.store.Append(&batch)
	if err != nil {
		return "", err
	}
	if !s.store.Acked(position) {
		done := make(appended, 1)
		s.store.Await(position, done)
		if err := <-done; err != nil {
			if busy := (*store.BusyError)(nil); errors.As(err, &busy) && busy.Unknown {
				s.store.AwaitPatiently(position, latePuts{s, 1})
			}
			return "", err
		}
	}
	id, offset := batch.Receipt(0)
	return fmt.Sprintf("%d %d %d", id, partition, offset), nil
}

// httpGet answers with messages as they are stored, as get does.
func (s *Server) httpGet(w http.ResponseWriter, r *http.Request) {
	began, counts := time.Now(), &s.counts[0]
	counts.requests[protocol.VerbGet].Add(1)
	counts.gets.Add(1)
	p := parameters{query: r.URL.Query()}
	name := []byte(p.text("topic"))
	partition := int32(p.int("partition", 32))
	g := getRequest{offset: p.int("offset", 64), max: int(p.int("maxsize", 32)), began: began}
	if p.err != nil {
		status, text := s.onWire(p.err)
		answerHTTP(w, status, text)
		return
	}
	g.topic = s.catalog.find(name)
	if g.topic != nil {
		g.topic.counts.gets.Add(1)
	}
	g.queue = g.topic.queue(partition)
	switch {
	case g.queue == nil:
		counts.missed(g.topic)
		answerHTTP(w, protocol.StatusNotFound, notExists(name, partition))
		return
	case g.queue.Closed():
		answerHTTP(w, protocol.StatusForbidden, s.closedToGets(partition))
		return
	case g.max <= 0:
		answerHTTP(w, protocol.StatusBadRequest, fmt.Sprintf("Bad request,invalid max size:%d", g.max))
		return
	}
	var messages []byte
	_, err := g.queue.Gather(nil, g.offset, g.max, s.transfer(), false, func(v store.Views) {
		messages = appendViews(make([]byte, 0, v.Size), v)
	})
	if err != nil {
		status, text := s.nothing(counts, &g, err)
		answerHTTP(w, status, text)
		return
	}
	s.budget.add(int64(len(messages)))
	defer s.budget.add(-int64(len(messages)))
	counts.hit(len(messages))
	counts.durations[protocol.VerbGet].observe(time.Since(began), 1)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(messages)))
	_, _ = w.Write(messages) // nobody is left to tell
}

// httpOffset answers where reading can begin, as offset does.
func (s *Server) httpOffset(w http.ResponseWriter, r *http.Request) {
	counts := &s.counts[0]
	counts.requests[protocol.VerbOffset].Add(1)
	counts.offsets.Add(1)
	p := parameters{query: r.URL.Query()}
	name := []byte(p.text("topic"))
	partition, offset := int32(p.int("partition", 32)), p.int("offset", 64)
	if p.err != nil {
		status, text := s.onWire(p.err)
		answerHTTP(w, status, text)
		return
	}
	t := s.catalog.find(name)
	if t != nil {
		t.counts.offsets.Add(1)
	}
	q := t.queue(partition)
	if q == nil {
		answerHTTP(w, protocol.StatusNotFound, notExists(name, partition))
		return
	}
	answerHTTP(w, protocol.StatusOK, strconv.FormatInt(q.SegmentStart(offset), 10))
}
