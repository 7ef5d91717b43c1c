package main

import (
	"fmt"
	"net"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// source is where a command's settings come from: the flags that all commands share which have settings.
type source struct {
	file     string
	settings []string
}

func (s *source) register(flags *pflag.FlagSet) {
	flags.StringVar(&s.file, "config", "", "`file` with settings (YAML)")
	// An array, not a slice: commas belong to the value.
	flags.StringArrayVar(&s.settings, "set", nil, "one setting as `key=value`; may be repeated")
}

// load reads the settings. They have not been validated.
func (s *source) load(cmd *cobra.Command) (Config, error) {
	if cmd.Flags().Changed("config") && s.file == "" {
		return Config{}, hinted(usage("--config names no file"), "leave it out to go by the defaults")
	}
	return loadConfig(s.file, s.settings)
}

// loadServer reads and validates the settings of production, which come from a file: what a vault was
// started with must not depend on what somebody typed.
func (s *source) loadServer(cmd *cobra.Command) (Config, error) {
	if s.file == "" {
		return Config{}, hinted(usage("%s needs --config", cmd.CommandPath()), "deploy/culvert.yaml is an example; culvert help settings lists all")
	}
	cfg, err := loadConfig(s.file, s.settings)
	if err == nil {
		err = cfg.validate()
	}
	if err == nil {
		err = cfg.validateServer()
	}
	return cfg, err
}

// baseURL is where clients reach the API that listens at addr.
func (c *Config) baseURL(addr net.Addr) string {
	if c.PublicURL != "" {
		return c.PublicURL
	}
	return c.localURL(addr)
}

// localURL is the API that listens at addr as seen from this machine.
func (c *Config) localURL(addr net.Addr) string {
	scheme := "http://"
	if c.TLS.CertFile != "" {
		scheme = "https://"
	}
	// "All addresses" is nothing to connect to.
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("%s127.0.0.1:%d", scheme, tcp.Port)
	}
	return scheme + addr.String()
}

func flagNames(cmd *cobra.Command) []string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}
