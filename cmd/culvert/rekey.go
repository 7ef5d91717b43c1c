package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

const rekeyLong = `Moves a client's data key to another key context: reads its encrypted_keys from FILE, or from standard input if
that is -, and prints those under the other key context. The data key stays the same and is not printed. The old
encrypted_keys go on working until their key context is shredded.`

// blobLimit is above the length of any encrypted_keys.
const blobLimit = 4096

func rekeyCommand() *cobra.Command {
	var to connection
	var items []string
	cmd := &cobra.Command{
		Use:   "rekey FILE",
		Short: "Move a client's data key to another key context",
		Long:  rekeyLong,
		Args:  oneArgument("the file with the encrypted_keys, or -"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(items) == 0 {
				return hinted(usage("%s needs the other key context", cmd.CommandPath()), "name each of its items with --context name=value")
			}
			context := map[string]string{}
			for _, item := range items {
				name, value, err := parseItem(item)
				if err != nil {
					return err
				}
				if _, twice := context[name]; twice {
					return hinted(usage("--context %s is given twice", name), "a key context has one value for each name")
				}
				context[name] = value
			}
			blob, err := readBlob(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			c, err := to.open()
			if err != nil {
				return err
			}
			// The answer has the data key too, which is no business of this command.
			var answer struct {
				EncryptedKeys string `json:"encrypted_keys"`
			}
			if err := c.post(cmd.Context(), "/vault/v1/keys/rekey", map[string]any{"context": context, "encrypted_keys": blob}, &answer); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), answer.EncryptedKeys)
			return err
		},
	}
	to.register(cmd.Flags())
	cmd.Flags().StringArrayVar(&items, "context", nil, "an item of the other key context, `name=value`; repeatable")
	return cmd
}

// readBlob reads encrypted_keys, which are one line.
func readBlob(in io.Reader, file string) (string, error) {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", hinted(err, "name the file with the encrypted_keys, or - for standard input")
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, blobLimit))
	if err != nil {
		return "", fmt.Errorf("read encrypted_keys: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
