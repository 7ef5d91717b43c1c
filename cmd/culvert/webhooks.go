package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"culvert/internal/events"
)

// The API has webhook endpoints where the contract does, and what it has beyond that at a path of its own.
const (
	endpointsPath = "/webhook_endpoints"
	webhooksPath  = "/culvert/v1/webhooks"
)

const webhooksLong = `Webhook endpoints: URLs that events are sent to, in order and at least once, signed with a secret that the endpoint
has for itself. An event that is not accepted is sent again for three days, after times that grow to an hour, and is
a dead letter then (settings webhooks). Those behind it wait: that is what order means.

A receiver answers with a 2xx within ten seconds, checks the header WorkOS-Signature, which the official SDKs do, and
tells events that came twice by their id.

All but events call the API of a server that runs, at --server, with the API key in --key-file.`

func webhooksCommand() *cobra.Command {
	cmd := group("webhooks", "Webhook endpoints: make, change, look at deliveries, send again", webhooksLong)
	cmd.AddCommand(
		listEndpointsCommand(), createEndpointCommand(), showEndpointCommand(), updateEndpointCommand(), deleteEndpointCommand(),
		rotateEndpointCommand(), replayCommand(), deliveriesCommand(), deadLettersCommand(), listEventTypesCommand(),
	)
	return cmd
}

