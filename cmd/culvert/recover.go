package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"culvert/internal/access"
	"culvert/internal/admission"
	"culvert/internal/audit"
	"culvert/internal/events"
	"culvert/keys"
)

const recoverLong = `Makes an API key with every right for who has none any more, without asking a server: it opens the store as the
settings say, which takes the root key, and writes the key into the file root-api-key (0600) of the data directory, or,
with --environment, into root-api-key-NAME. That file must not be there yet. The server that has the data directory has to be stopped; others on the same store go on,
and take the new key at once.

The audit trail of this data directory has a record of it.`

func recoverAPIKeyCommand() *cobra.Command {
	var from source
	var environment string
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Make a key with every right, at the store itself",
		Long:  recoverLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := from.load(cmd)
			if err == nil {
				err = cfg.validate()
			}
			if err != nil {
				return err
			}
			if err := disableCoreDumps(); err != nil {
				return err
			}
			return recoverKey(cmd, cfg, environment)
		},
	}
	from.register(cmd.Flags())
	cmd.Flags().StringVar(&environment, "environment", keys.FirstEnvironment, "the `name` of the environment that the key is of")
	return cmd
}

// recoverKey makes the key. It stands on the floor alone: no door is opened.
func recoverKey(cmd *cobra.Command, cfg Config, environment string) (err error) {
	log, lines := newLogger(cmd.ErrOrStderr(), cfg.Log)
	defer func() { _ = lines.Close() }()
	g := &graph{mode: production, log: log}
	defer func() { err = errors.Join(err, g.Close()) }()
	dir, err := openDataDir(cfg.DataDir)
	if err != nil {
		return err
	}
	g.opened("data directory", dir.Close)
	f, err := g.buildFloor(cmd.Context(), cfg, dir)
	if err != nil {
		return err
	}
	env, err := f.environments.Named(environment)
	if err != nil {
		return hinted(fmt.Errorf("the store has no environment named %q", environment), "it has "+f.environmentNames())
	}
	file := apiKeyFileOf(env)
	if _, err := os.Stat(dir.file(file)); err == nil {
		return hinted(fmt.Errorf("%s is there already", dir.file(file)),
			"try the key in it; move the file away if it is refused")
	}
	return f.readmit(cmd.Context(), dir, file, env, cmd.OutOrStdout())
}

func (f *floor) environmentNames() string {
	var names []string
	for _, e := range f.environments.All() {
		names = append(names, e.Name())
	}
	return strings.Join(names, ", ")
}

// readmit makes the key and its record. The record of it in the audit trail comes first: who gets in this way leaves a
// trace, or does not get in.
func (f *floor) readmit(ctx context.Context, dir *dataDir, file string, env *keys.Environment, out io.Writer) error {
	key, err := dir.rootAPIKey(file, env.ID(), f.ids.Now())
	if err != nil {
		return err
	}
	made, err := rootKeyRecord(env, key, f.ids.Now())
	if err != nil {
		return err
	}
	by := access.SystemActor(key.Environment, "culvert api-keys recover")
	made.Name, made.CreatedBy = "recovered", by.ID()
	index, err := f.audit.Append(ctx, audit.Record{
		EnvironmentID: key.Environment, ActorID: by.ID(), ActorName: by.Name(), ActorSource: by.Source(),
		Action: access.APIKeyCreate, Phase: audit.Internal, Result: audit.Allowed,
		ObjectID: admission.OnWire(key.ID), ObjectName: made.Name,
	})
	if err != nil {
		return err
	}
	event, err := admission.KeyCreated(&made, by, f.audit.Node(), index)
	if err != nil {
		return err
	}
	if err := f.store.ChangeAPIKeys(ctx, admission.KeyChange{
		Environment: key.Environment, Put: []admission.KeyAt{{Record: &made}}, Events: []events.Event{event}, Protects: true,
	}); err != nil {
		return fmt.Errorf("store the API key: %w", err)
	}
	_, err = fmt.Fprintf(out, "API key in %s: it has every right; hand it over, then take it out of there\n", dir.file(file))
	return err
}
