package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Broker  string `json:"broker,omitempty"`
}

func newVersionCommand(a *app) *cobra.Command {
	var (
		output string
		ask    bool
	)
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and the Go version",
		Example: `  metaq version
  metaq version -o json
  metaq version --ask -b queue1:8123    # the broker's version too`,
		Args: wantArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output, "text", "json"); err != nil {
				return err
			}
			info := readVersion()
			if ask {
				ctx, cancel := a.withTimeout(cmd.Context(), askTimeout)
				defer cancel()
				conn, err := a.dial(ctx)
				if err != nil {
					return err
				}
				defer conn.Close()
				if info.Broker, err = conn.Version(ctx); err != nil {
					return fmt.Errorf("version of %s: %w", a.broker, err)
				}
			}
			if output == "json" {
				return json.NewEncoder(a.out).Encode(info)
			}
			fmt.Fprintln(a.out, versionText())
			if ask {
				fmt.Fprintf(a.out, "broker %s at %s\n", info.Broker, a.broker)
			}
			return nil
		},
	}
	addOutputFlag(cmd, &output, "text", "json")
	cmd.Flags().BoolVar(&ask, "ask", false, "ask the broker for its version too")
	return asksNobody(cmd)
}

// releaseVersion is the version the linker set, in this package or in the broker's.
func releaseVersion() string {
	if v := brokerVersion(); version == "dev" && v != "" {
		return v
	}
	return version
}

func readVersion() versionInfo {
	info := versionInfo{
		Version: releaseVersion(),
		Commit:  "unknown",
		Go:      runtime.Version(),
		OS:      runtime.GOOS,
		Arch:    runtime.GOARCH,
	}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return info
	}
	changed := false
	for _, s := range build.Settings {
		switch s.Key {
		case "vcs.revision":
			info.Commit = s.Value
		case "vcs.modified":
			changed = s.Value == "true"
		}
	}
	if changed {
		info.Commit += " with changes"
	}
	return info
}

func versionText() string {
	v := readVersion()
	return fmt.Sprintf("metaq %s\ncommit %s\n%s %s/%s", v.Version, v.Commit, v.Go, v.OS, v.Arch)
}
