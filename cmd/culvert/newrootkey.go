package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"culvert/keys/localkms"
)

const newRootKeyLong = `Makes a file with a new root key of provider local, mode 0600, where there is none: for a store that is to move
to it. culvert init makes the root key of a new store itself.`

func newRootKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "new-root-key FILE",
		Short: "Make a root key file, for a store that moves to it",
		Long:  newRootKeyLong,
		Args:  oneArgument("the file to make"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := disableCoreDumps(); err != nil {
				return err
			}
			err := localkms.Create(args[0])
			if errors.Is(err, fs.ErrExist) {
				return hinted(fmt.Errorf("there is a file %s already", args[0]), "a root key is never overwritten: name another file")
			}
			if err != nil {
				return hinted(err, "name a file in a directory that is there, and that this user may write to")
			}
			key, err := localkms.Open(args[0])
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "Made root key %s in %s: keep a copy elsewhere, nothing under it can be read without it\n", key.URI(), args[0])
			return nil
		},
	}
}
