package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
)

const shredLong = `Destroys, for good, every KEK whose key context has the item, and with them whatever stands under it. From the
moment the job is made nobody reads it any more. The item has to be typed once more, after the question or
with --confirm; --dry-run counts and destroys nothing.`

func shredCommand() *cobra.Command {
	var flags jobFlags
	var confirm string
	cmd := &cobra.Command{
		Use:   "shred --context name=value",
		Short: "Destroy the keys of everything under a context item",
		Long:  shredLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("context") {
				return hinted(usage("%s is about --context", cmd.CommandPath()), "name the item with --context name=value; culvert keys list shows them")
			}
			body, err := flags.request(cmd, "shred", nil)
			if err != nil {
				return err
			}
			if !flags.dryRun {
				if confirm == "" {
					if confirm, err = ask(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr(), flags.item); err != nil {
						return err
					}
				}
				if confirm != flags.item {
					return hinted(usage("that is not the context item: nothing was destroyed"), "repeat --context letter for letter")
				}
				body["confirm"] = confirm
			}
			return flags.run(cmd, body)
		},
	}
	flags.registerItem(cmd)
	cmd.Flags().StringVar(&confirm, "confirm", "", "the context item once more, `name=value`")
	return cmd
}

// ask has a person type the item. Where there is nobody to ask, --confirm is needed.
func ask(ctx context.Context, in io.Reader, out io.Writer, item string) (string, error) {
	file := terminal(in)
	if file == nil {
		return "", hinted(usage("a shred has to be confirmed"), "repeat the context item with --confirm")
	}
	_, _ = fmt.Fprintf(out, "Everything under %s becomes unreadable, for good. Type the item to go on: ", item)
	type answer struct {
		line string
		err  error
	}
	answers := make(chan answer, 1)
	// A read of a terminal cannot be interrupted: whoever gives up leaves it to the end of the process.
	go func() {
		line, err := bufio.NewReader(file).ReadString('\n')
		answers <- answer{line, err}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return "", hinted(fmt.Errorf("read the confirmation: %w", a.err), "nothing was destroyed; type the item, or repeat it with --confirm")
		}
		return strings.TrimSuffix(strings.TrimSuffix(a.line, "\n"), "\r"), nil
	case <-ctx.Done():
		_, _ = fmt.Fprintln(out)
		return "", hinted(errors.New("interrupted"), "nothing was destroyed")
	}
}

// terminal is what a person sits at, or nil. The null device is a character device too, and nobody is there.
func terminal(stream any) *os.File {
	file, ok := stream.(*os.File)
	if !ok || !isatty.IsTerminal(file.Fd()) {
		return nil
	}
	return file
}
