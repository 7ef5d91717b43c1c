package server

import (
	"context"
	"net/http"
	"strings"
	"time"

	"culvert/internal/access"
	"culvert/keys"
)

// readSchedule is GET /culvert/v1/rotation-schedule.
func (s *Server) readSchedule() handler {
	return handle(endpoint[struct{}, keys.ScheduleView]{
		status: http.StatusOK,
		decode: decodeNothing,
		call: func(ctx context.Context, c access.Call, _ struct{}) (keys.ScheduleView, error) {
			return s.keys.Schedule(ctx, c)
		},
		encode: encodeSchedule,
	})
}

// setSchedule is PUT /culvert/v1/rotation-schedule.
func (s *Server) setSchedule() handler {
	return handle(endpoint[keys.ScheduleRequest, keys.ScheduleView]{
		status: http.StatusOK,
		decode: decodeSchedule,
		call:   s.keys.SetSchedule,
		encode: encodeSchedule,
	})
}

// removeSchedule is DELETE /culvert/v1/rotation-schedule. A body is ignored.
func (s *Server) removeSchedule() handler {
	return handle(endpoint[struct{}, struct{}]{
		status: http.StatusNoContent,
		decode: decodeNothing,
		call: func(ctx context.Context, c access.Call, _ struct{}) (struct{}, error) {
			return struct{}{}, s.keys.RemoveSchedule(ctx, c)
		},
	})
}

// decodeNothing is of routes that need no more than their path.
func decodeNothing(x *exchange) (struct{}, error) {
	_, err := x.query()
	return struct{}{}, err
}

func decodeSchedule(x *exchange) (keys.ScheduleRequest, error) {
	var q keys.ScheduleRequest
	var olderThan, every string
	if err := x.object(
		required("older_than", textInto, &olderThan),
		optional("every", textInto, &every),
		optional("rewrap", flagInto, &q.Rewrap),
		optional("rate", countInto, &q.Rate),
	); err != nil {
		return q, err
	}
	var err error
	if q.OlderThan, err = time.ParseDuration(olderThan); err != nil {
		return q, refused("invalid_value", "older_than", "must be a duration such as 2160h")
	}
	if every != "" {
		if q.Every, err = time.ParseDuration(every); err != nil || q.Every == 0 {
			return q, refused("invalid_value", "every", "must be a duration such as 24h")
		}
	}
	return q, nil
}

func encodeSchedule(b []byte, v keys.ScheduleView) ([]byte, error) {
	w := &jsonWriter{b: b}
	w.schedule(&v)
	return w.done()
}

func (w *jsonWriter) schedule(v *keys.ScheduleView) {
	w.raw(`{"object":"rotation_schedule","older_than":`)
	w.text(durationText(v.OlderThan))
	w.raw(`,"every":`)
	w.text(durationText(v.Every))
	w.raw(`,"rewrap":`)
	w.bool(v.Rewrap)
	w.raw(`,"rate":`)
	w.number(v.Rate)
	w.raw(`,"actor_id":`)
	w.text(v.Actor.ID)
	w.raw(`,"updated_at":`)
	w.time(v.UpdatedAt, generalTime)
	w.raw(`,"next_at":`)
	w.time(v.NextAt, generalTime)
	w.raw(`,"last_at":`)
	w.timeOrNull(v.LastAt)
	for _, last := range []struct {
		name string
		job  *keys.Job
	}{{"rotation", v.RotationJob}, {"rewrapping", v.RewrapJob}} {
		w.raw(`,"` + last.name + `":`)
		if last.job == nil {
			w.raw(`null`)
		} else {
			w.job(*last.job)
		}
	}
	w.raw(`}`)
}

// durationText leaves out the minutes and seconds that there are none of.
func durationText(d time.Duration) string {
	text := d.String()
	for _, none := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, none) {
			text = text[:len(text)-2]
		}
	}
	return text
}
