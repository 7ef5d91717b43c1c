package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

const attemptsLong = `Lists the authorizations of the last seven days that were begun and have not come back, newest first: of one
integration, or one integration after the other, with the likely cause. A redirect URI that the provider does not
know shows nowhere else, because the error stays on the provider's page.

STATE is pending as long as a callback may come, and never_returned after that. OWNER is who began it: the user, or the
organization.

It calls the API of a server that runs, at --server, with the API key in --key-file.`

func attemptsCommand() *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   "attempts [SLUG]",
		Short: "List authorizations that have not come back, with the likely cause",
		Long:  attemptsLong,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return nil
			}
			return hinted(usage("%s takes one argument at most, the slug of an integration", cmd.CommandPath()), cmd.CommandPath()+" --help lists its flags")
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := flags.open()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				if args, err = integrationSlugs(cmd.Context(), c); err != nil {
					return err
				}
			}
			return listAttempts(cmd.Context(), c, args, flags.json, cmd.OutOrStdout())
		},
	}
	flags.registerList(cmd)
	return cmd
}

// integrationSlugs are the slugs of all integrations, once each.
func integrationSlugs(ctx context.Context, c *client) ([]string, error) {
	var slugs []string
	err := c.eachOf(ctx, "/data-integrations", url.Values{"limit": {"100"}}, func(raw json.RawMessage) error {
		var integration struct {
			Slug string `json:"slug"`
		}
		if err := json.Unmarshal(raw, &integration); err != nil {
			return fmt.Errorf("decode the answer: %w", err)
		}
		if !slices.Contains(slugs, integration.Slug) { // of users and of organizations
			slugs = append(slugs, integration.Slug)
		}
		return nil
	})
	return slugs, err
}

// attempt is one as the API answers it.
type attempt struct {
	Slug           string    `json:"provider_slug"`
	UserID         string    `json:"user_id"`
	OrganizationID string    `json:"organization_id"`
	Owner          string    `json:"connection_owner"`
	CreatedAt      time.Time `json:"created_at"`
	State          string    `json:"state"`
	Cause          string    `json:"cause"`
}

func listAttempts(ctx context.Context, c *client, slugs []string, asJSON bool, out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	found := false
	for _, slug := range slugs {
		path := "/culvert/v1/data-integrations/" + url.PathEscape(slug) + "/attempts"
		err := c.eachOf(ctx, path, url.Values{"limit": {"100"}}, func(raw json.RawMessage) error {
			if asJSON {
				_, err := fmt.Fprintf(out, "%s\n", raw)
				return err
			}
			var a attempt
			if err := json.Unmarshal(raw, &a); err != nil {
				return fmt.Errorf("decode the answer: %w", err)
			}
			if !found {
				found = true
				_, _ = fmt.Fprintln(table, "BEGUN\tPROVIDER\tOWNER\tSTATE\tCAUSE")
			}
			_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n",
				a.CreatedAt.Format(time.RFC3339), a.Slug, a.owner(), a.State, a.Cause)
			return err
		})
		if refused := new(apiError); errors.As(err, &refused) && refused.status == http.StatusNotFound {
			return hinted(refused, "culvert attempts without a slug lists those of all integrations")
		}
		if err != nil {
			return err
		}
	}
	if !found && !asJSON {
		_, err := fmt.Fprintln(out, "no authorization of the last seven days has failed to come back")
		return err
	}
	return table.Flush()
}

// owner is whose account it would be; quoted where it would not be read as it is.
func (a *attempt) owner() string {
	owner := a.UserID
	if a.Owner == "organization" {
		owner = cmp.Or(a.OrganizationID, owner)
	}
	if quoted := fmt.Sprintf("%q", owner); quoted != `"`+owner+`"` {
		return quoted
	}
	return owner
}
