package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"culvert/internal/audit"
)

const auditVerifyLong = `Reads audit logs whole and compares them with what was signed: any byte of a record changed, removed, inserted or put
elsewhere, and a suffix cut off, is found. It needs no server; the logs may be in use.

--dir names the data directory of a node, or its directory audit; give those of all nodes, and the checkpoints that each
has recorded of the others are compared too. A registered node whose log was not given is named.

--checkpoint names a file with checkpoints that were kept elsewhere: whoever brings a whole older state of a directory
back has the newest checkpoint in it as well, and only a later one tells. --key names a file with the public key, as
culvert audit key prints it. Without it the one beside the first log is taken, which whoever changed the log can have
changed too: keep the key, and a checkpoint now and then, where the nodes do not reach. Keys that it was handed over to
since are believed with it.

--witness-key names a file with the public key of a witness, culvert audit witness: a checkpoint that it signed, from a
file of --checkpoint, has to fit each log. So a log is found that was rewritten, with all checkpoints, by who has the
signing key.

Records that retention (audit.retention) has removed are told and are no fault, if the node's own signed word covers
them; what is missing beyond that is found.

Exit code 0: nothing is wrong, and every node's log was given. 1: something is wrong. 2: it could not be found out, or a
node's log was not given; --partial lets that pass.`

// auditVerifyFlags are those of culvert audit verify.
type auditVerifyFlags struct {
	dirs, checkpoints []string
	key, witness      string
	partial, json     bool
}

func auditVerifyCommand() *cobra.Command {
	var flags auditVerifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove that audit logs are what was signed",
		Long:  auditVerifyLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := flags.verify(cmd)
			var found *logFindingsError
			if err != nil && !errors.As(err, &found) {
				return &unknownError{err}
			}
			return err
		},
	}
	cmd.Flags().StringArrayVar(&flags.dirs, "dir", []string{defaults().DataDir}, "data `directory` of a node, or its directory audit; may be given again")
	cmd.Flags().StringArrayVar(&flags.checkpoints, "checkpoint", nil, "`file` with checkpoints that were kept elsewhere; may be given again")
	cmd.Flags().StringVar(&flags.key, "key", "", "`file` with the public key; default the one beside the first log")
	cmd.Flags().StringVar(&flags.witness, "witness-key", "", "`file` with the public key of a witness, which has to have signed a checkpoint of each log")
	cmd.Flags().BoolVar(&flags.partial, "partial", false, "logs of registered nodes may be missing")
	cmd.Flags().BoolVar(&flags.json, "json", false, "print the reports as JSON lines")
	return cmd
}

// logFindingsError says that something is wrong with a log.
type logFindingsError struct{ findings int }

func (e *logFindingsError) Error() string {
	return fmt.Sprintf("the audit log is not what was signed: %d findings", e.findings)
}

func (f *auditVerifyFlags) verify(cmd *cobra.Command) error {
	var dirs []string
	for _, path := range f.dirs {
		dir, err := auditDir(path)
		if err != nil {
			return err
		}
		dirs = append(dirs, dir)
	}
	texts, err := f.texts()
	if err != nil {
		return err
	}
	keys, err := auditKeys(f.key, dirs, slices.Concat(slices.Collect(maps.Values(texts))...))
	if err != nil {
		return err
	}
	kept, err := f.kept(dirs, keys, texts)
	if err != nil {
		return err
	}
	var witness note.Verifier
	if f.witness != "" {
		if witness, err = auditKey(f.witness, ""); err != nil {
			return err
		}
	}
	reports := make([]audit.Report, len(dirs))
	findings := 0
	for i, dir := range dirs {
		if reports[i], err = f.one(cmd, dir, audit.VerifyConfig{Keys: keys, Witness: witness}, kept); err != nil {
			return err
		}
		findings += len(reports[i].Findings) + reports[i].More
	}
	absent := absentNodes(reports, kept)
	if !f.json {
		f.remark(cmd.OutOrStdout(), absent)
	}
	if findings > 0 {
		return hinted(&logFindingsError{findings}, "compare with a copy of the log; "+
			"who had access to the disk of the node since the last checkpoint that fits")
	}
	if len(absent) > 0 && !f.partial {
		return hinted(fmt.Errorf("logs of registered nodes that were not given: %d", len(absent)), "name their directories with --dir, or say --partial")
	}
	return nil
}

