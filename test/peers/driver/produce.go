package main

import "fmt"

// w1 produces without an fsync a message, small to large messages, one at a time and many in flight. The bare echo
// stands beside it: what the network part of a broker in Go could do at most.
func (m *matrix) w1() error {
	var up []*target
	for _, size := range []int{100, 1024, 16384} {
		if up == nil || m.mode == "full" {
			up = m.group("os", 16)
		}
		for _, w := range []int{1, 64} {
			warm := m.dur
			if w == 1 {
				warm = 3 * m.dur / 2
			}
			m.interleave(up, fmt.Sprintf("W1 %dB w%d", size, w), produceCfg{Parts: 16, Conns: 16, Window: w, Size: size}, warm)
		}
		if m.mode == "full" {
			m.stopAll()
		}
	}
	return nil
}

// w2 produces with an fsync before the answer.
func (m *matrix) w2() error {
	o := m.only(noVariant)
	up := o.group("fsync", 1, 16)
	for _, parts := range []int{1, 16} {
		for _, n := range []int{16, 64} {
			m.interleave(up, fmt.Sprintf("W2 %dpart %dprod", parts, n), produceCfg{Parts: parts, Conns: n, Window: 1, Size: 1024}, m.dur)
		}
	}
	return nil
}
