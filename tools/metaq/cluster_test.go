package main

import (
	"strings"
	"testing"

	"github.com/metaq/metaq/zkcoord"
)

func TestParseClusterAddress(t *testing.T) {
	for _, c := range []struct {
		in, connect string
		layout      zkcoord.Layout
	}{
		{"127.0.0.1:2181", "127.0.0.1:2181", "/meta"},
		{"zk://a:1,b:2", "a:1,b:2", "/meta"},
		{"zk://a:1,[::1]:2/app/one?root=/other", "a:1,[::1]:2/app/one", "/other"},
		{"a?root=/", "a", ""},
	} {
		got, err := parseClusterAddress(c.in)
		if want := (clusterAddress{c.connect, c.layout}); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", c.in, got, err, want)
		}
	}
	for in, says := range map[string]string{
		"": "there is no server", "zk://": "there is no server", "zk://a:x": "no host:port", "a:1//b": "a path has no part",
		"a:1?rot=/meta": "only ?root=", "a:1?root=meta": "a path begins with a slash",
	} {
		if got, err := parseClusterAddress(in); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %+v, %v, want %q in the error", in, got, err, says)
		}
	}
}
