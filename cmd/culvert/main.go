// Command culvert is the whole program: one binary that wires the packages together and gives the
// operator verbs. It holds no logic of its own beyond that.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker (see the Makefile); a plain `go build` leaves it as it is.
var version = "unknown"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main without the process: it returns the exit code. 0 is success, 1 a failure, 2 a mistake in
// the command line or the settings, or for culvert verify that it could not find out, 141 that nobody reads the
// output any more, which needs no words.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Without this Go ends the process when whoever reads the log is gone (os/signal, SIGPIPE).
	signal.Ignore(syscall.SIGPIPE)
	// The first signal asks; from then on signals act as they do by default, so the second one ends the
	// process at once.
	context.AfterFunc(ctx, stop)

	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(outlet{stdout})
	root.SetErr(stderr)
	return report(stderr, root.ExecuteContext(ctx))
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "culvert",
		Short: "A self-hosted secrets vault and OAuth token broker that speaks the WorkOS wire contract",
		Args:  cobra.ArbitraryArgs,
		// Errors are printed once, by report.
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	root.Version = version
	root.SetVersionTemplate("culvert {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(helpCommand())
	root.AddCommand(
		devCommand(), initCommand(), serverCommand(), keysCommand(), apiKeysCommand(), accessCommand(), environmentsCommand(), webhooksCommand(), connectorsCommand(), attemptsCommand(), auditCommand(), verifyCommand(), usageCommand(), newRootKeyCommand(), versionCommand(),
	)
	return root
}

// helpCommand replaces cobra's, which calls help about nothing a success and knows commands only.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command | settings]",
		Short: "Help about a command, or about all settings",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "settings" {
				return settingsHelp(cmd.OutOrStdout())
			}
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(cmd.Root(), strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

const settingsLong = `Every setting of culvert server, init and dev. Settings come from the file named by --config, then from
--set in their order, and for dev then from --addr and --data-dir; the later one wins. In the file (YAML)
a dot begins a section:

  vault:
    versions_kept: 20

and after --set it is a dot: --set vault.versions_kept=20. A list after --set has commas. A setting that
is not in this list is an error, and secrets are never settings, only files that settings name.

`

func settingsHelp(w io.Writer) error {
	text, err := manual()
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, settingsLong+text)
	return err
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "culvert", version)
			return err
		},
	}
}

func unknownCommand(root *cobra.Command, name string) error {
	var known []string
	for _, c := range root.Commands() {
		known = append(known, c.Name())
	}
	err := usage("unknown command %q", name)
	if near := nearest(name, known); near != "" {
		return hinted(err, "did you mean "+root.CommandPath()+" "+near+"?")
	}
	return hinted(err, root.CommandPath()+" --help lists the commands")
}

// noArguments refuses arguments.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return hinted(usage("%s takes no arguments", cmd.CommandPath()), cmd.CommandPath()+" --help lists its flags")
}

// oneArgument refuses any other number of arguments.
func oneArgument(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return hinted(usage("%s takes one argument, %s", cmd.CommandPath(), what), cmd.CommandPath()+" --help lists its flags")
	}
}

// flagError turns what the flag parser says into this program's form of an error.
func flagError(cmd *cobra.Command, err error) error {
	wrong := usage("%v", err)
	if strings.Contains(err.Error(), ": time: ") {
		return hinted(wrong, "a duration is written such as 30s, 90m or 720h; there are no days")
	}
	name, ok := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !ok {
		return hinted(wrong, cmd.CommandPath()+" --help lists the flags")
	}
	if near := nearest(name, flagNames(cmd)); near != "" {
		return hinted(wrong, "did you mean --"+near+"?")
	}
	return hinted(wrong, cmd.CommandPath()+" --help lists the flags")
}
