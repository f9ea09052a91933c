// Command driver loads message brokers the same way, to set figures side by side.
//
//	driver run   --peer KIND --addr HOST:PORT --do produce|consume|e2e|put ...   one load, JSON on stdout
//	driver matrix --root DIR --peers a,b,... --workloads w1,w2,... [--mode quick|full] [--ours-cmd COMMAND]
//	driver report --in RESULTS --doc DOCUMENT                                    tables of a document from the results
//	driver phys  --dir DIR [--gnet BINARY]                                       limits of the machine
//	driver threads --pid PID --seconds N                                         CPU by thread name, user and system
//	driver echo-server --addr HOST:PORT                                          bare epoll server of one thread
//
// Only loopback addresses are accepted.
package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: driver run|matrix|report|phys|threads|echo-server [flags]")
		os.Exit(2)
	}
	var err error
	switch os.Args[1] {
	case "run":
		err = cmdRun(os.Args[2:])
	case "matrix":
		err = cmdMatrix(os.Args[2:])
	case "report":
		err = cmdReport(os.Args[2:])
	case "phys":
		err = cmdPhys(os.Args[2:])
	case "threads":
		err = cmdThreads(os.Args[2:])
	case "echo-server":
		err = cmdEcho(os.Args[2:])
	default:
		err = fmt.Errorf("unknown command %q", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "driver:", err)
		os.Exit(1)
	}
}

func loopback(addr string) error {
	h, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(h); h != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%s is not a loopback address", addr)
	}
	return nil
}
