package server

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"culvert/internal/export"
)

// exportsPath is that of the contract's exports of the audit log.
const exportsPath = "/audit_logs/exports"

// createExport is POST /audit_logs/exports. An Idempotency-Key is ignored: a second export is another file of the same
// records, and goes as the first one does.
func (s *Server) createExport() handler {
	return handle(endpoint[export.Request, export.Export]{
		status: http.StatusCreated,
		decode: func(x *exchange) (q export.Request, err error) {
			var names []string
			err = x.object(
				required("range_start", momentInto, &q.Since), required("range_end", momentInto, &q.Until),
				optional("organization_id", textInto, &q.Organization), optional("actions", listInto, &q.Actions),
				optional("actors", listInto, &names), optional("actor_names", listInto, &q.ActorNames),
				optional("actor_ids", listInto, &q.ActorIDs), optional("targets", listInto, &q.Targets),
				optional("format", textInto, &q.Format),
			)
			q.ActorNames = append(q.ActorNames, names...) // what older SDKs call them
			return q, err
		},
		call:   s.exports.Create,
		encode: s.encodeExport,
	})
}

// readExport is GET /audit_logs/exports/{id}.
func (s *Server) readExport() handler {
	return handle(endpoint[export.ID, export.Export]{
		status: http.StatusOK,
		decode: decodeID[export.ID],
		call:   s.exports.Show,
		encode: s.encodeExport,
	})
}

func (s *Server) encodeExport(b []byte, e export.Export) ([]byte, error) {
	w := &jsonWriter{b: b}
	w.raw(`{"object":"audit_log_export","id":`)
	w.text(string(e.ID))
	w.raw(`,"state":`)
	w.text(string(e.State))
	w.raw(`,"url":`)
	if e.State == export.Ready {
		w.text(s.publicURL + exportsPath + "/" + string(e.ID) + "/file")
	} else {
		w.raw(`null`)
	}
	w.raw(`,"created_at":`)
	w.time(e.CreatedAt, generalTime)
	w.raw(`,"updated_at":`)
	w.time(e.UpdatedAt, generalTime)
	w.raw(`,"expires_at":`)
	w.time(e.ExpiresAt, generalTime)
	w.raw(`,"format":`)
	w.text(string(e.Request.Format))
	w.raw(`,"reason":`)
	w.textOrNull(e.Code)
	w.raw(`,"records":`)
	w.number(int(e.Records))
	w.raw(`,"looked_at_records":`)
	w.number(int(e.Looked))
	w.raw(`,"missing_records":`)
	w.number(int(e.Missing))
	w.raw(`,"bytes":`)
	w.number(int(e.Bytes))
	w.raw(`,"node":`)
	w.text(e.Node)
	w.raw(`,"nodes_not_included":`)
	entries(w, e.OtherNodes, w.text)
	w.raw(`}`)
	return w.done()
}

// fetchExport is GET /audit_logs/exports/{id}/file. The answer is as long as the export, so it is sent in pieces, each
// of which the client has time for.
func (s *Server) fetchExport() handler {
	return func(x *exchange) error {
		if err := x.authenticate(); err != nil {
			return err
		}
		id, err := decodeID[export.ID](x)
		if err != nil {
			return x.recordRefusal(err)
		}
		file, err := s.exports.Fetch(x.r.Context(), x.call(), id)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		contentType := "text/csv; charset=utf-8; header=present"
		if file.Request.Format == export.JSON {
			contentType = "application/x-ndjson"
		}
		header := x.w.Header()
		header.Set("Content-Type", contentType)
		header.Set("Content-Length", strconv.FormatInt(file.Bytes, 10))
		header.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s.%s"`, file.ID, file.Request.Format))
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cache-Control", "no-store")
		x.status = http.StatusOK
		x.w.WriteHeader(x.status)
		x.pieces(io.LimitReader(file, file.Bytes))
		return nil
	}
}

const (
	pieceBytes   = 256 << 10
	pieceTimeout = 30 * time.Second
)

// pieces sends what is read. Nobody can be told of an error any more: the client sees that bytes are missing.
func (x *exchange) pieces(from io.Reader) {
	control := http.NewResponseController(x.w)
	for {
		_ = control.SetWriteDeadline(time.Now().Add(pieceTimeout)) // without it the usual one holds
		n, err := io.CopyN(x.w, from, pieceBytes)
		if err != nil || n < pieceBytes {
			return
		}
	}
}
