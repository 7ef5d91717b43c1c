package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// schedulePath is where the API has the schedule of rotations.
const schedulePath = "/culvert/v1/rotation-schedule"

const scheduleLong = `Rotation on a schedule: KEKs whose newest version is older than a given age get a new one, without somebody who
asks. Any server looks for them when it is time; times that pass while none runs are made up for once.`

func scheduleCommand() *cobra.Command {
	cmd := group("schedule", "Rotation on a schedule: show, set, remove", scheduleLong)
	cmd.AddCommand(showScheduleCommand(), setScheduleCommand(), removeScheduleCommand())
	return cmd
}

func showScheduleCommand() *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the schedule, what it did last, and when it is due",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.schedule(cmd, func(ctx context.Context, c *client, answer any) error {
				return c.get(ctx, schedulePath, nil, answer)
			})
		},
	}
	flags.register(cmd)
	return cmd
}

func setScheduleCommand() *cobra.Command {
	var flags apiFlags
	var olderThan, every time.Duration
	var rewrap bool
	var rate int
	cmd := &cobra.Command{
		Use:   "set --older-than AGE",
		Short: "Rotate KEKs of an age from now on, looked for every so often",
		Long: `Has the KEKs rotated whose newest version is at least --older-than old: looked for now, and from then on --every so
often, by a job of the servers. With --rewrap another job brings data keys under the new versions after each
rotation that changed something. It takes the place of the schedule there was, and stands until it is removed.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if olderThan <= 0 || every <= 0 {
				return hinted(usage("%s needs --older-than, and no time below zero", cmd.CommandPath()), "such as --older-than 2160h, which is 90 days")
			}
			return flags.schedule(cmd, func(ctx context.Context, c *client, answer any) error {
				return c.call(ctx, http.MethodPut, schedulePath, map[string]any{
					"older_than": olderThan.String(), "every": every.String(), "rewrap": rewrap, "rate": rate,
				}, answer)
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().DurationVar(&olderThan, "older-than", 0, "KEKs whose newest version is at least as old, 24h to 87600h")
	cmd.Flags().DurationVar(&every, "every", 24*time.Hour, "how often they are looked for, 1m to 8760h")
	cmd.Flags().BoolVar(&rewrap, "rewrap", false, "bring data keys under the new versions afterwards")
	cmd.Flags().IntVar(&rate, "rate", 0, "at most so many KEKs or records a second; default as many as it can")
	return cmd
}

func removeScheduleCommand() *cobra.Command {
	var flags connection
	cmd := &cobra.Command{
		Use:   "remove",
		Short: "End the schedule; a job that it began goes on",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.open()
			if err != nil {
				return err
			}
			return withoutSchedule(c.call(cmd.Context(), http.MethodDelete, schedulePath, nil, nil))
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

// schedule makes a call that answers with the schedule, and prints it.
func (f *apiFlags) schedule(cmd *cobra.Command, call func(ctx context.Context, c *client, answer any) error) error {
	c, err := f.open()
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := call(cmd.Context(), c, &raw); err != nil {
		return withoutSchedule(err)
	}
	if f.json {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", raw)
		return err
	}
	var s schedule
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("decode the answer: %w", err)
	}
	return s.print(cmd.OutOrStdout())
}

// withoutSchedule says what to do where there is no schedule.
func withoutSchedule(err error) error {
	var answer *apiError
	if errors.As(err, &answer) && answer.code == "entity_not_found" {
		return hinted(answer, "culvert keys schedule set makes one")
	}
	return err
}

// schedule is one as the API answers it.
type schedule struct {
	OlderThan  string    `json:"older_than"`
	Every      string    `json:"every"`
	Rewrap     bool      `json:"rewrap"`
	Rate       int       `json:"rate"`
	ActorID    string    `json:"actor_id"`
	UpdatedAt  time.Time `json:"updated_at"`
	NextAt     time.Time `json:"next_at"`
	Rotation   *job      `json:"rotation"`
	Rewrapping *job      `json:"rewrapping"`
}

func (s *schedule) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "Rotates\tKEKs whose newest version is %s old, looked for every %s\n", s.OlderThan, s.Every)
	rewraps := "no"
	if s.Rewrap {
		rewraps = "after each rotation that changed something"
	}
	_, _ = fmt.Fprintf(w, "Rewraps\t%s\n", rewraps)
	if s.Rate > 0 {
		_, _ = fmt.Fprintf(w, "Rate\t%d a second\n", s.Rate)
	}
	_, _ = fmt.Fprintf(w, "Set\t%s, by %s\nNext\t%s\n", s.UpdatedAt.Format(time.RFC3339), s.ActorID, s.NextAt.Format(time.RFC3339))
	for _, last := range []struct {
		what string
		job  *job
	}{{"Last rotation", s.Rotation}, {"Last rewrap", s.Rewrapping}} {
		text := "none"
		if last.job != nil {
			text = last.job.CreatedAt.Format(time.RFC3339) + ", job " + last.job.text()
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\n", last.what, text)
	}
	return w.Flush()
}
