// Command judge judges a run directory again: it reads the history, writes verdict.json and prints what it found.
package main

import (
	"fmt"
	"os"

	"github.com/metaq/metaq/test/history"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: judge DIR: judges the history of a run directory")
		os.Exit(2)
	}
	v, err := history.JudgeDir(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(2)
	}
	fmt.Printf("%s, seed %d: %v\n", v.Test, v.Seed, v)
	if !v.Good {
		os.Exit(1)
	}
}
