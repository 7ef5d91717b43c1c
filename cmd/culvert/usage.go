package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

const usageLong = `Shows how many objects the environment of the API key holds, and how many bytes their values take as they are
sealed, all kept versions together; beside it what it may hold, by the settings limits.objects_per_environment and
limits.bytes_per_environment of the server. Beyond that creates, and updates that grow, are refused with
quota_exceeded; reads and deletes go on.

The key needs the action vault.usage.read, for the whole environment: auditors and administrators have it.`

func usageCommand() *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "Show how much the environment holds, and how much it may",
		Long:  usageLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printAnswered(cmd, &flags, func(ctx context.Context, c *client, answer any) error {
				return c.get(ctx, "/culvert/v1/usage", nil, answer)
			}, (*usageAnswer).print)
		},
	}
	flags.register(cmd)
	return cmd
}

// usageAnswer is what an environment holds, as the API answers it. Nil is what there is not, or nobody knows.
type usageAnswer struct {
	Objects      int64  `json:"objects"`
	AtLeast      bool   `json:"at_least"`
	Bytes        *int64 `json:"bytes"`
	ObjectsLimit *int64 `json:"objects_limit"`
	BytesLimit   *int64 `json:"bytes_limit"`
}

func (u *usageAnswer) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	objects, bytes := fmt.Sprint(u.Objects), "unknown"
	if u.AtLeast {
		objects += " or more"
	}
	if u.Bytes != nil {
		bytes = fmt.Sprint(*u.Bytes)
	}
	_, _ = fmt.Fprintf(w, "Objects\t%s%s\nBytes\t%s%s\n", objects, limited(u.ObjectsLimit), bytes, limited(u.BytesLimit))
	return w.Flush()
}

func limited(limit *int64) string {
	if limit == nil {
		return ", without a limit"
	}
	return fmt.Sprintf(" of %d", *limit)
}
