package server

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/metaq/metaq/protocol"
)

// exchange sends a request as the original's HTTP client does: parameters in the query, the message as the body. Its client takes a redirection without a
// place to go to for an answer, so that is not followed here either.
func exchange(t *testing.T, s *Server, method, uri, body string) (code int, kind, answer string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+s.HTTPAddr()+uri, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(b)
}

// The three URLs, as SimpleHttpProducer and SimpleHttpConsumer make them.
func putURL(topic string, partition, flag, length int) string {
	return fmt.Sprintf("/put/0?topic=%s&partition=%d&flag=%d&length=%d", topic, partition, flag, length)
}

func getURL(topic string, partition int, offset, size int64) string {
	return fmt.Sprintf("/get/0?topic=%s&partition=%d&offset=%d&group=g&maxsize=%d", topic, partition, offset, size)
}

func TestHTTPMessages_PutGetOffset(t *testing.T) {
	s := startServer(t, settings{"numPartitions": "2", "brokerId": "0"})
	code, _, answer := exchange(t, s, "POST", putURL("t", 1, 0, 5), "hello")
	words := strings.Split(answer, " ")
	if id, err := strconv.ParseInt(words[0], 10, 64); code != 200 || err != nil || id <= 0 || len(words) != 3 || words[1] != "1" || words[2] != "0" {
		t.Fatalf("put: %d %q, want id, partition 1, offset 0", code, answer)
	}
	if code, _, answer := exchange(t, s, "POST", putURL("t", 1, 1, 9), "\x00\x00\x00\x01abody"); code != 200 || !strings.HasSuffix(answer, " 1 25") {
		t.Fatalf("put with an attribute: %d %q, want offset 25", code, answer)
	}

	code, kind, messages := exchange(t, s, "GET", getURL("t", 1, 0, 1000), "")
	if got := payloads(t, messages); code != 200 || kind != "application/octet-stream" || len(got) != 2 || got[0] != "hello" {
		t.Errorf("get: %d %s %q", code, kind, messages)
	}
	c := dial(t, s.Addr())
	c.send("get t g 1 0 1000 1\r\n")
	if r, _ := c.next(); r.body != messages {
		t.Errorf("HTTP gave %q, the text protocol %q", messages, r.body)
	}

	for _, tt := range []struct {
		name, method, uri string
		code              int
		answer            string
	}{
		{"offset at the start", "GET", "/offset/0?topic=t&partition=1&offset=3", 200, "0"},
		{"offset beyond the end", "GET", "/offset/0?topic=t&partition=1&group=g&offset=9999", 200, "54"},
		{"offset of a partition that was never written", "GET", "/offset/0?topic=t&partition=0&offset=0", 404, "The topic `t` in partition `0` is not exists"},
		{"get at the end", "GET", getURL("t", 1, 54, 100), 404, "Could not find message at position 54"},
		{"get inside a message", "GET", getURL("t", 1, 3, 100), 301, "0"},
		{"get of a partition that was never written", "GET", getURL("t", 0, 0, 100), 404, "The topic `t` in partition `0` is not exists"},
		{"get of nothing", "GET", getURL("t", 1, 0, 0), 400, "Bad request,invalid max size:0"},
		{"get without an offset", "GET", "/get/0?topic=t&partition=1&maxsize=1", 400, "the parameter offset is missing"},
		{"offset of no number", "GET", "/offset/0?topic=t&partition=x&offset=0", 400, "the parameter partition=\"x\" is no number of 32 bits"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if code, _, answer := exchange(t, s, tt.method, tt.uri, ""); code != tt.code || answer != tt.answer {
				t.Errorf("%d %q, want %d %q", code, answer, tt.code, tt.answer)
			}
		})
	}
	_, text := fetch(t, s, "/metrics")
	for _, line := range []string{`metaq_put_messages_total{topic="t"} 2`, `metaq_put_bytes_total 14`, `metaq_requests_total{cmd="put"} 2`} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("/metrics has no line %s", line)
		}
	}
}

