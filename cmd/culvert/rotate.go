package main

import (
	"context"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

func rotateCommand() *cobra.Command {
	var flags jobFlags
	var olderThan time.Duration
	cmd := &cobra.Command{
		Use:   "rotate [ID]",
		Short: "Give KEKs a new version, which wraps from then on",
		Long: `Gives one KEK a new version, at once, or those of --context or --all by a job of the server. What older
versions wrapped opens as before; culvert keys rewrap brings it under the new one.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := flags.request(cmd, "rotate", args)
			if err != nil {
				return err
			}
			if len(args) == 1 && !flags.dryRun && !flags.noWait && olderThan == 0 {
				return flags.about(cmd, args[0], func(ctx context.Context, c *client, id string, answer any) error {
					return c.post(ctx, keksPath+"/"+url.PathEscape(id)+"/rotate", nil, answer)
				})
			}
			if olderThan != 0 {
				body["older_than"] = olderThan.String()
			}
			return flags.run(cmd, body)
		},
	}
	flags.register(cmd)
	cmd.Flags().DurationVar(&olderThan, "older-than", 0, "only KEKs whose newest version is at least as old, such as 720h")
	return cmd
}
