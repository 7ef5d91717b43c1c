package export

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/outage"
	"culvert/internal/trail"
)

// ID is an export's, audit_log_export_ and a ULID.
type ID string

// IDPrefix begins every id.
const IDPrefix = "audit_log_export_"

// State is how far an export is. The words are the contract's.
type State string

// The states.
const (
	Pending State = "pending"
	Ready   State = "ready"
	Failed  State = "error"
)

// Format is a file's.
type Format string

// The formats.
const (
	CSV  Format = "csv"
	JSON Format = "json"
)

// Lifetime is how long an export is kept.
const Lifetime = 24 * time.Hour

// Limits bound what there is at a time. The zero value of a field is its default.
type Limits struct {
	// Exports are those of an environment on this node; default 20. Bytes are those of one file; default 256 MiB. Total
	// are those of all files of this node; default 2 GiB.
	Exports      int
	Bytes, Total int64
}

// Request says which records an export has. Lists are alternatives; an empty one asks for nothing.
type Request struct {
	// Since is inclusive and Until exclusive; both are required.
	Since        time.Time       `json:"range_start"`
	Until        time.Time       `json:"range_end"`
	Organization string          `json:"organization_id,omitempty"`
	Actions      []access.Action `json:"actions,omitempty"`
	ActorIDs     []string        `json:"actor_ids,omitempty"`
	ActorNames   []string        `json:"actor_names,omitempty"`
	Targets      []Target        `json:"targets,omitempty"`
	Format       Format          `json:"format"`
}

