package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"
)

func physEcho(add func(physRow, error) error, rows *[]physRow, gnet string, port, rounds int, sec float64, out string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	servers := []struct{ name, bin, sub string }{{"own epoll loop, one thread", self, "echo-server"}}
	if gnet != "" {
		servers = append(servers, struct{ name, bin, sub string }{"gnet v2, one loop", gnet, ""}, struct{ name, bin, sub string }{"gnet v2, two loops", gnet, "2"})
	}
	servers = append(servers, struct{ name, bin, sub string }{"net package, goroutine a connection", self, "echo-server/net"})
	for i, s := range servers {
		addr := fmt.Sprintf("127.0.0.1:%d", port+i)
		a := []string{"--addr", addr}
		switch {
		case s.sub == "2":
			a = append(a, "--loops", "2")
		case s.sub == "echo-server/net":
			a = append([]string{"echo-server", "--net"}, a...)
		case s.sub != "":
			a = append([]string{s.sub}, a...)
		}
		cmd := exec.Command(s.bin, a...)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		for j := 0; j < 100; j++ {
			if k, err := net.Dial("tcp", addr); err == nil {
				k.Close()
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		for _, size := range []int{100, 1024, 16384} {
			for _, w := range []int{1, 64} {
				var p50, p99, cpu []float64
				r, err := spread(fmt.Sprintf("echo %s: %d B, 16 connections, window %d", s.name, size, w), "msgs/s", "", rounds, func() (float64, error) {
					sm := sample(cmd.Process.Pid)
					st, err := rawProduce(context.Background(), addr, echoCodec{}, produceCfg{Parts: 1, Conns: 16, Window: w, Size: size, Duration: time.Duration(sec * 1e9)})
					c, _ := sm.end()
					if err != nil {
						return 0, err
					}
					p50, p99 = append(p50, st.Lat.quantile(.5)), append(p99, st.Lat.quantile(.99))
					cpu = append(cpu, c/float64(st.Msgs)*1e6)
					return float64(st.Msgs) / st.Elapsed.Seconds(), nil
				})
				if err != nil {
					cmd.Process.Kill()
					return err
				}
				r.Note = fmt.Sprintf("p50 %.0f us, p99 %.0f us, server CPU %.2f s/M", median(p50), median(p99), median(cpu))
				*rows = append(*rows, r)
			}
		}
		cmd.Process.Kill()
		cmd.Wait()
	}
	return physPrint(*rows, out)
}
