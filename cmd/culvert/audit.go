package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"
)

const auditLong = `The audit log of a node is a directory of JSON lines, <data_dir>/audit. Every record is a leaf of a Merkle tree, and the
node signs checkpoints of it: verify proves that nothing was changed, removed, inserted or cut off since, and key prints
what it takes to check them, checkpoints what an auditor keeps. show, tail and export print records.`

func auditCommand() *cobra.Command {
	cmd := group("audit", "The audit log: show, export, and prove that it is whole", auditLong)
	cmd.AddCommand(auditShowCommand(), auditTailCommand(), auditExportCommand(), auditVerifyCommand(), auditKeyCommand(),
		auditCheckpointsCommand(), auditWitnessCommand(), auditStreamsCommand())
	return cmd
}

// auditDir is the log's directory, for who names it or the data directory that it is in.
func auditDir(path string) (string, error) {
	for _, dir := range []string{filepath.Join(path, "audit"), path} {
		info, err := os.Stat(dir)
		if err == nil && info.IsDir() {
			return dir, nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("audit log: %w", err)
		}
	}
	return "", hinted(fmt.Errorf("audit log: %s is not there", path), "name the data directory of a server, or its directory audit, with --dir")
}

// auditKey reads the public key of checkpoints: from a file that holds it, else from beside the log.
func auditKey(file, dir string) (note.Verifier, error) {
	path := file
	if path == "" {
		path = filepath.Join(dir, "key")
	}
	text, err := readPublic(path)
	if err != nil {
		return nil, hinted(fmt.Errorf("public key: %w", err), "name the file that holds it with --key; culvert audit key prints it")
	}
	key, err := note.NewVerifier(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, hinted(fmt.Errorf("%s does not hold a public key of checkpoints", path), "name the file that holds it with --key; culvert audit key prints it")
	}
	return key, nil
}
