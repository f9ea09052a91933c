package server

import (
	"os"
	"testing"
)

func TestGroupLimit(t *testing.T) {
	const none = "9223372036854771712\n" // how version 1 says that there is no limit
	for name, c := range map[string]struct {
		groups string
		files  map[string]string
		want   int64
	}{
		"version 1":        {"8:pids:/\n4:memory:/a/b\n0::/\n", map[string]string{"/g/memory/a/b/memory.limit_in_bytes": "67108864\n", "/g/memory/memory.limit_in_bytes": none}, 64 << 20},
		"a parent's":       {"4:memory:/a/b\n", map[string]string{"/g/memory/a/b/memory.limit_in_bytes": none, "/g/memory/a/memory.limit_in_bytes": "1048576\n"}, 1 << 20},
		"in a container":   {"4:memory:/docker/1234\n", map[string]string{"/g/memory/memory.limit_in_bytes": "1048576\n"}, 1 << 20},
		"version 2":        {"0::/system.slice/metaq.service\n", map[string]string{"/g/system.slice/metaq.service/memory.max": "max\n", "/g/system.slice/memory.max": "2097152\n"}, 2 << 20},
		"version 2, none":  {"0::/\n", map[string]string{"/g/memory.max": "max\n"}, 0},
		"no control group": {"", nil, 0},
	} {
		got := groupLimit(c.groups, "/g", func(file string) ([]byte, error) {
			if text, ok := c.files[file]; ok {
				return []byte(text), nil
			}
			return nil, os.ErrNotExist
		})
		if got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
