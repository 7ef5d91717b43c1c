package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/cobra"
)

// ask makes a call and returns its answer as it is.
func (f *keysFlags) ask(cmd *cobra.Command, call func(ctx context.Context, c *client, answer any) error) (json.RawMessage, error) {
	c, err := f.open()
	if err != nil {
		return nil, err
	}
	var raw json.RawMessage
	err = call(cmd.Context(), c, &raw)
	return raw, err
}

// printAnswered makes a call and prints what it answers with: as it came with --json, else by print.
func printAnswered[T any](cmd *cobra.Command, f *keysFlags, call func(ctx context.Context, c *client, answer any) error, print func(*T, io.Writer) error) error {
	raw, err := f.ask(cmd, call)
	if err != nil {
		return err
	}
	return printAnswer(cmd.OutOrStdout(), raw, f.json, print)
}

// printListed prints the entries of a list one after the other, each as printAnswered does.
func printListed[T any](cmd *cobra.Command, f *keysFlags, path string, query url.Values, print func(*T, io.Writer) error) error {
	c, err := f.open()
	if err != nil {
		return err
	}
	return c.eachOf(cmd.Context(), path, query, func(raw json.RawMessage) error {
		return printAnswer(cmd.OutOrStdout(), raw, f.json, print)
	})
}

func printAnswer[T any](out io.Writer, raw json.RawMessage, asJSON bool, print func(*T, io.Writer) error) error {
	if asJSON {
		_, err := fmt.Fprintf(out, "%s\n", raw)
		return err
	}
	var answer T
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("decode the answer: %w", err)
	}
	return print(&answer, out)
}
