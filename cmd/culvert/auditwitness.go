package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"culvert/internal/audit"
)

const auditWitnessLong = `Asks a server for the newest checkpoint of its audit log, has it prove that the log continues the last checkpoint in
--file, signs the new one as well with the key in --witness-key, and appends it to the file. Run it now and then where
the nodes do not reach: whoever steals the signing key of the nodes and rewrites a log cannot make it continue what stands
in this file, nor sign for this witness. Use a file for each node, and the address of the node itself.

--key names a file with the public key of the nodes (culvert audit key); it is followed when they change it. --new-key
makes the witness's key, into a file that must not be there yet, with mode 0600, prints its public half and does nothing
else: give that to auditors, who say culvert audit verify --checkpoint FILE --witness-key PUBLIC.

Exit code 0: the log continues what is in the file. 1: it does not. 2: it could not be found out.`

// auditWitnessFlags are those of culvert audit witness.
type auditWitnessFlags struct {
	connection
	file, key, private string
	newKey             bool
}

func auditWitnessCommand() *cobra.Command {
	var flags auditWitnessFlags
	cmd := &cobra.Command{
		Use:   "witness",
		Short: "Check that a node's log continues what it signed before, and sign for it",
		Long:  auditWitnessLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags.private == "" {
				return hinted(usage("%s needs --witness-key", cmd.CommandPath()), "--new-key --witness-key FILE makes one")
			}
			if flags.newKey {
				return newWitnessKey(cmd.OutOrStdout(), flags.private)
			}
			if flags.file == "" || flags.key == "" {
				return hinted(usage("%s needs --file and --key", cmd.CommandPath()), "culvert audit key prints the key")
			}
			err := flags.witness(cmd.Context(), cmd.OutOrStdout())
			var found *logFindingsError
			if err != nil && !errors.As(err, &found) {
				return &unknownError{err}
			}
			return err
		},
	}
	flags.connection.register(cmd.Flags())
	cmd.Flags().StringVar(&flags.file, "file", "", "`file` of checkpoints, made if it is missing")
	cmd.Flags().StringVar(&flags.key, "key", "", "`file` with the public key of the nodes")
	cmd.Flags().StringVar(&flags.private, "witness-key", "", "`file` with the key of this witness")
	cmd.Flags().BoolVar(&flags.newKey, "new-key", false, "make the key of this witness, and nothing else")
	return cmd
}

// newWitnessKey makes the key of a witness. It signs nothing but what its owner lets it, on a machine that is no node's.
func newWitnessKey(out io.Writer, path string) error {
	private, public, err := note.GenerateKey(rand.Reader, "culvert-witness")
	if err != nil {
		return fmt.Errorf("generate the key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return hinted(fmt.Errorf("key of the witness: %w", err), "name a file that is not there yet with --witness-key")
	}
	_, err = io.WriteString(f, private+"\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("key of the witness: %w", err)
	}
	_, err = fmt.Fprintln(out, public)
	return err
}

func (f *auditWitnessFlags) witness(ctx context.Context, out io.Writer) error {
	text, err := readPrivate(f.private)
	if err != nil {
		return fmt.Errorf("key of the witness: %w", err)
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(text)))
	if err != nil {
		return hinted(fmt.Errorf("%s does not hold the key of a witness", f.private), "--new-key makes one")
	}
	key, err := auditKey(f.key, "")
	if err != nil {
		return err
	}
	c, err := f.open()
	if err != nil {
		return err
	}
	keys := audit.NewKeys(key)
	newest, err := f.newest(ctx, c, keys)
	if err != nil {
		return err
	}
	last, err := lastWitnessed(f.file, keys)
	if err != nil {
		return err
	}
	if last != nil {
		same, err := f.continues(ctx, c, last, newest)
		if err != nil {
			return err
		}
		if same {
			_, err = fmt.Fprintf(out, "%s  %d records, nothing new\n", newest.Node, newest.Size)
			return err
		}
	}
	n, err := note.Open(newest.note, keys)
	if err != nil {
		return audit.ErrCheckpoint
	}
	signed, err := note.Sign(n, signer)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	if err := appendFile(f.file, signed); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s  %d records\n", newest.Node, newest.Size)
	return err
}

// witnessed is a checkpoint and its text.
type witnessed struct {
	audit.Checkpoint
	note []byte
}

// consistencyProof is one as the API answers it.
type consistencyProof struct {
	To         int64    `json:"to"`
	Hashes     []string `json:"hashes"`
	Checkpoint string   `json:"checkpoint"`
}

const consistencyPath = "/culvert/v1/audit/proofs/consistency"

// newest is the newest checkpoint of the node that answers, under the keys that it leads to.
func (f *auditWitnessFlags) newest(ctx context.Context, c *client, keys *audit.Keys) (w witnessed, err error) {
	var all struct {
		Changes []string `json:"key_changes"`
	}
	if err := c.get(ctx, "/culvert/v1/audit/checkpoints", nil, &all); err != nil {
		return w, err
	}
	for _, signed := range all.Changes {
		keys.Follow([][]byte{[]byte(signed)})
	}
	var p consistencyProof
	if err := c.get(ctx, consistencyPath, url.Values{"from": {"1"}}, &p); err != nil {
		return w, err
	}
	w.note = []byte(p.Checkpoint)
	if w.Checkpoint, err = audit.OpenCheckpoint(w.note, keys); err != nil || keys.Former(w.Checkpoint) {
		return w, hinted(&logFindingsError{1}, "the newest checkpoint of the server is not signed by the key in --key, nor by one that it was handed over to")
	}
	return w, nil
}

// continues has the server prove that its log goes on from the last checkpoint; same tells that it is that.
func (f *auditWitnessFlags) continues(ctx context.Context, c *client, last *witnessed, newest witnessed) (same bool, err error) {
	forked := hinted(&logFindingsError{1}, "compare with culvert audit verify --checkpoint "+f.file+": who had the signing key")
	switch {
	case last.Node != newest.Node:
		return false, hinted(fmt.Errorf("%s is of %s, and the server is %s", f.file, last.Node, newest.Node), "use a file for each node")
	case last.Size > newest.Size, last.Size == newest.Size && last.Root != newest.Root:
		return false, forked
	case last.Size == newest.Size:
		return true, nil
	}
	var p consistencyProof
	if err := c.get(ctx, consistencyPath, url.Values{"from": {strconv.FormatUint(last.Size, 10)}, "to": {strconv.FormatUint(newest.Size, 10)}}, &p); err != nil {
		return false, err
	}
	proof := make([]tlog.Hash, len(p.Hashes))
	for i, text := range p.Hashes {
		if proof[i], err = tlog.ParseHash(text); err != nil {
			return false, fmt.Errorf("decode the answer: %w", err)
		}
	}
	if tlog.CheckTree(proof, int64(newest.Size), newest.Root, int64(last.Size), last.Root) != nil {
		return false, forked
	}
	return false, nil
}

// lastWitnessed is the last checkpoint of a file, nil if there is none.
func lastWitnessed(path string, keys *audit.Keys) (*witnessed, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(text) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoints: %w", err)
	}
	all := audit.SplitCheckpoints(text)
	w := &witnessed{note: all[len(all)-1]}
	if w.Checkpoint, err = audit.OpenCheckpoint(w.note, keys); err != nil {
		return nil, hinted(fmt.Errorf("%s does not end with a checkpoint signed by the key in --key", path), "--key names the key that the file was begun with")
	}
	return w, nil
}

// appendFile makes the end of a file durable.
func appendFile(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("checkpoints: %w", err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("checkpoints: %w", err)
	}
	return nil
}
