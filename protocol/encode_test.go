package protocol

import (
	"math"
	"testing"
)

func TestAppend_Answers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{string(AppendResult(nil, StatusNotFound, 2, "Could not find message at position 0")), "result 404 36 2\r\nCould not find message at position 0"},
		{string(AppendResult([]byte("x"), StatusOK, NoOpaque, "")), "xresult 200 0 2147483647\r\n"},
		{string(AppendResult(nil, StatusOK, 1, "STATS\r\nEND\r\n")), "result 200 12 1\r\nSTATS\r\nEND\r\n"},
		{string(AppendResultBytes(nil, StatusMoved, math.MinInt32, []byte("25"))), "result 301 2 -2147483648\r\n25"},
		{string(AppendPutResult(nil, 11, 1234567, 0, 25)), "result 200 12 11\r\n1234567 0 25"},
		{string(AppendPutResult(nil, 1, math.MinInt64, math.MinInt32, math.MinInt64)), "result 200 53 1\r\n-9223372036854775808 -2147483648 -9223372036854775808"},
		{string(AppendValueHeader(nil, 25, 2)), "value 25 2\r\n"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestAppend_Requests(t *testing.T) {
	const topic, group = Topic("t"), Group("g")
	for _, c := range []struct {
		got  []byte
		want string
	}{
		{AppendPut(nil, topic, -1, 0, []byte("hello"), 12), "put t -1 5 0 907060870 12\r\nhello"},
		{AppendGet(nil, topic, "any/group", 0, 25, 4096, -1, 2), "get t any/group 0 25 4096 2\r\n"},
		{AppendGet(nil, topic, "g", 0, 25, 4096, 0, 2), "get t g 0 25 4096 0 2\r\n"},
		{AppendOffset(nil, topic, "g", 0, math.MaxInt64, 3), "offset t g 0 9223372036854775807 3\r\n"},
		{AppendCommit(nil, topic, group, 0, 25, 4), "commit t g 0 25 4\r\n"},
		{AppendCommitted(nil, topic, group, 0, 5), "committed t g 0 5\r\n"},
		{AppendLag(nil, topic, 0, 25, 6), "lag t 0 25 6\r\n"},
		{AppendSeek(nil, topic, 0, 1700000000000, 6), "seek t 0 1700000000000 6\r\n"},
		{AppendRoute(nil, topic, 7), "route t 7\r\n"},
		{AppendTopics(nil, 8), "topics 8\r\n"},
		{AppendVersion(nil, -9), "version -9\r\n"},
		{AppendStats(nil, "", 1), "stats  1\r\n"},
		{AppendStats(nil, "topics", 1), "stats topics 1\r\n"},
		{AppendHelp(nil, "", 1), "help  1\r\n"},
		{AppendClose(nil, topic, 0, 3, 1), "close t 0 3 1\r\n"},
		{AppendOpen(nil, topic, 0, 3, 1), "open t 0 3 1\r\n"},
		{AppendQuit(nil), "quit\r\n"},
	} {
		if string(c.got) != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestAppend_DoesNotAllocate(t *testing.T) {
	dst, data := make([]byte, 0, 4096), []byte("hello")
	n := testing.AllocsPerRun(100, func() {
		b := AppendPutResult(dst, 1, 1234567, 0, 25)
		b = AppendValueHeader(b, 25, 2)
		b = AppendMessage(b, 1234567, 0, data)
		b = AppendResult(b, StatusNotFound, 2, "nothing")
		b = AppendPut(b, "topic", 0, 0, data, 3)
		AppendGet(b, "topic", "group", 0, 25, 4096, 100, 4)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
