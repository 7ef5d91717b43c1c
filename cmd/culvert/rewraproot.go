package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"culvert/keys/localkms"
)

const rewrapRootLong = `Brings KEKs under the root key that is the current one of the server which is asked (root_key), with --all also
the environment's own keys. What the KEKs wrap is not touched. Every server needs both root keys at hand
meanwhile (other_root_keys), and should have the new one as root_key before: deploy/rootkey has the steps.

A KEK that was moved is opened under its new root key before it is stored. It is a job of the server, as that
of culvert keys rewrap is.`

func rewrapRootCommand() *cobra.Command {
	var flags jobFlags
	cmd := &cobra.Command{
		Use:   "rewrap-root [ID]",
		Short: "Bring KEKs under the server's current root key",
		Long:  rewrapRootLong,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := flags.request(cmd, "rewrap_root", args)
			if err != nil {
				return err
			}
			return flags.run(cmd, body)
		},
	}
	flags.register(cmd)
	return cmd
}

const reencryptLong = `Opens every value and seals it again under a fresh data key, wrapped by the current version of its KEK: all
versions of objects, tokens and client secrets that were written before. Versions keep their ids and times; their
etags change. culvert keys rewrap costs much less and leaves the data keys what they are: this is for when they
may have become known. It is a job of the server, as that of culvert keys rewrap is.`

func reencryptCommand() *cobra.Command {
	var flags jobFlags
	cmd := &cobra.Command{
		Use:   "reencrypt [ID]",
		Short: "Seal values again under fresh data keys",
		Long:  reencryptLong,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := flags.request(cmd, "reencrypt", args)
			if err != nil {
				return err
			}
			return flags.run(cmd, body)
		},
	}
	flags.register(cmd)
	return cmd
}

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
				return err
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
