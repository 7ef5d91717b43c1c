package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

const serverLong = `Starts a server on a store that culvert init made. Any number of them may share one: each needs a data
directory of its own, which has to survive it, and the same root key.

Settings come from the file named by --config (YAML), then from --set in their order; the later one
wins. culvert help settings lists them all. A store that is not there is an error, because a mistyped
prefix must not begin an empty vault.

SIGTERM ends it with code 0: readiness turns red, and what is under way is finished. SIGHUP has the
certificates read again.`

func serverCommand() *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Start a server for production",
		Long:  serverLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := from.loadServer(cmd)
			if err != nil {
				return err
			}
			return serve(cmd, cfg, production)
		},
	}
	from.register(cmd.Flags())
	return cmd
}

// mode is what a server is started for.
type mode int

const (
	// development makes what is missing, and trusts what is on this machine.
	development mode = iota
	// production makes nothing but its own state directory, and trusts what the settings name.
	production
)

// serve runs a server until the command's context ends.
func serve(cmd *cobra.Command, cfg Config, m mode) error {
	if err := disableCoreDumps(); err != nil {
		return err
	}
	calmCollector()
	log, lines := newLogger(cmd.ErrOrStderr(), cfg.Log)
	defer func() { _ = lines.Close() }()
	g, err := build(cmd.Context(), cfg, m, log)
	if err != nil {
		return err
	}
	if m == development {
		greet(cmd.OutOrStdout(), cfg, g)
	} else {
		announce(cmd.OutOrStdout(), cfg, g)
	}
	return g.Run(cmd.Context())
}

// announce says where a server listens, and as what others know it.
func announce(w io.Writer, cfg Config, g *graph) {
	_, _ = fmt.Fprintf(w, "Culvert listens on %s as %s\n", cfg.localURL(g.listener.Addr()), cfg.PublicURL)
	if g.admin != nil {
		_, _ = fmt.Fprintf(w, "Metrics on http://%s/metrics\n", g.admin.Addr())
	}
}
