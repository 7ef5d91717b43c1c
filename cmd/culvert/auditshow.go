package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"culvert/internal/access"
	"culvert/internal/audit"
)

const auditShowLong = `Prints records of the audit log in --dir, the data directory of a node or its directory audit, in order; it needs no
server. Filters are for records that have all of what is asked for. What is damaged or missing in between is said, and
passed over: culvert audit verify says more.`

const auditExportLong = auditShowLong + `

export prints all of them, as JSON lines, which are the lines of the log byte for byte, or as CSV with every member of
a record in a column. In CSV a text that a spreadsheet would take for a formula stands behind an apostrophe.`

// auditFilterFlags are those of culvert audit show, tail and export.
type auditFilterFlags struct {
	dir, since, until, actor, action, outcome, environment string
}

func (f *auditFilterFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.dir, "dir", defaults().DataDir, "data `directory` of a node, or its directory audit")
	flags.StringVar(&f.since, "since", "", "records of this `time` (RFC 3339) or later, or of as long ago, such as 2h")
	flags.StringVar(&f.until, "until", "", "records before this `time`")
	flags.StringVar(&f.actor, "actor", "", "records of the actor with this `id`")
	flags.StringVar(&f.action, "action", "", "records of this `action`, such as vault.data.read")
	flags.StringVar(&f.outcome, "outcome", "", "records with this `result`: allowed, denied or failed")
	flags.StringVar(&f.environment, "environment", "", "records of the environment with this `id`, and of the log about itself")
}

// filter reads the flags, and finds the log.
func (f *auditFilterFlags) filter() (dir string, filter audit.Filter, err error) {
	if dir, err = auditDir(f.dir); err != nil {
		return "", filter, err
	}
	filter = audit.Filter{Actor: f.actor, Action: access.Action(f.action), Result: audit.Result(f.outcome), Environment: access.EnvironmentID(strings.TrimPrefix(f.environment, "environment_"))}
	switch filter.Result {
	case "", audit.Allowed, audit.Denied, audit.Failed:
	default:
		return "", filter, hinted(usage("--outcome %q is no result", f.outcome), "it is allowed, denied or failed")
	}
	if filter.Since, err = pointInTime("--since", f.since); err == nil {
		filter.Until, err = pointInTime("--until", f.until)
	}
	return dir, filter, err
}

// pointInTime reads a time, or how long ago it is.
func pointInTime(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return time.Now().Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, hinted(usage("%s %q is no time", flag, text), "write it such as 2026-11-28T12:00:00Z, or as how long ago, 30m")
	}
	return at, nil
}

func auditShowCommand() *cobra.Command {
	var flags auditFilterFlags
	var last int
	cmd := &cobra.Command{
		Use: "show", Short: "Print the latest records", Long: auditShowLong, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, filter, err := flags.filter()
			if err != nil {
				return err
			}
			if last < 1 {
				return hinted(usage("--last must be at least 1"), "culvert audit export prints all records")
			}
			var kept []string
			if _, err = eachRecord(cmd, dir, 0, &filter, func(r *audit.Record, _ []byte) error {
				if kept = append(kept, brief(r)); len(kept) > 2*last {
					kept = append(kept[:0], kept[len(kept)-last:]...)
				}
				return nil
			}); err != nil {
				return err
			}
			for _, line := range kept[max(0, len(kept)-last):] {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
					return err
				}
			}
			return nil
		},
	}
	flags.register(cmd.Flags())
	cmd.Flags().IntVar(&last, "last", 100, "how `many` of the latest that match")
	return cmd
}

// tailEvery is how often tail looks for more.
const tailEvery = 300 * time.Millisecond

