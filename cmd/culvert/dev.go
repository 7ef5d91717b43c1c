package main

import (
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/spf13/cobra"
)

const devLong = `Starts a server for development: an embedded etcd and a root key file in the data directory, listening
on a loopback address without TLS, with real cryptography. The first start makes everything and
prints where the API key is; later starts go on where the last one stopped.

Settings come from the file named by --config (YAML), then from --set in their order, then from --addr
and --data-dir; the later one wins. culvert help settings lists them all.`

func devCommand() *cobra.Command {
	var addr, dataDir string
	var from source
	preset := defaults()
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Start a server for development",
		Long:  devLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := from.load(cmd)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("data-dir") {
				cfg.DataDir = dataDir
			}
			explicit := cmd.Flags().Changed("addr")
			if explicit {
				cfg.Addr = addr
			}
			if err := cfg.validate(); err != nil {
				return err
			}
			if !explicit && cfg.TLS.CertFile == "" && !isLoopback(cfg.Addr) {
				return hinted(usage("setting addr: %s is not a loopback address, and the API speaks plain HTTP", cfg.Addr),
					"say so with --addr "+cfg.Addr+" if it is meant")
			}
			return serve(cmd, cfg, development)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&addr, "addr", preset.Addr, "where the API listens, `host:port`")
	flags.StringVar(&dataDir, "data-dir", "./"+preset.DataDir, "`directory` of database, audit log and keys")
	from.register(flags)
	return cmd
}

// greet says where things are. It prints lines that work as pasted into a shell, and no secret: the
// key is read from its file by the shell.
func greet(w io.Writer, cfg Config, g *graph) {
	base, key := cfg.baseURL(g.listener.Addr()), shellQuote(g.keyFile)
	_, _ = fmt.Fprintf(w, "Culvert listens on %s\n", base)
	if addr := g.listener.Addr(); cfg.TLS.CertFile == "" && !isLoopback(addr.String()) {
		_, _ = fmt.Fprintf(w, "Warning: it listens on %s, plain HTTP: the network can read keys and values\n", reach(addr))
	}
	if g.admin != nil {
		_, _ = fmt.Fprintf(w, "Metrics on http://%s/metrics\n", g.admin.Addr())
	}
	_, _ = fmt.Fprintf(w, "API key in %s\n", g.keyFile)
	if !g.firstStart {
		return
	}
	if g.anotherKey {
		_, _ = fmt.Fprintln(w, "That key is new in a store that has others already: they stay valid")
	}
	auth := fmt.Sprintf(`-H "Authorization: Bearer $(cat %s)"`, key)
	_, _ = fmt.Fprintf(w, `
Store a value, read it by its name, list the names:

  curl -w '\n' %[1]s -H 'Content-Type: application/json' %[2]s/vault/v1/kv \
    -d '{"name":"greeting","value":"hello","key_context":{"organization_id":"org_1"}}'
  curl -w '\n' %[1]s %[2]s/vault/v1/kv/name/greeting
  curl -w '\n' %[1]s %[2]s/vault/v1/kv
`, auth, base)
}

// reach names the addresses of a listener that is not on loopback.
func reach(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return "all addresses"
	}
	return addr.String()
}

// shellQuote makes one word of a path for a POSIX shell, inside $(…) inside double quotes too.
func shellQuote(path string) string {
	plain := func(r rune) bool {
		return strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,=:@%", r)
	}
	if strings.IndexFunc(path, func(r rune) bool { return !plain(r) }) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
