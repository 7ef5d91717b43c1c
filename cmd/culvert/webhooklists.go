package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// webhookEndpoint is one as the API answers it.
type webhookEndpoint struct {
	ID            string     `json:"id"`
	URL           string     `json:"endpoint_url"`
	Secret        string     `json:"secret"`
	Status        string     `json:"status"`
	Damaged       bool       `json:"damaged"`
	Events        []string   `json:"events"`
	CreatedAt     time.Time  `json:"created_at"`
	PreviousUntil *time.Time `json:"previous_secret_until"`
	Delivery      *struct {
		State        string     `json:"state"`
		Cursor       string     `json:"cursor"`
		Attempts     int        `json:"attempts"`
		AcceptedAt   *time.Time `json:"accepted_at"`
		Failures     int        `json:"failures"`
		FailingSince *time.Time `json:"failing_since"`
		NextAt       *time.Time `json:"next_attempt_at"`
		DeadLetters  int        `json:"dead_letters"`
	} `json:"delivery"`
}

func (e *webhookEndpoint) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "Endpoint\t%s\nURL\t%s\nStatus\t%s\nEvents\t%s\nSecret\t%s\nCreated\t%s\n",
		e.ID, e.URL, e.Status, strings.Join(e.Events, ", "), e.Secret, e.CreatedAt.Format(time.RFC3339))
	if e.PreviousUntil != nil {
		_, _ = fmt.Fprintf(w, "Previous secret\tsigns until %s\n", e.PreviousUntil.Format(time.RFC3339))
	}
	if d := e.Delivery; d != nil {
		_, _ = fmt.Fprintf(w, "Deliveries\t%s, %d attempts, %d dead letters\nLast accepted\t%s\n", d.State, d.Attempts, d.DeadLetters, timeText(d.AcceptedAt))
		if d.Failures > 0 {
			_, _ = fmt.Fprintf(w, "Failing\tsince %s, %d times, the next attempt %s\n", timeText(d.FailingSince), d.Failures, timeText(d.NextAt))
		}
		if d.Cursor != "" {
			_, _ = fmt.Fprintf(w, "Cursor\t%s\n", d.Cursor)
		}
	}
	return w.Flush()
}

// timeText is a time, or that there is none.
func timeText(at *time.Time) string {
	if at == nil {
		return "never"
	}
	return at.Format(time.RFC3339)
}

func listEndpointsCommand() *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the endpoints in order of creation",
		Long: `Lists the endpoints. One is damaged if its record in etcd is not what was stored: nothing is sent to it, and culvert
webhooks delete removes it, so that it can be made again.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.endpointTable(cmd, endpointsPath, url.Values{"limit": {"100"}, "order": {"asc"}}, "ENDPOINT\tSTATUS\tEVENTS\tURL", func(raw json.RawMessage) (string, error) {
				var e webhookEndpoint
				err := json.Unmarshal(raw, &e)
				if e.Damaged {
					e.Status, e.URL = "damaged", "-"
				}
				return fmt.Sprintf("%s\t%s\t%d\t%s", e.ID, e.Status, len(e.Events), e.URL), err
			})
		},
	}
	flags.registerList(cmd)
	return cmd
}

func deliveriesCommand() *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   "deliveries ID",
		Short: "List the latest attempts to an endpoint, the newest first",
		Args:  oneArgument("the id of an endpoint"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.endpointTable(cmd, webhookPath(args[0], "/deliveries"), url.Values{"limit": {"100"}}, "NUMBER\tAT\tEVENT\tID\tOUTCOME\tLATENCY", func(raw json.RawMessage) (string, error) {
				var d struct {
					Number    string    `json:"number"`
					EventID   string    `json:"event_id"`
					Event     string    `json:"event"`
					At        time.Time `json:"at"`
					Status    *int      `json:"status"`
					Reason    *string   `json:"reason"`
					LatencyMS int       `json:"latency_ms"`
				}
				err := json.Unmarshal(raw, &d)
				return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%d ms", d.Number, d.At.Format(time.RFC3339), d.Event, d.EventID, outcomeText(d.Status, d.Reason), d.LatencyMS), err
			})
		},
	}
	flags.registerList(cmd)
	return cmd
}

func deadLettersCommand() *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   "dead-letters ID",
		Short: "List the events that an endpoint did not accept in time",
		Long: `Lists the events that were given up, because their receiver did not accept them in time. culvert webhooks replay sends
them again with what followed them: --after takes the id of the event before, --since its time.`,
		Args: oneArgument("the id of an endpoint"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.endpointTable(cmd, webhookPath(args[0], "/dead-letters"), url.Values{"limit": {"100"}}, "ID\tEVENT\tCREATED\tGIVEN UP\tOUTCOME", func(raw json.RawMessage) (string, error) {
				var l struct {
					EventID string    `json:"event_id"`
					Event   string    `json:"event"`
					Created time.Time `json:"event_created_at"`
					GivenUp time.Time `json:"given_up_at"`
					Status  *int      `json:"status"`
					Reason  *string   `json:"reason"`
				}
				err := json.Unmarshal(raw, &l)
				return fmt.Sprintf("%s\t%s\t%s\t%s\t%s", l.EventID, l.Event, l.Created.Format(time.RFC3339), l.GivenUp.Format(time.RFC3339), outcomeText(l.Status, l.Reason)), err
			})
		},
	}
	flags.registerList(cmd)
	return cmd
}

// outcomeText is the status of an answer, or why there is none.
func outcomeText(status *int, reason *string) string {
	switch {
	case status != nil:
		return strconv.Itoa(*status)
	case reason != nil:
		return *reason
	}
	return "-"
}

// endpointTable is table for what endpoints have.
func (f *apiFlags) endpointTable(cmd *cobra.Command, path string, query url.Values, head string, line func(json.RawMessage) (string, error)) error {
	return withoutEndpoint(f.table(cmd, path, query, head, line))
}