// Export is one, as its file beside the records has it.
type Export struct {
	V           int                  `json:"v"`
	ID          ID                   `json:"id"`
	Environment access.EnvironmentID `json:"environment_id"`
	Request     Request              `json:"request"`
	State       State                `json:"state"`
	// Code says why it failed.
	Code      string    `json:"code,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	ExpiresAt time.Time `json:"expires_at"`
	// End is the size of the log when it was asked for.
	End uint64 `json:"end"`
	// Looked counts the records that were looked at; Records are in the file, Missing are not in the log any more.
	Looked  uint64 `json:"-"`
	Records uint64 `json:"records"`
	Missing uint64 `json:"missing"`
	Bytes   int64  `json:"bytes"`
	// Node is the one whose log it is of, OtherNodes those whose logs are not in it.
	Node       string   `json:"node"`
	OtherNodes []string `json:"other_nodes,omitempty"`
}

// The codes of failures and refusals.
const (
	CodeTooLarge = "too_large"
	CodeNoRoom   = "no_room"
	CodeBroken   = "audit_log_unreadable"
	CodeInvalid  = "invalid_value"
	CodeNone     = "entity_not_found"
	CodeTooMany  = "too_many_exports"
	CodeNotReady = "export_not_ready"
)

// Errors of the use cases.
var (
	// ErrNone also hides an export of another environment, and one that has expired (404).
	ErrNone = errors.New("export: no such export")
	// ErrTooMany means that the environment has as many exports on this node as one may have (409).
	ErrTooMany = errors.New("export: too many exports")
	// ErrNotReady means that there is no file yet, or never will be: State says which (409).
	ErrNotReady = errors.New("export: not ready")
)

// InvalidError is a refused value (422). Rule says what is allowed and never repeats what was sent.
type InvalidError struct{ Field, Rule string }

func (e *InvalidError) Error() string { return "export: " + e.Field + " " + e.Rule }

// Config is what [Open] needs; all but Limits are required.
type Config struct {
	Log  *audit.Log
	Gate *access.Gate
	// Fence returns once reads show everything that was acknowledged anywhere before.
	Fence func(context.Context) error
	// Nodes are the replicas whose logs there are.
	Nodes func(context.Context) ([]string, error)
	// Dir holds the files. It is created (0700) if only it is missing.
	Dir string
	// NewID makes a ULID, which an export is called by.
	NewID func() string
	Now   func() time.Time
	// Logger is told of exports that cannot be made.
	Logger *slog.Logger
	Limits Limits
}

// Exports is the use cases, and makes the files. Its methods return access.ErrDenied, access.ErrUnauthenticated, the
// errors above and outages, and leave a record of every call.
type Exports struct {
	config Config
	guard  trail.Guard
	cancel context.CancelFunc
	ended  sync.WaitGroup
	woken  chan struct{}

	// mu guards all, in order of creation; it is never held during I/O.
	mu  sync.Mutex
	all []*Export
}

// Open reads what is there and begins to make what is not ready.
func Open(c Config) (*Exports, error) {
	if c.Log == nil || c.Gate == nil || c.Fence == nil || c.Nodes == nil || c.Dir == "" || c.NewID == nil || c.Now == nil || c.Logger == nil {
		return nil, errors.New("export: exports need Log, Gate, Fence, Nodes, Dir, NewID, Now and Logger")
	}
	if c.Limits.Exports <= 0 {
		c.Limits.Exports = 20
	}
	if c.Limits.Bytes <= 0 {
		c.Limits.Bytes = 256 << 20
	}
	if c.Limits.Total <= 0 {
		c.Limits.Total = 2 << 30
	}
	e := &Exports{
		config: c, woken: make(chan struct{}, 1),
		guard: trail.Guard{Gate: c.Gate, Audit: c.Log, Fence: c.Fence, Verdict: judge},
	}
	if err := e.find(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	e.ended.Go(func() { e.run(ctx) })
	return e, nil
}

// Close ends. What is not ready is made anew by the next start.
func (e *Exports) Close() error {
	e.cancel()
	e.ended.Wait()
	return nil
}

// Create asks for an export.
func (e *Exports) Create(ctx context.Context, call access.Call, r Request) (Export, error) {
	o, err := e.guard.Begin(ctx, call, access.AuditExport)
	if err != nil {
		return Export{}, err
	}
	made, err := e.create(ctx, o, r)
	return trail.Committed(ctx, o, made, err)
}

func (e *Exports) create(ctx context.Context, o *trail.Operation, r Request) (Export, error) {
	if err := r.check(); err != nil {
		return Export{}, err
	}
	nodes, err := e.config.Nodes(ctx)
	if err != nil {
		return Export{}, err
	}
	now := e.config.Now().UTC()
	made := Export{
		V: version, ID: ID(IDPrefix + e.config.NewID()), Environment: o.Environment(), Request: r, State: Pending,
		CreatedAt: now, UpdatedAt: now, ExpiresAt: now.Add(Lifetime), End: e.config.Log.Size(), Node: e.config.Log.Node(),
	}
	for _, n := range nodes {
		if n != made.Node {
			made.OtherNodes = append(made.OtherNodes, n)
		}
	}
	o.Record.Subject = string(made.ID)
	if err := o.Intend(ctx); err != nil {
		return Export{}, err
	}
	return made, e.add(&made)
}

// add keeps one more, if there is room.
func (e *Exports) add(made *Export) error {
	kept := *made
	e.mu.Lock()
	n := 0
	for _, other := range e.all {
		if other.Environment == made.Environment {
			n++
		}
	}
	if n >= e.config.Limits.Exports {
		e.mu.Unlock()
		return ErrTooMany
	}
	e.all = append(e.all, &kept)
	e.mu.Unlock()
	if err := e.store(made); err != nil {
		e.forget(made.ID)
		return &outage.Error{Dependency: outage.Audit, Cause: err}
	}
	select {
	case e.woken <- struct{}{}:
	default:
	}
	return nil
}

// Show tells how far an export is.
func (e *Exports) Show(ctx context.Context, call access.Call, id ID) (Export, error) {
	o, err := e.guard.Begin(ctx, call, access.AuditExportRead)
	if err != nil {
		return Export{}, err
	}
	found, err := e.of(o, id)
	return trail.Answer(ctx, o, found, err)
}

// of is an export of the caller's environment. One that has expired is not there, also before it is deleted.
func (e *Exports) of(o *trail.Operation, id ID) (Export, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range e.all {
		if x.ID == id && x.Environment == o.Environment() && e.config.Now().Before(x.ExpiresAt) {
			o.Record.Subject = string(id)
			return *x, nil
		}
	}
	return Export{}, ErrNone
}

// File is an export that is ready, and its file, which the caller closes.
type File struct {
	Export
	*os.File
}

// Fetch opens the file of an export.
func (e *Exports) Fetch(ctx context.Context, call access.Call, id ID) (File, error) {
	o, err := e.guard.Begin(ctx, call, access.AuditExportRead)
	if err != nil {
		return File{}, err
	}
	file, err := e.fetch(o, id)
	answer, err := trail.Answer(ctx, o, file, err)
	if err != nil && file.File != nil {
		_ = file.Close()
	}
	return answer, err
}

func (e *Exports) fetch(o *trail.Operation, id ID) (File, error) {
	found, err := e.of(o, id)
	if err != nil {
		return File{}, err
	}
	if found.State != Ready {
		return File{}, ErrNotReady
	}
	f, err := os.Open(e.path(found.ID, string(found.Request.Format)))
	if errors.Is(err, fs.ErrNotExist) {
		return File{}, ErrNone // it has just expired, or somebody else took it
	}
	if err != nil {
		return File{}, &outage.Error{Dependency: outage.Audit, Cause: err}
	}
	return File{found, f}, nil
}

func (e *Exports) path(id ID, suffix string) string {
	return filepath.Join(e.config.Dir, string(id)+"."+suffix)
}

// judge is what an audit record says of how a call ended; it follows server/errors.go.
func judge(action access.Action, err error) trail.Verdict {
	if err == nil {
		return trail.Allow(map[access.Action]int{access.AuditExport: 201, access.AuditExportRead: 200}[action])
	}
	if outage.Of(err) != nil { // first: an outage wraps its cause
		return trail.Known(err)
	}
	var invalid *InvalidError
	switch {
	case errors.Is(err, ErrNone):
		return trail.Fail(CodeNone, 404)
	case errors.Is(err, ErrTooMany):
		return trail.Fail(CodeTooMany, 409)
	case errors.Is(err, ErrNotReady):
		return trail.Fail(CodeNotReady, 409)
	case errors.As(err, &invalid):
		return trail.Fail(CodeInvalid, 422)
	}
	return trail.Known(err)
}
