package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// jobsPath is where the API has jobs.
const jobsPath = "/culvert/v1/jobs"

// watchInterval is how often a command that waits for a job looks at it.
const watchInterval = 500 * time.Millisecond

// job is one as the API answers it.
type job struct {
	ID           string     `json:"id"`
	Kind         string     `json:"kind"`
	State        string     `json:"state"`
	Reason       string     `json:"reason"`
	KeyID        string     `json:"key_id"`
	ContextName  *string    `json:"context_name"`
	ContextValue *string    `json:"context_value"`
	DryRun       bool       `json:"dry_run"`
	Total        uint64     `json:"total"`
	Done         uint64     `json:"done"`
	Changed      uint64     `json:"changed"`
	Failed       uint64     `json:"failed"`
	Unreadable   uint64     `json:"unreadable"`
	Opened       uint64     `json:"opened"`
	Shredded     uint64     `json:"shredded"`
	Refused      uint64     `json:"refused"`
	Findings     []finding  `json:"findings"`
	CachesUntil  *time.Time `json:"caches_until"`
	HistoryUntil *time.Time `json:"history_until"`
	Backups      *time.Time `json:"backups_before"`
	CreatedAt    time.Time  `json:"created_at"`
	EndedAt      *time.Time `json:"ended_at"`
}

// finding is a record that a verification found fault with.
type finding struct {
	Record string `json:"record"`
	Code   string `json:"code"`
}

// workFlags are shared by the commands whose work is done by a job.
type workFlags struct {
	apiFlags
	noWait bool
	rate   int
}

func (f *workFlags) register(cmd *cobra.Command) {
	f.apiFlags.register(cmd)
	cmd.Flags().BoolVar(&f.noWait, "no-wait", false, "do not wait for the end of the job")
	cmd.Flags().IntVar(&f.rate, "rate", 0, "at most so many records a second; default as many as it can")
}

// await makes a job and waits for it.
func (f *workFlags) await(cmd *cobra.Command, begin func(ctx context.Context, c *client, answer any) error) error {
	c, err := f.open()
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := begin(cmd.Context(), c, &raw); err != nil {
		return err
	}
	return awaitJob(cmd, c, raw, !f.noWait, f.json)
}

// jobFlags are those of the commands that make a job about KEKs.
type jobFlags struct {
	workFlags
	item        string
	all, dryRun bool
}

func (f *jobFlags) register(cmd *cobra.Command) {
	f.registerItem(cmd)
	cmd.Flags().BoolVar(&f.all, "all", false, "all KEKs")
}

// registerItem leaves out what a shred does not have.
func (f *jobFlags) registerItem(cmd *cobra.Command) {
	f.workFlags.register(cmd)
	cmd.Flags().StringVar(&f.item, "context", "", "KEKs whose key context has this item, `name=value`")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "count, and change nothing")
}

// request is the body of POST /culvert/v1/jobs.
func (f *jobFlags) request(cmd *cobra.Command, kind string, ids []string) (map[string]any, error) {
	body := map[string]any{"kind": kind, "dry_run": f.dryRun, "rate": f.rate}
	given := 0
	if len(ids) == 1 {
		given++
		body["key_id"] = ids[0]
	}
	if f.all {
		given++
		body["all"] = true
	}
	if cmd.Flags().Changed("context") {
		given++
		name, value, err := parseItem(f.item)
		if err != nil {
			return nil, err
		}
		body["context_name"], body["context_value"] = name, value
	}
	if given != 1 || len(ids) > 1 {
		return nil, hinted(usage("%s is about the id of a KEK, or --context, or --all", cmd.CommandPath()), cmd.CommandPath()+" --help lists its flags")
	}
	return body, nil
}

// run makes the job and waits for it.
func (f *jobFlags) run(cmd *cobra.Command, body map[string]any) error {
	return f.await(cmd, func(ctx context.Context, c *client, answer any) error { return c.post(ctx, jobsPath, body, answer) })
}

// jobCommand is a command that makes a job of a kind, about one KEK, those of a context item, or all.
func jobCommand(kind, use, short, long string) *cobra.Command {
	var flags jobFlags
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Long:  long,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := flags.request(cmd, kind, args)
			if err != nil {
				return err
			}
			return flags.run(cmd, body)
		},
	}
	flags.register(cmd)
	return cmd
}