func createEndpointCommand() *cobra.Command {
	var flags apiFlags
	var events []string
	var secretFile string
	cmd := &cobra.Command{
		Use:   "create URL --events NAME,…",
		Short: "Make an endpoint, which is sent what happens from now on",
		Long: `Makes an endpoint and prints it with its secret, which is not shown again; with --secret-file the secret goes into a
new file of mode 0600 instead. Events are named in full, as GET /events does: vault.data.created, pipes.connected_account.connected; culvert webhooks events lists them.`,
		Args: oneArgument("the URL that events are sent to"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(events) == 0 {
				return hinted(usage("%s needs --events", cmd.CommandPath()), "such as --events vault.data.created,vault.data.deleted; culvert webhooks events lists them")
			}
			return flags.withSecret(cmd, secretFile, func(ctx context.Context, c *client, answer any) error {
				return c.post(ctx, endpointsPath, map[string]any{"endpoint_url": args[0], "events": events}, answer)
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringSliceVar(&events, "events", nil, "the `names` of the events, with commas")
	cmd.Flags().StringVar(&secretFile, "secret-file", "", "new `file` for the secret, which is not printed then")
	return cmd
}

func listEventTypesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "events",
		Short: "List the names of the events that endpoints can be sent",
		Long: `Lists the names that an endpoint, or GET /events, may ask for, as this program knows them. It needs no server. Events of reads
are made where the setting events.reads is on. Not every one of the contract's names is one that Culvert writes.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, t := range events.Types() {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), t); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func rotateEndpointCommand() *cobra.Command {
	var flags apiFlags
	var overlap time.Duration
	var secretFile string
	cmd := &cobra.Command{
		Use:   "rotate-secret ID",
		Short: "Give an endpoint another secret",
		Long: `Gives an endpoint another secret and prints it, once. For --overlap the one before goes on working: a receiver that
refuses the signature of one is sent the event again at once under the other, and Culvert-Signature has both.`,
		Args: oneArgument("the id of an endpoint"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.withSecret(cmd, secretFile, func(ctx context.Context, c *client, answer any) error {
				return c.post(ctx, webhookPath(args[0], "/rotate-secret"), map[string]any{"overlap": overlap.String()}, answer)
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the present secret goes on working, 0s to 720h")
	cmd.Flags().StringVar(&secretFile, "secret-file", "", "new `file` for the secret, which is not printed then")
	return cmd
}

func showEndpointCommand() *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show an endpoint and how its deliveries go",
		Args:  oneArgument("the id of an endpoint"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.endpoint(cmd, func(ctx context.Context, c *client, answer any) error {
				return c.get(ctx, webhookPath(args[0], ""), nil, answer)
			})
		},
	}
	flags.register(cmd)
	return cmd
}

func updateEndpointCommand() *cobra.Command {
	var flags apiFlags
	var events []string
	var address string
	var enable, disable bool
	cmd := &cobra.Command{
		Use:   "update ID",
		Short: "Change the URL or the events of an endpoint, disable or enable it",
		Long: `Changes an endpoint. One that is disabled is sent nothing, and goes on where it stopped once it is enabled;
culvert webhooks replay ID --since NOW leaves out what happened meanwhile.`,
		Args: oneArgument("the id of an endpoint"),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{}
			if cmd.Flags().Changed("url") {
				body["endpoint_url"] = address
			}
			if cmd.Flags().Changed("events") {
				body["events"] = events
			}
			switch {
			case enable && disable:
				return usage("%s takes --enable or --disable, not both", cmd.CommandPath())
			case enable:
				body["status"] = "enabled"
			case disable:
				body["status"] = "disabled"
			}
			if len(body) == 0 {
				return hinted(usage("%s has nothing to change", cmd.CommandPath()), cmd.CommandPath()+" --help lists its flags")
			}
			return flags.endpoint(cmd, func(ctx context.Context, c *client, answer any) error {
				return c.call(ctx, http.MethodPatch, endpointsPath+"/"+url.PathEscape(args[0]), body, answer)
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&address, "url", "", "the `URL` that events are sent to")
	cmd.Flags().StringSliceVar(&events, "events", nil, "the `names` of the events, with commas; all of them, not more of them")
	cmd.Flags().BoolVar(&enable, "enable", false, "go on to send")
	cmd.Flags().BoolVar(&disable, "disable", false, "send nothing until it is enabled")
	return cmd
}

func deleteEndpointCommand() *cobra.Command {
	var flags connection
	cmd := &cobra.Command{
		Use:   "delete ID",
		Short: "Remove an endpoint; it is sent nothing more",
		Args:  oneArgument("the id of an endpoint"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := flags.open()
			if err != nil {
				return err
			}
			return withoutEndpoint(c.call(cmd.Context(), http.MethodDelete, endpointsPath+"/"+url.PathEscape(args[0]), nil, nil))
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

func replayCommand() *cobra.Command {
	var flags apiFlags
	var after, since string
	cmd := &cobra.Command{
		Use:   "replay ID --after EVENT | --since TIME",
		Short: "Send an endpoint events again, from a place in the log on",
		Long: `Moves the place from which an endpoint is sent events: behind an event, or to a time. What follows it is sent in order,
what was accepted already too. A dead letter that is accepted this time leaves its list.`,
		Args: oneArgument("the id of an endpoint"),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{}
			if after != "" {
				body["after"] = after
			}
			if since != "" {
				body["since"] = since
			}
			if len(body) != 1 {
				return hinted(usage("%s needs --after or --since, and not both", cmd.CommandPath()),
					"such as --since "+time.Now().Add(-24*time.Hour).UTC().Format(time.RFC3339))
			}
			return flags.endpoint(cmd, func(ctx context.Context, c *client, answer any) error {
				return c.post(ctx, webhookPath(args[0], "/replay"), body, answer)
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&after, "after", "", "the `id` of an event; those behind it are sent")
	cmd.Flags().StringVar(&since, "since", "", "a `time` as RFC 3339 writes it; what happened from then on is sent")
	return cmd
}

func webhookPath(id, rest string) string { return webhooksPath + "/" + url.PathEscape(id) + rest }

// withoutEndpoint says what to do where there is no such endpoint.
func withoutEndpoint(err error) error {
	var answer *apiError
	switch {
	case !errors.As(err, &answer):
	case answer.code == "entity_not_found":
		return hinted(answer, "culvert webhooks list shows the endpoints")
	case answer.code == "integrity_failure":
		return hinted(answer, "an endpoint that culvert webhooks list says is damaged can only be deleted, and made again; where it does not, culvert webhooks replay gives the endpoint a new place in the log")
	}
	return err
}

// endpoint makes a call that answers with an endpoint, and prints it.
func (f *apiFlags) endpoint(cmd *cobra.Command, call func(ctx context.Context, c *client, answer any) error) error {
	raw, err := f.ask(cmd, call)
	if err != nil {
		return withoutEndpoint(err)
	}
	return printAnswer(cmd.OutOrStdout(), raw, f.json, (*webhookEndpoint).print)
}

// withSecret is endpoint for an answer with a secret, which goes into a file if one is named. The file is made
// before the call: a secret that could not be kept would be lost.
func (f *apiFlags) withSecret(cmd *cobra.Command, file string, call func(ctx context.Context, c *client, answer any) error) error {
	if file == "" {
		return f.endpoint(cmd, call)
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return hinted(fmt.Errorf("secret file: %w", err), "name a file that does not exist with --secret-file")
	}
	raw, err := f.ask(cmd, call)
	if err != nil {
		return errors.Join(withoutEndpoint(err), out.Close(), os.Remove(file))
	}
	var answer map[string]json.RawMessage
	var secret string
	if err := json.Unmarshal(raw, &answer); err != nil || json.Unmarshal(answer["secret"], &secret) != nil {
		return errors.Join(errors.New("decode the answer: it has no secret"), out.Close())
	}
	if _, err := out.WriteString(secret + "\n"); err != nil {
		return errors.Join(fmt.Errorf("write the secret: %w", err), out.Close())
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("write the secret: %w", err)
	}
	answer["secret"], _ = json.Marshal(secret[:strings.IndexByte(secret, '_')+1] + "****" + secret[max(0, len(secret)-4):]) // a string is always encoded
	hidden, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return printAnswer(cmd.OutOrStdout(), hidden, f.json, (*webhookEndpoint).print)
}
