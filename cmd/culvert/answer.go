package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// ask makes a call and returns its answer as it is.
func (f *apiFlags) ask(cmd *cobra.Command, call func(ctx context.Context, c *client, answer any) error) (json.RawMessage, error) {
	c, err := f.open()
	if err != nil {
		return nil, err
	}
	var raw json.RawMessage
	err = call(cmd.Context(), c, &raw)
	return raw, err
}

// printAnswered makes a call and prints what it answers with: as it came with --json, else by print.
func printAnswered[T any](cmd *cobra.Command, f *apiFlags, call func(ctx context.Context, c *client, answer any) error, print func(*T, io.Writer) error) error {
	raw, err := f.ask(cmd, call)
	if err != nil {
		return err
	}
	return printAnswer(cmd.OutOrStdout(), raw, f.json, print)
}

// printListed prints the entries of a list one after the other, each as printAnswered does.
func printListed[T any](cmd *cobra.Command, f *apiFlags, path string, query url.Values, print func(*T, io.Writer) error) error {
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

// table prints a list whole, in columns; with --json each entry is as the API answers it.
func (f *apiFlags) table(cmd *cobra.Command, path string, query url.Values, head string, line func(json.RawMessage) (string, error)) error {
	c, err := f.open()
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if f.json {
		return c.eachOf(cmd.Context(), path, query, func(raw json.RawMessage) error {
			_, err := fmt.Fprintf(out, "%s\n", raw)
			return err
		})
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, head)
	err = eachLine(cmd.Context(), c, path, query, w, line)
	if err != nil {
		return err
	}
	return w.Flush()
}

func eachLine(ctx context.Context, c *client, path string, query url.Values, w io.Writer, line func(json.RawMessage) (string, error)) error {
	return c.eachOf(ctx, path, query, func(raw json.RawMessage) error {
		text, err := line(raw)
		if err != nil {
			return fmt.Errorf("decode the answer: %w", err)
		}
		_, err = fmt.Fprintln(w, text)
		return err
	})
}