func auditTailCommand() *cobra.Command {
	var flags auditFilterFlags
	cmd := &cobra.Command{
		Use: "tail", Short: "Print records as they are written, until it is ended", Long: auditShowLong, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, filter, err := flags.filter()
			if err != nil {
				return err
			}
			_, next, err := audit.End(dir)
			if err != nil {
				return fmt.Errorf("audit log: %w", err)
			}
			for {
				next, err = eachRecord(cmd, dir, next, &filter, func(r *audit.Record, _ []byte) error {
					_, err := fmt.Fprintln(cmd.OutOrStdout(), brief(r))
					return err
				})
				if err != nil {
					return err
				}
				select {
				case <-cmd.Context().Done():
					return nil
				case <-time.After(tailEvery):
				}
			}
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

func auditExportCommand() *cobra.Command {
	var flags auditFilterFlags
	var format string
	cmd := &cobra.Command{
		Use: "export", Short: "Print records whole, as JSON lines or CSV", Long: auditExportLong, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, filter, err := flags.filter()
			if err != nil {
				return err
			}
			switch format {
			case "json":
				_, err = eachRecord(cmd, dir, 0, &filter, func(_ *audit.Record, line []byte) error {
					_, err := cmd.OutOrStdout().Write(append(line, '\n'))
					return err
				})
				return err
			case "csv":
				return exportCSV(cmd, dir, &filter)
			}
			return hinted(usage("--format %q is none", format), "it is json or csv")
		},
	}
	flags.register(cmd.Flags())
	cmd.Flags().StringVar(&format, "format", "json", "`json` (lines) or csv")
	return cmd
}

// eachRecord goes through the records that match, from an index on, and tells what is not there. It returns the
// index to go on from.
func eachRecord(cmd *cobra.Command, dir string, from uint64, filter *audit.Filter, each func(*audit.Record, []byte) error) (uint64, error) {
	begin, err := audit.Begin(dir, filter.Since)
	if err != nil {
		return 0, fmt.Errorf("audit log: %w", err)
	}
	next := max(from, begin)
	for {
		err := audit.Read(dir, next, func(r audit.Record, line []byte) error {
			next = r.Index + 1
			if cmd.Context().Err() != nil {
				return context.Canceled
			}
			if !filter.Match(&r) {
				return nil
			}
			return each(&r, line)
		})
		gap := new(audit.GapError)
		switch {
		case errors.As(err, &gap):
			next = gap.Found
		case errors.Is(err, audit.ErrCorrupt):
			next++
		case errors.Is(err, context.Canceled):
			return next, nil
		case errors.Is(err, os.ErrNotExist):
			return next, nil // retention, or whoever else, took a segment meanwhile
		default:
			return next, err
		}
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%v\n", err)
	}
}

// brief is a record as a line for people.
func brief(r *audit.Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d  %s  %s  %s  %s", r.Index, r.Time.Format("2006-01-02T15:04:05.000Z"), r.Action, r.Phase, r.Result)
	for _, part := range []struct{ name, value string }{
		{"code", r.Code}, {"actor", r.ActorID}, {"object", r.ObjectID}, {"name", r.ObjectName}, {"kek", r.KeyID},
		{"provider", r.Provider}, {"account", r.AccountID}, {"user", r.UserID}, {"organization", r.OrganizationID},
		{"node", r.Subject}, {"request", r.RequestID},
	} {
		if part.value != "" {
			fmt.Fprintf(&b, "  %s=%s", part.name, printable(part.value))
		}
	}
	return b.String()
}

// printable quotes what a terminal would take for more than text, or a reader for two fields.
func printable(value string) string {
	if quoted := fmt.Sprintf("%+q", value); quoted != `"`+value+`"` || strings.Contains(value, " ") {
		return quoted
	}
	return value
}

// exportCSV writes the members of records as columns, in their order.
func exportCSV(cmd *cobra.Command, dir string, filter *audit.Filter) error {
	w := csv.NewWriter(cmd.OutOrStdout())
	if err := w.Write(audit.Columns()); err != nil {
		return err
	}
	if _, err := eachRecord(cmd, dir, 0, filter, func(r *audit.Record, _ []byte) error { return w.Write(audit.Cells(r)) }); err != nil {
		return err
	}
	w.Flush()
	return w.Error()
}