func parseJob(raw json.RawMessage) (job, error) {
	var j job
	if err := json.Unmarshal(raw, &j); err != nil {
		return job{}, fmt.Errorf("decode the answer: %w", err)
	}
	return j, nil
}

func printJob(out io.Writer, raw json.RawMessage, asJSON bool) error {
	if asJSON {
		_, err := fmt.Fprintf(out, "%s\n", raw)
		return err
	}
	j, err := parseJob(raw)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, j.text())
	return err
}

// text is a job in one line.
func (j job) text() string {
	about := "all"
	switch {
	case j.KeyID != "":
		about = j.KeyID
	case j.ContextName != nil && j.ContextValue != nil:
		about = contextText(map[string]string{*j.ContextName: *j.ContextValue})
	}
	changed := "changed"
	if j.DryRun {
		changed = "to change"
	}
	counts := fmt.Sprintf("%d of %d done, %d %s, %d failed", j.Done, j.Total, j.Changed, changed, j.Failed)
	if j.Kind == "verify" {
		counts = fmt.Sprintf("%d of %d done, %d opened, %d shredded, %d failed, %d of them refused", j.Done, j.Total, j.Opened, j.Shredded, j.Failed, j.Refused)
	}
	parts := []string{j.ID, j.Kind, about, j.State, counts}
	if j.Kind == "shred" {
		parts = append(parts, fmt.Sprintf("%d records unreadable", j.Unreadable))
	}
	if j.CachesUntil != nil && j.HistoryUntil != nil && j.EndedAt != nil {
		parts = append(parts, fmt.Sprintf("in memory until %s, in etcd's history until %s, in backups from before %s",
			j.CachesUntil.Format(time.RFC3339), j.HistoryUntil.Format(time.RFC3339), j.EndedAt.Format(time.RFC3339)))
	}
	if j.Backups != nil && j.Kind != "shred" {
		parts = append(parts, "backups from before "+j.Backups.Format(time.RFC3339)+" open with the root key alone")
	}
	if j.Reason != "" {
		parts = append(parts, "("+j.Reason+")")
	}
	return strings.Join(parts, "  ")
}

func listJobsCommand() *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "List jobs, the newest first",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.open()
			if err != nil {
				return err
			}
			return c.eachOf(cmd.Context(), jobsPath, url.Values{"limit": {"100"}}, func(raw json.RawMessage) error {
				return printJob(cmd.OutOrStdout(), raw, flags.json)
			})
		},
	}
	flags.registerList(cmd)
	return cmd
}

func showJobCommand() *cobra.Command {
	var wait bool
	cmd := aboutJobCommand("job", "Describe one job, or wait for its end", func(ctx context.Context, c *client, id string, answer any) error {
		return c.get(ctx, jobsPath+"/"+url.PathEscape(id), nil, answer)
	}, &wait)
	cmd.Flags().BoolVar(&wait, "wait", false, "show how far it is, until it ends")
	return cmd
}

func resumeJobCommand() *cobra.Command {
	var wait bool
	cmd := aboutJobCommand("resume", "Let a job that was cancelled go on where it was", func(ctx context.Context, c *client, id string, answer any) error {
		return c.post(ctx, jobsPath+"/"+url.PathEscape(id)+"/resume", nil, answer)
	}, &wait)
	cmd.Flags().BoolVar(&wait, "wait", false, "show how far it is, until it ends")
	return cmd
}

func cancelJobCommand() *cobra.Command {
	return aboutJobCommand("cancel", "End one job; what it did stays done", func(ctx context.Context, c *client, id string, answer any) error {
		return c.post(ctx, jobsPath+"/"+url.PathEscape(id)+"/cancel", nil, answer)
	}, new(bool))
}

// aboutJobCommand is a command that takes the id of a job and prints the job, at its end if it is to wait.
func aboutJobCommand(verb, short string, call func(ctx context.Context, c *client, id string, answer any) error, wait *bool) *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   verb + " ID",
		Short: short,
		Args:  oneArgument("the id of a job"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := flags.open()
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := call(cmd.Context(), c, args[0], &raw); err != nil {
				return err
			}
			if *wait {
				return awaitJob(cmd, c, raw, true, flags.json)
			}
			return printJob(cmd.OutOrStdout(), raw, flags.json)
		},
	}
	flags.register(cmd)
	return cmd
}