func TestHTTPMessages_RefusedPuts(t *testing.T) {
	s := startServer(t, settings{"maxMessageSize": "1K"})
	c := dial(t, s.Addr())
	c.send("put closed 0 1 0 1\r\nx")
	c.want(protocol.StatusOK)
	c.send("close closed 0 0 2\r\n")
	c.want(protocol.StatusOK)
	frame := func(partition, cause string) string {
		return "Put message to [broker 'meta://" + s.Addr() + "'] [partition '" + partition + "'] failed.Detail:" + cause
	}
	for name, tt := range map[string]struct {
		uri, body string
		code      int
		answer    string
	}{
		"wrong partition":   {putURL("t", 9, 0, 1), "x", 500, frame("t-9", "wrong partition 9")},
		"closed":            {putURL("closed", 0, 0, 1), "x", 403, frame("closed-0", "partition[0-0] has been closed")},
		"checksum":          {putURL("t", 0, 0, 1) + "&checksum=5", "x", 500, frame("t-0", "Checksum failure,message may be corrupted when transfering on networking.")},
		"too large":         {putURL("t", 0, 0, 1025), strings.Repeat("x", 1025), 400, frame("t-0", "the message has 1025 bytes, at most 1024 are taken (maxMessageSize)")},
		"length of a lie":   {putURL("t", 0, 0, 7), "x", 400, frame("t-0", "length is 7, but 1 bytes come")},
		"no flag":           {"/put/0?topic=t&partition=0", "x", 400, "the parameter flag is missing"},
		"no name at all":    {"/put/0?partition=0&flag=0", "x", 400, "the parameter topic is missing"},
		"flag of 64 bits":   {"/put/0?topic=t&partition=0&flag=4294967296", "x", 400, `the parameter flag="4294967296" is no number of 32 bits`},
		"no proper name":    {putURL("a,b", 0, 0, 1), "x", 400, ""},
		"sound, to be fair": {putURL("t", 0, 0, 1) + "&checksum=" + strconv.Itoa(int(protocol.Checksum([]byte("x")))), "x", 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, answer := exchange(t, s, "POST", tt.uri, tt.body)
			if code != tt.code || tt.answer != "" && answer != tt.answer {
				t.Errorf("%d %q, want %d %q", code, answer, tt.code, tt.answer)
			}
		})
	}
	if code, _, _ := exchange(t, s, "GET", putURL("t", 0, 0, 1), ""); code != http.StatusMethodNotAllowed {
		t.Errorf("a put by GET: %d", code)
	}
}

// A put over HTTP is answered when it is as safe as one over the text protocol, so a restart finds it.
func TestHTTPMessages_SurviveARestart(t *testing.T) {
	cfg := testConfig(t, nil)
	s := startWith(t, cfg, storeOptions(cfg, testLog(t)))
	if code, _, answer := exchange(t, s, "POST", putURL("t", 0, 0, 3), "abc"); code != 200 {
		t.Fatalf("put: %d %s", code, answer)
	}
	if flushed, appended := stat(t, s.Addr(), "store", "flushed"), stat(t, s.Addr(), "store", "appended"); flushed != appended {
		t.Errorf("flushed %s of %s after the answer", flushed, appended)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := startWith(t, cfg, storeOptions(cfg, testLog(t)))
	if code, _, messages := exchange(t, again, "GET", getURL("t", 0, 0, 100), ""); code != 200 || len(payloads(t, messages)) != 1 {
		t.Errorf("get after a restart: %d %q", code, messages)
	}
}

// TestHTTPMessages_ClientsKeepNobodyOut has as many busy clients as the HTTP side has connections, each on one that it keeps, as HTTP clients do.
func TestHTTPMessages_ClientsKeepNobodyOut(t *testing.T) {
	s := startServer(t, nil)
	if code, _, answer := exchange(t, s, "POST", putURL("t", 0, 0, 1), "x"); code != 200 {
		t.Fatalf("put: %d %s", code, answer)
	}
	http.DefaultClient.CloseIdleConnections()
	over, served := make(chan struct{}), make(chan struct{}, httpConns)
	var clients sync.WaitGroup
	for range httpConns {
		client := http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: patience}
		clients.Go(func() {
			defer client.CloseIdleConnections()
			for n := 0; ; n++ {
				r, err := client.Get("http://" + s.HTTPAddr() + getURL("t", 0, 0, 100))
				if n == 0 {
					served <- struct{}{}
				}
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				r.Body.Close()
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	for range httpConns {
		<-served
	}
	health := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience / 2}
	for range 3 {
		r, err := health.Get("http://" + s.HTTPAddr() + "/healthz")
		if err != nil {
			t.Error(err)
			break
		}
		r.Body.Close()
	}
	close(over)
	clients.Wait()
}
