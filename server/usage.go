package server

import (
	"context"
	"net/http"

	"culvert/internal/access"
	"culvert/vault"
)

// codeQuota is that of what an environment may not hold as well.
const codeQuota = "quota_exceeded"

// readUsage is GET /culvert/v1/usage.
func (s *Server) readUsage() handler {
	return handle(endpoint[struct{}, vault.Usage]{
		status: http.StatusOK,
		decode: decodeNothing,
		call: func(ctx context.Context, c access.Call, _ struct{}) (vault.Usage, error) {
			return s.vault.Usage(ctx, c)
		},
		encode: func(b []byte, u vault.Usage) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.usage(u)
			return w.done()
		},
	})
}

// usage says null for what nobody knows, and for a bound that there is not.
func (w *jsonWriter) usage(u vault.Usage) {
	w.raw(`{"object":"usage","objects":`)
	w.number(u.Objects)
	w.raw(`,"at_least":`)
	w.bool(u.AtLeast)
	w.raw(`,"bytes":`)
	if u.AtLeast {
		w.raw(`null`)
	} else {
		w.number(int(u.Bytes))
	}
	w.raw(`,"objects_limit":`)
	w.numberOrNull(u.Quota.Objects)
	w.raw(`,"bytes_limit":`)
	w.numberOrNull(int(u.Quota.Bytes))
	w.raw(`}`)
}

func (w *jsonWriter) numberOrNull(n int) {
	if n == 0 {
		w.raw(`null`)
		return
	}
	w.number(n)
}
