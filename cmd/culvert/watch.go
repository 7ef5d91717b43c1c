package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// awaitJob prints a job, once it has ended or at once. How it ended is how the command does.
func awaitJob(cmd *cobra.Command, c *client, raw json.RawMessage, wait, asJSON bool) error {
	j, err := parseJob(raw)
	if err != nil {
		return err
	}
	if wait {
		if raw, err = watch(cmd.Context(), c, j, progressOn(cmd.ErrOrStderr())); err != nil {
			return err
		}
		if j, err = parseJob(raw); err != nil {
			return err
		}
	}
	if err := printJob(cmd.OutOrStdout(), raw, asJSON); err != nil {
		return err
	}
	if j.Reason == "cmk_refused" {
		return hinted(fmt.Errorf("job %s %s", j.ID, j.State), "the customer's key refuses: culvert keys cmk verify ID says why; what is under a key that is gone can only be shredded")
	}
	switch err := fmt.Errorf("job %s %s", j.ID, j.State); j.State {
	case "failed":
		again := "the same command tries those again"
		if j.Kind == "rotate" {
			again = "culvert keys rotate ID tries one of them again, the same command all KEKs"
		}
		return hinted(err, "the server's log names each record that was left as it is; "+again)
	case "cancelled":
		return hinted(err, "culvert keys resume "+j.ID+" lets it go on where it was")
	}
	return nil
}

// watch waits for the end of a job. Whoever interrupts it leaves the job alone, and so does a server that is
// gone: the error names the job, which goes on.
func watch(ctx context.Context, c *client, j job, show *progress) (json.RawMessage, error) {
	defer show.end()
	left := func(err error) error {
		return hinted(err, "culvert keys job "+j.ID+" --wait shows it, culvert keys cancel "+j.ID+" ends it")
	}
	for {
		var raw json.RawMessage
		err := c.get(ctx, jobsPath+"/"+url.PathEscape(j.ID), nil, &raw)
		if ctx.Err() != nil {
			return nil, left(fmt.Errorf("job %s goes on without this command", j.ID))
		}
		var refused *apiError
		if err != nil && (!errors.As(err, &refused) || refused.status != 503) {
			return nil, left(fmt.Errorf("job %s goes on without this command: %w", j.ID, err))
		}
		if err == nil {
			now, err := parseJob(raw)
			if err != nil {
				return nil, err
			}
			show.line(now)
			if now.EndedAt != nil {
				return raw, nil
			}
		}
		select {
		case <-time.After(watchInterval):
		case <-ctx.Done():
		}
	}
}

// progress is one line of a terminal that is written again and again; without a terminal, nothing.
type progress struct {
	out   io.Writer
	meter meter
	begun bool
}

func progressOn(out io.Writer) *progress {
	if file := terminal(out); file != nil {
		return &progress{out: file}
	}
	return &progress{out: io.Discard}
}

func (p *progress) line(j job) {
	p.begun = true
	_, _ = fmt.Fprintf(p.out, "\r\x1b[K%s", p.meter.line(j, time.Now()))
}

// end leaves the line, so that what comes next has one of its own.
func (p *progress) end() {
	if p.begun {
		_, _ = fmt.Fprintln(p.out)
	}
}

// meter knows how fast a job is, from what it saw of it.
type meter struct {
	began time.Time
	first uint64
}

// line says how far a job is, how fast it goes and when it will be done at that rate.
func (m *meter) line(j job, now time.Time) string {
	if m.began.IsZero() {
		m.began, m.first = now, j.Done
	}
	text := fmt.Sprintf("%s %s: %s %d of %d", j.Kind, j.State, bar(j.Done, j.Total), j.Done, j.Total)
	passed := now.Sub(m.began).Seconds()
	if passed <= 0 || j.Done <= m.first {
		return text
	}
	perSecond := float64(j.Done-m.first) / passed
	text += fmt.Sprintf(", %.0f/s", perSecond)
	if j.Total > j.Done {
		left := time.Duration(float64(j.Total-j.Done) / perSecond * float64(time.Second))
		text += ", " + left.Round(time.Second).String() + " left"
	}
	return text
}

// bar draws how much of a job is done. Records may have come in since it counted them.
func bar(done, total uint64) string {
	const width = 20
	filled := 0
	if total > 0 {
		filled = int(min(done*width/total, width))
	}
	return "[" + strings.Repeat("#", filled) + strings.Repeat("-", width-filled) + "]"
}
