package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/cobra"
)

const verifyLong = `Opens every value, token, secret and keyset of the environment that is stored, and compares every other record with
its authentication code and with what it leads to. It is a job of the server, which wipes what it opens at once;
nothing is changed. It goes on when this command ends: --no-wait prints its id, --job waits for one that runs, or
reports one that has ended.

The report names the first hundred records that are not what was stored, or that a root key or a customer's key
does not open; the server's log names all. Each is a kind, the environment and an id: culvert keys show says whose a
KEK is, the metadata of an object whose that is. Records whose key was shredded are counted, and are no fault.

Exit code 0: nothing is wrong. 1: the report has something to say. 2: it could not be found out.`

// verifyFlags are those of culvert verify.
type verifyFlags struct {
	workFlags
	job string
}

func verifyCommand() *cobra.Command {
	var flags verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Open every record and prove that it is what was stored",
		Long:  verifyLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := flags.verify(cmd)
			var found *findingsError
			if err != nil && !errors.As(err, &found) {
				return &unknownError{err}
			}
			return err
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&flags.job, "job", "", "do not begin, but wait for the verification that is job `ID`")
	return cmd
}

// findingsError says that a verification found something.
type findingsError struct{ records uint64 }

func (e *findingsError) Error() string {
	return fmt.Sprintf("records that are not what was stored, or cannot be opened: %d", e.records)
}

// unknownError is why a verification says nothing of the store: a script must not take it for a finding.
type unknownError struct{ err error }

func (e *unknownError) Error() string { return e.err.Error() }
func (e *unknownError) Unwrap() error { return e.err }

func (f *verifyFlags) verify(cmd *cobra.Command) error {
	c, err := f.open()
	if err != nil {
		return err
	}
	j, raw, err := f.begin(cmd, c)
	if err != nil {
		return err
	}
	if f.noWait {
		text := j.ID
		if f.json {
			text = string(raw)
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), text)
		return err
	}
	raw, err = watch(cmd.Context(), c, j, progressOn(cmd.ErrOrStderr()))
	if err != nil {
		return err
	}
	if j, err = parseJob(raw); err != nil {
		return err
	}
	if err := printReport(cmd.OutOrStdout(), j, raw, f.json); err != nil {
		return err
	}
	switch {
	case j.State == "cancelled":
		return hinted(fmt.Errorf("job %s was cancelled", j.ID), "culvert verify begins anew")
	case j.State != "succeeded":
		return j.found()
	}
	return nil
}

// found is what a verification found, and what to do about it: a key that refuses is another matter than a record
// that somebody changed, and whoever reads the one must not look for the other.
func (j job) found() error {
	var err error = &findingsError{j.Failed}
	if j.Refused > 0 {
		err = hinted(err, "a root key or a customer's key refuses or does not answer: culvert keys show ID names the keys of a KEK, culvert keys cmk verify ID "+
			"says why a customer's does; with the key everything under it comes back")
	}
	if j.Refused < j.Failed {
		err = hinted(err, "somebody or something else than Culvert writes to etcd or to its disk: a restored backup brings back what it holds, "+
			"an object can be deleted and stored anew; culvert verify after that says whether all is well")
	}
	return err
}

// begin makes the job, or finds the one that is named.
func (f *verifyFlags) begin(cmd *cobra.Command, c *client) (job, json.RawMessage, error) {
	var raw json.RawMessage
	if f.job == "" {
		if err := c.post(cmd.Context(), jobsPath, map[string]any{"kind": "verify", "all": true, "rate": f.rate}, &raw); err != nil {
			return job{}, nil, err
		}
		j, err := parseJob(raw)
		return j, raw, err
	}
	if err := c.get(cmd.Context(), jobsPath+"/"+url.PathEscape(f.job), nil, &raw); err != nil {
		return job{}, nil, err
	}
	j, err := parseJob(raw)
	if err == nil && j.Kind != "verify" {
		err = hinted(usage("job %s is a %s", j.ID, j.Kind), "culvert keys job "+j.ID+" shows it")
	}
	return j, raw, err
}

// printReport prints what a verification came to.
func printReport(out io.Writer, j job, raw json.RawMessage, asJSON bool) error {
	if asJSON {
		_, err := fmt.Fprintf(out, "%s\n", raw)
		return err
	}
	for _, f := range j.Findings {
		if _, err := fmt.Fprintf(out, "%s  %s\n", f.Code, f.Record); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(out, j.text())
	return err
}
