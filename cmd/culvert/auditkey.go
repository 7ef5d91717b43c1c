package main

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"culvert/internal/audit"
)

const auditKeyLong = `Prints the public key that checkpoints are verified with (golang.org/x/mod/sumdb/note), as the node in --dir wrote it
beside its audit log. Every node has the same. Keep it where the nodes do not reach: culvert audit verify --key.`

func auditKeyCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Print the public key of checkpoints, or have another one made",
		Long:  auditKeyLong,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			log, err := auditDir(dir)
			if err != nil {
				return err
			}
			if _, err := auditKey("", log); err != nil {
				return err
			}
			text, err := readPublic(log + "/key")
			if err != nil {
				return fmt.Errorf("public key: %w", err)
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", defaults().DataDir, "data `directory` of a node, or its directory audit")
	cmd.AddCommand(rotateAuditKeyCommand())
	return cmd
}

const rotateAuditKeyLong = `Has the servers make another key to sign checkpoints with, and prints its public half. Every node takes it within
seconds: its log gets a record of the change, signed by the old key and by the new one, and a copy of it stands beside
the log. So whoever has the old public key goes on verifying with it; what the old key signs over records behind the
change is found. Take the new public key to where you keep it.

A key that may have been stolen has signed what its thief wanted until then: checkpoints that were kept elsewhere, and
those of a witness, tell.`

func rotateAuditKeyCommand() *cobra.Command {
	var flags connection
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Sign with another key from now on",
		Long:  rotateAuditKeyLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.open()
			if err != nil {
				return err
			}
			var made struct {
				Key string `json:"public_key"`
			}
			if err := c.post(cmd.Context(), "/culvert/v1/audit/key/rotate", nil, &made); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), made.Key)
			return err
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

const auditCheckpointsLong = `Prints the newest checkpoint of every registered node, and the changes of the signing key, as a server has them from the
store: keep them in a file where the servers do not reach, and give it to culvert audit verify --checkpoint. With --node
it prints the last one of each day of that node, for 400 days.`

func auditCheckpointsCommand() *cobra.Command {
	var flags connection
	var node string
	cmd := &cobra.Command{
		Use:   "checkpoints",
		Short: "Print signed checkpoints, for an auditor to keep",
		Long:  auditCheckpointsLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.open()
			if err != nil {
				return err
			}
			var all struct {
				Changes []string `json:"key_changes"`
				Nodes   []struct {
					Node        string   `json:"node"`
					Checkpoints []string `json:"checkpoints"`
				} `json:"nodes"`
			}
			query := url.Values{}
			if node != "" {
				query.Set("node", node)
			}
			if err := c.get(cmd.Context(), "/culvert/v1/audit/checkpoints", query, &all); err != nil {
				return err
			}
			texts := all.Changes
			damaged := 0
			for _, n := range all.Nodes {
				for _, signed := range n.Checkpoints {
					if signed == "" {
						damaged++
					}
					texts = append(texts, signed)
				}
			}
			for _, text := range texts {
				if _, err := fmt.Fprint(cmd.OutOrStdout(), text); err != nil {
					return err
				}
			}
			if damaged > 0 {
				return hinted(fmt.Errorf("checkpoints in the store that are not what was stored: %d", damaged),
					"verify the logs of all nodes, which have recorded each other's: culvert audit verify")
			}
			return nil
		},
	}
	flags.register(cmd.Flags())
	cmd.Flags().StringVar(&node, "node", "", "those of the `node` with this name alone, one of each day")
	return cmd
}

// auditKeys are what is believed: the key at hand, and those that it was handed over to or by, as files and logs say.
func auditKeys(file string, dirs []string, texts [][]byte) (*audit.Keys, error) {
	key, err := auditKey(file, dirs[0])
	if err != nil {
		return nil, err
	}
	changes := texts
	for _, dir := range dirs {
		of, err := audit.KeyChanges(dir)
		if err != nil {
			return nil, fmt.Errorf("audit log: %w", err)
		}
		changes = append(changes, of...)
	}
	keys := audit.NewKeys(key)
	keys.Follow(changes)
	return keys, nil
}

// isKeyChange tells a change of the key from a checkpoint.
func isKeyChange(signed []byte) bool {
	_, err := audit.OpenKeyChange(signed)
	return !errors.Is(err, audit.ErrKeyChange)
}
