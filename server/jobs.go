package server

import (
	"net/http"
	"time"

	"culvert/keys"
)

// createJob is POST /culvert/v1/jobs.
func (s *Server) createJob() handler {
	return handle(endpoint[keys.JobRequest, keys.Job]{
		status: http.StatusCreated,
		decode: decodeJob,
		call:   s.keys.CreateJob,
		encode: encodeJob,
	})
}

func decodeJob(x *exchange) (keys.JobRequest, error) {
	var q keys.JobRequest
	var name, value *string
	var olderThan string
	if err := x.object(
		required("kind", textInto, &q.Kind),
		optional("key_id", textInto, &q.Scope.KeyID),
		changed("context_name", textInto, &name),
		changed("context_value", textInto, &value),
		optional("all", flagInto, &q.All),
		optional("older_than", textInto, &olderThan),
		optional("dry_run", flagInto, &q.DryRun),
		optional("rate", countInto, &q.Rate),
		optional("confirm", textInto, &q.Confirm),
	); err != nil {
		return q, err
	}
	if (name == nil) != (value == nil) {
		return q, refused("invalid_value", "context_name", "and context_value belong together")
	}
	if name != nil {
		// An item without a name would stand for all contexts.
		if *name == "" {
			return q, refused("invalid_value", "context_name", "must not be empty")
		}
		q.Scope.Item = keys.Item{Name: *name, Value: *value}
	}
	if olderThan != "" {
		var err error
		if q.OlderThan, err = time.ParseDuration(olderThan); err != nil {
			return q, refused("invalid_value", "older_than", "must be a duration such as 720h")
		}
	}
	return q, nil
}

// listJobs is GET /culvert/v1/jobs.
func (s *Server) listJobs() handler {
	return handle(endpoint[keys.JobQuery, keys.JobPage]{
		status: http.StatusOK,
		decode: func(x *exchange) (keys.JobQuery, error) {
			var q keys.JobQuery
			parameters, err := x.query()
			if err != nil {
				return q, err
			}
			q.Limit, q.After, err = pageAfter[keys.JobID](parameters)
			return q, err
		},
		call: s.keys.Jobs,
		encode: func(b []byte, p keys.JobPage) ([]byte, error) {
			w := &jsonWriter{b: b}
			list(w, p.Data, "", string(p.After), w.job)
			return w.done()
		},
	})
}

// readJob is GET /culvert/v1/jobs/{id}.
func (s *Server) readJob() handler { return named(s.keys.Job, (*jsonWriter).job) }

// cancelJob is POST /culvert/v1/jobs/{id}/cancel.
func (s *Server) cancelJob() handler { return named(s.keys.CancelJob, (*jsonWriter).job) }

// resumeJob is POST /culvert/v1/jobs/{id}/resume.
func (s *Server) resumeJob() handler { return named(s.keys.ResumeJob, (*jsonWriter).job) }

func encodeJob(b []byte, j keys.Job) ([]byte, error) {
	w := &jsonWriter{b: b}
	w.job(j)
	return w.done()
}

func (w *jsonWriter) job(j keys.Job) {
	w.raw(`{"object":"job","id":`)
	w.text(string(j.ID))
	w.raw(`,"kind":`)
	w.text(string(j.Kind))
	w.raw(`,"state":`)
	w.text(string(j.State))
	w.raw(`,"reason":`)
	w.textOrNull(j.Reason)
	w.raw(`,"key_id":`)
	w.textOrNull(string(j.Scope.KeyID))
	w.raw(`,"context_name":`)
	w.textOrNull(j.Scope.Item.Name)
	w.raw(`,"context_value":`)
	if j.Scope.Item.Name == "" {
		w.raw(`null`)
	} else {
		w.text(j.Scope.Item.Value)
	}
	w.raw(`,"primaries_before":`)
	w.timeOrNull(j.Before)
	w.raw(`,"root_key":`)
	w.textOrNull(j.RootKey)
	w.raw(`,"dry_run":`)
	w.bool(j.DryRun)
	w.raw(`,"rate":`)
	w.number(j.Rate)
	for _, count := range []struct {
		name string
		n    uint64
	}{{"total", j.Counts.Total}, {"done", j.Counts.Done}, {"changed", j.Counts.Changed}, {"failed", j.Counts.Failed}, {"unreadable", j.Counts.Unreadable},
		{"opened", j.Counts.Opened}, {"shredded", j.Counts.Shredded}, {"refused", j.Counts.Refused}} {
		w.raw(`,"` + count.name + `":`)
		w.number(int(count.n))
	}
	w.raw(`,"findings":`)
	entries(w, j.Findings, func(f keys.Finding) {
		w.raw(`{"record":`)
		w.text(f.Record)
		w.raw(`,"code":`)
		w.text(f.Code)
		w.raw(`}`)
	})
	w.raw(`,"actor_id":`)
	w.text(j.Actor.ID)
	w.raw(`,"created_at":`)
	w.time(j.CreatedAt, generalTime)
	w.raw(`,"started_at":`)
	w.timeOrNull(j.StartedAt)
	w.raw(`,"ended_at":`)
	w.timeOrNull(j.EndedAt)
	w.raw(`,"caches_until":`)
	w.timeOrNull(j.CachesUntil)
	w.raw(`,"history_until":`)
	w.timeOrNull(j.HistoryUntil)
	w.raw(`,"cmk_id":`)
	w.textOrNull(string(j.CMK))
	w.raw(`,"backups_before":`)
	w.timeOrNull(j.BackupsBefore())
	w.raw(`}`)
}
