package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

const streamsPath = "/culvert/v1/audit/streams"

const auditStreamsLong = `Streams send the audit log of a node elsewhere as it is written: to a file, to a syslog receiver over TLS, to an HTTP
receiver. They are settings (audit.streams.NAME; culvert help settings). Every record is sent at least once, in order;
one that came twice has the same node and index.

Without a verb the streams of the node behind --server are listed: LAG is how many records its receiver has not
acknowledged, and for how long the oldest of them has been waiting.`

// auditStream is one as the API answers it.
type auditStream struct {
	Name       string     `json:"name"`
	Type       string     `json:"type"`
	Node       string     `json:"node"`
	State      string     `json:"state"`
	Reason     string     `json:"reason"`
	Since      *time.Time `json:"stalled_since"`
	Next       uint64     `json:"next_index"`
	LagRecords uint64     `json:"lag_records"`
	LagSeconds uint64     `json:"lag_seconds"`
}

func (s *auditStream) row() string {
	state := s.State
	if s.Reason != "" {
		state += " (" + s.Reason + ")"
	}
	return fmt.Sprintf("%s\t%s\t%s\t%d\t%d records, %v\t%s", s.Name, s.Type, state, s.Next, s.LagRecords, time.Duration(s.LagSeconds)*time.Second, s.Node)
}

func auditStreamsCommand() *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   "streams",
		Short: "How the streams of the audit log do, and send again",
		Long:  auditStreamsLong,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return flags.table(cmd, streamsPath, url.Values{}, "STREAM\tTYPE\tSTATE\tNEXT\tLAG\tNODE", func(raw json.RawMessage) (string, error) {
				var s auditStream
				err := json.Unmarshal(raw, &s)
				return s.row(), err
			})
		},
	}
	flags.registerList(cmd)
	cmd.AddCommand(rewindStreamCommand())
	return cmd
}

func rewindStreamCommand() *cobra.Command {
	var flags apiFlags
	var since string
	var index uint64
	cmd := &cobra.Command{
		Use:   "rewind NAME --since TIME | --index N",
		Short: "Send records again",
		Long: `Sets a stream of the node behind --server back: the first record of --since, or the one with --index, and all behind
it are sent again. A stream is never moved ahead, so that nobody can keep records from a receiver.`,
		Args: oneArgument("the name of a stream"),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{}
			if cmd.Flags().Changed("index") {
				body["index"] = index
			}
			if since != "" {
				at, err := pointInTime("--since", since)
				if err != nil {
					return err
				}
				body["since"] = at.UTC().Format(time.RFC3339Nano)
			}
			if len(body) != 1 {
				return hinted(usage("%s needs --since or --index", cmd.CommandPath()), "such as --since 2h, or --index 0 for everything")
			}
			raw, err := flags.ask(cmd, func(ctx context.Context, c *client, answer any) error {
				return c.post(ctx, streamsPath+"/"+url.PathEscape(args[0])+"/rewind", body, answer)
			})
			var refused *apiError
			if errors.As(err, &refused) && refused.code == "entity_not_found" {
				return hinted(refused, "culvert audit streams shows those of the node; which there are is said by its settings audit.streams")
			}
			if err != nil {
				return err
			}
			if flags.json {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", raw)
				return err
			}
			var s auditStream
			if err := json.Unmarshal(raw, &s); err != nil {
				return fmt.Errorf("decode the answer: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Stream %s of %s is at %d, %d records behind the log\n", s.Name, s.Node, s.Next, s.LagRecords)
			return err
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&since, "since", "", "records of this `time` (RFC 3339) or later, or of as long ago, such as 2h")
	cmd.Flags().Uint64Var(&index, "index", 0, "the `index` of the first record that is sent again")
	return cmd
}
