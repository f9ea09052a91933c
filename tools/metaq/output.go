package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// addOutputFlag gives cmd the flag -o with the given formats; the first is the default.
func addOutputFlag(cmd *cobra.Command, target *string, formats ...string) {
	cmd.Flags().StringVarP(target, "output", "o", formats[0], "`FORMAT` of the data: "+strings.Join(formats, ", "))
	// The name was registered in the line above, which is the only way this can fail.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

func checkOutput(output string, formats ...string) error {
	if !slices.Contains(formats, output) {
		return usagef("-o %s: the formats are %s", output, strings.Join(formats, ", "))
	}
	return nil
}
