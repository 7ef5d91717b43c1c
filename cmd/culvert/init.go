package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"culvert/internal/access"
	"culvert/internal/etcd"
	"culvert/internal/id"
	"culvert/internal/record"
	"culvert/keys"
)

const initLong = `Makes a store where the settings say, once: its environment "default", with provider local the root key
file if there is none, and the root API key, which has every right, in the file root-api-key (0600) of
the data directory. culvert server then goes on with it, in any number of processes.

A place that is not empty is refused. After a failure the same command may be run again.`

func initCommand() *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the store of a production server, once",
		Long:  initLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := from.loadServer(cmd)
			if err != nil {
				return err
			}
			return initialize(cmd, cfg, from.file)
		},
	}
	from.register(cmd.Flags())
	return cmd
}

// initialize makes the store and says what to keep. file is where the settings are from.
func initialize(cmd *cobra.Command, cfg Config, file string) (err error) {
	if err := disableCoreDumps(); err != nil {
		return err
	}
	log, lines := newLogger(cmd.ErrOrStderr(), cfg.Log)
	defer func() { _ = lines.Close() }()
	i := &initializer{graph: &graph{mode: production, log: log}}
	defer func() { err = errors.Join(err, i.graph.Close()) }()
	if err := i.open(cmd.Context(), cfg); err != nil {
		return err
	}
	if err := i.run(cmd.Context()); err != nil {
		return err
	}
	return i.conclude(cmd.OutOrStdout(), file)
}

// initializer makes a store. What holds it together: the API key's file is written under a name of its
// own before the store has the key, and renamed afterwards; the store gets its environment and the key's
// record in one transaction. So wherever it dies, the next attempt knows from the environment's id, which
// is in the key, whether the store is this key's.
type initializer struct {
	graph  *graph
	dir    *dataDir
	client *etcd.Client
	opener *opener
	now    time.Time
}

func (i *initializer) open(ctx context.Context, cfg Config) (err error) {
	if i.dir, err = openDataDir(cfg.DataDir); err != nil {
		return err
	}
	i.graph.opened("data directory", i.dir.Close)
	if i.client, err = i.graph.openEtcd(ctx, cfg, i.dir); err != nil {
		return err
	}
	codec, err := record.NewCodec()
	if err != nil {
		return err
	}
	i.now = id.NewClock(time.Now).Now()
	i.opener = i.graph.newOpener(cfg, i.dir, i.client, codec, i.now)
	return nil
}

func (i *initializer) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	waiting := i.graph.announceWaiting(i.opener.endpoints)
	occupied, err := i.client.Initialized(ctx)
	waiting()
	if err != nil {
		return i.opener.explain(ctx, err)
	}
	if occupied {
		return i.resume(ctx)
	}
	err = i.opener.make(ctx, i.firstKey)
	if errors.Is(err, etcd.ErrInitialized) {
		return i.resume(ctx) // somebody was faster
	}
	if err != nil {
		return i.opener.explain(ctx, err)
	}
	return i.dir.settle(apiKeyFile)
}

// firstKey makes the root API key of a new environment and keeps it beside its final place.
func (i *initializer) firstKey(env *keys.Environment) (access.KeyRecord, error) {
	key, err := access.GenerateAPIKey(env.ID(), i.now)
	if err != nil {
		return access.KeyRecord{}, err
	}
	if err := i.dir.writeTemporary(apiKeyFile, keyLine(key)); err != nil {
		return access.KeyRecord{}, fmt.Errorf("write %s: %w", i.opener.keyFile, err)
	}
	return rootKeyRecord(env, key, i.now)
}

// resume finds out whether the store is what an earlier attempt made that died before it could say so.
func (i *initializer) resume(ctx context.Context) error {
	text, err := readPrivate(i.dir.temporary(apiKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return i.occupied()
	}
	if err != nil {
		return fmt.Errorf("API key: %w", err)
	}
	if _, err := i.opener.load(ctx); err != nil {
		return err
	}
	if key, err := parseKeyLine(text); err != nil || key.Environment != i.opener.first {
		return i.occupied()
	}
	i.graph.log.InfoContext(ctx, "an earlier attempt made the store and is finished now", slog.String("store", i.opener.place()))
	return i.dir.settle(apiKeyFile)
}

func (i *initializer) occupied() error {
	return hinted(fmt.Errorf("there is a store under %s already", i.opener.place()),
		"culvert server goes on with it; for another one, change etcd.prefix or data_dir")
}

// conclude says what there is now, and what must not be lost.
func (i *initializer) conclude(w io.Writer, file string) error {
	_, _ = fmt.Fprintf(w, "Made a store under %s\n", i.opener.place())
	for _, kept := range []struct{ what, path, why string }{
		{"API key", i.opener.keyFile, "it has every right; hand it over, then take it out of there"},
		{"Root key", i.opener.places[0].path, "keep a copy elsewhere, nothing can be read without it"},
	} {
		if kept.path == "" { // the key is in a KMS or an HSM
			_, _ = fmt.Fprintf(w, "%s %s: nothing can be read without it\n", kept.what, i.opener.places[0].name())
			continue
		}
		path, err := filepath.Abs(kept.path)
		if err != nil {
			return err
		}
		if _, err := os.Stat(path); err == nil {
			_, _ = fmt.Fprintf(w, "%s in %s: %s\n", kept.what, path, kept.why)
		}
	}
	_, _ = fmt.Fprintf(w, "Go on with culvert server --config %s\n", shellQuote(file))
	return nil
}
