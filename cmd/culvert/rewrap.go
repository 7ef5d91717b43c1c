package main

import "github.com/spf13/cobra"

const rewrapLong = `Wraps every data key again that is under an older version of its KEK. Values are not touched. It is a job of
the server: what it does goes on when this command ends, and another server goes on when that one does.`

func rewrapCommand() *cobra.Command {
	return jobCommand("rewrap", "rewrap [ID]", "Wrap data keys again under the current version of their KEK", rewrapLong)
}

const rewrapRootLong = `Brings KEKs under the root key that is the current one of the server which is asked (root_key), with --all also
the environment's own keys. What the KEKs wrap is not touched. Every server needs both root keys at hand
meanwhile (other_root_keys), and should have the new one as root_key before: deploy/rootkey has the steps.

A KEK that was moved is opened under its new root key before it is stored. It is a job of the server, as that
of culvert keys rewrap is.`

func rewrapRootCommand() *cobra.Command {
	return jobCommand("rewrap_root", "rewrap-root [ID]", "Bring KEKs under the server's current root key", rewrapRootLong)
}

const reencryptLong = `Opens every value and seals it again under a fresh data key, wrapped by the current version of its KEK: all
versions of objects, tokens and client secrets that were written before. Versions keep their ids and times; their
etags change. culvert keys rewrap costs much less and leaves the data keys what they are: this is for when they
may have become known. It is a job of the server, as that of culvert keys rewrap is.`

func reencryptCommand() *cobra.Command {
	return jobCommand("reencrypt", "reencrypt [ID]", "Seal values again under fresh data keys", reencryptLong)
}