// texts are the signed texts in files, by file.
func (f *auditVerifyFlags) texts() (map[string][][]byte, error) {
	all := map[string][][]byte{}
	for _, path := range f.checkpoints {
		text, err := readPublic(path)
		if err != nil {
			return nil, fmt.Errorf("checkpoint: %w", err)
		}
		all[path] = audit.SplitCheckpoints(text)
	}
	return all, nil
}

// kept are the checkpoints from elsewhere, by node: of files, and of what the logs recorded of each other.
func (f *auditVerifyFlags) kept(dirs []string, keys *audit.Keys, texts map[string][][]byte) (map[string][]audit.Signed, error) {
	kept := map[string][]audit.Signed{}
	for _, path := range slices.Sorted(maps.Keys(texts)) {
		for _, signed := range texts[path] {
			if isKeyChange(signed) {
				continue
			}
			c, err := audit.OpenCheckpoint(signed, keys)
			if err != nil {
				return nil, hinted(fmt.Errorf("%s holds what is no checkpoint signed by this key", path), "name the file with the key by --key")
			}
			kept[c.Node] = append(kept[c.Node], audit.Signed{From: path, Note: signed})
		}
	}
	for _, dir := range dirs {
		seen, err := audit.SeenCheckpoints(dir)
		if err != nil {
			return nil, fmt.Errorf("audit log: %w", err)
		}
		for node, all := range seen {
			kept[node] = append(kept[node], all...)
		}
	}
	return kept, nil
}

// one verifies one log and prints what came of it.
func (f *auditVerifyFlags) one(cmd *cobra.Command, dir string, config audit.VerifyConfig, kept map[string][]audit.Signed) (audit.Report, error) {
	node, err := audit.NodeOf(dir)
	if err != nil {
		return audit.Report{}, fmt.Errorf("audit log: %w", err)
	}
	config.Dir, config.Checkpoints, config.Progress = dir, kept[node], auditProgress(cmd.ErrOrStderr(), dir)
	r, err := audit.Verify(config)
	if err != nil {
		return r, fmt.Errorf("audit log: %w", err)
	}
	if f.json {
		return r, json.NewEncoder(cmd.OutOrStdout()).Encode(r)
	}
	return r, printAudit(cmd.OutOrStdout(), dir, r)
}

// auditProgress says how far a long log is, every few seconds: also into a file, where it is a line each.
func auditProgress(out io.Writer, dir string) func(read, all int64) {
	said := time.Now()
	return func(read, all int64) {
		if time.Since(said) < 5*time.Second || all == 0 {
			return
		}
		said = time.Now()
		_, _ = fmt.Fprintf(out, "%s: %d of %d MiB\n", dir, read>>20, all>>20)
	}
}

func printAudit(out io.Writer, dir string, r audit.Report) error {
	for _, found := range r.Findings {
		if _, err := fmt.Fprintf(out, "%s  %s  %s\n", r.Node, found.Code, found.Text); err != nil {
			return err
		}
	}
	if r.More > 0 {
		_, _ = fmt.Fprintf(out, "%s  and %d findings more\n", r.Node, r.More)
	}
	for _, text := range r.Notes {
		_, _ = fmt.Fprintf(out, "%s  note  %s\n", r.Node, text)
	}
	proven := "none of them proven"
	if r.Proven > 0 {
		proven = fmt.Sprintf("%d proven by %d checkpoints, the newest of %s", r.Proven, r.Checkpoints, r.ProvenAt.Format(time.RFC3339))
	}
	_, err := fmt.Fprintf(out, "%s  %s  %d records up to %d, %s, %d findings\n", r.Node, dir, r.Records, r.Size, proven, len(r.Findings)+r.More)
	return err
}

// absentNodes are those that somebody knows of and whose log was not given.
func absentNodes(reports []audit.Report, kept map[string][]audit.Signed) []string {
	given := map[string]bool{}
	for _, r := range reports {
		given[r.Node] = true
	}
	var absent []string
	add := func(node string) {
		if !given[node] {
			given[node] = true
			absent = append(absent, node)
		}
	}
	for _, r := range reports {
		for _, node := range r.Nodes {
			add(node)
		}
	}
	for node := range kept {
		add(node)
	}
	slices.Sort(absent)
	return absent
}

func (f *auditVerifyFlags) remark(out io.Writer, absent []string) {
	for _, node := range absent {
		_, _ = fmt.Fprintf(out, "%s  its log was not given\n", node)
	}
	if f.key == "" {
		_, _ = fmt.Fprintln(out, "the public key is the one beside the log: with --key it is one that who changed the log could not change")
	}
}
