package server

import (
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MemoryLimit is how much memory the process may use, in bytes: what its control group allows, or all of the machine's. limited tells which.
func MemoryLimit() (bytes int64, limited bool) {
	var info unix.Sysinfo_t
	all := int64(1 << 30) // a careful guess
	if unix.Sysinfo(&info) == nil {
		all = int64(info.Totalram) * int64(info.Unit)
	}
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return all, false
	}
	if limit := groupLimit(string(groups), "/sys/fs/cgroup", os.ReadFile); limit > 0 && limit < all {
		return limit, true
	}
	return all, false
}

// groupLimit finds the limit of the control groups that /proc/self/cgroup lists; 0 if there is none. A container often sees its own group as
// the root of the tree, under a path that does not exist there.
func groupLimit(groups, root string, read func(string) ([]byte, error)) (limit int64) {
	lower := func(n int64, err error) {
		if err == nil && n > 0 && (limit == 0 || n < limit) {
			limit = n
		}
	}
	for line := range strings.Lines(groups) {
		words := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(words) != 3 {
			continue
		}
		for dir := path.Clean("/" + words[2]); ; dir = path.Dir(dir) {
			switch {
			case words[1] == "memory": // version 1
				text, err := read(path.Join(root, "memory", dir, "memory.limit_in_bytes"))
				if err == nil {
					lower(strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64))
				}
			case words[1] == "" && words[0] == "0": // version 2; "max" is no limit
				text, err := read(path.Join(root, dir, "memory.max"))
				if err == nil {
					lower(strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64))
				}
			}
			if dir == "/" {
				break
			}
		}
	}
	return limit
}
