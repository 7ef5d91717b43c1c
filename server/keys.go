package server

import (
	"net/http"

	"culvert/keys"
	"culvert/vault"
)

// createDataKey is POST /vault/v1/keys/data-key. An Idempotency-Key is ignored here and on the other
// key routes: keeping the answer would keep the key.
func (s *Server) createDataKey() handler {
	return handle(endpoint[keys.Context, vault.DataKey]{
		status: http.StatusOK, plaintext: true,
		decode: func(x *exchange) (keys.Context, error) {
			var c keys.Context
			err := x.object(member{"context", true, contextInto("context", &c)})
			return c, err
		},
		call:   s.vault.CreateDataKey,
		encode: encodeDataKey,
	})
}

// decryptDataKey is POST /vault/v1/keys/decrypt. The answer has no context: the blob's own says nothing
// to a caller who may hold many.
func (s *Server) decryptDataKey() handler {
	return handle(endpoint[[]byte, vault.DataKey]{
		status: http.StatusOK, plaintext: true,
		decode: func(x *exchange) ([]byte, error) {
			var blob []byte
			err := x.object(member{"keys", true, blobInto("keys", &blob)})
			return blob, err
		},
		call: s.vault.DecryptDataKey,
		encode: func(b []byte, k vault.DataKey) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.raw(`{"id":`)
			w.text(k.ID)
			w.raw(`,"data_key":`)
			w.key(k.Key)
			w.raw(`}`)
			return w.done()
		},
	})
}

// rekeyDataKey is POST /vault/v1/keys/rekey: the same key under another context.
func (s *Server) rekeyDataKey() handler {
	return handle(endpoint[vault.RekeyRequest, vault.DataKey]{
		status: http.StatusOK, plaintext: true,
		decode: func(x *exchange) (vault.RekeyRequest, error) {
			var q vault.RekeyRequest
			err := x.object(
				member{"context", true, contextInto("context", &q.Context)},
				member{"encrypted_keys", true, blobInto("encrypted_keys", &q.Blob)},
			)
			return q, err
		},
		call:   s.vault.Rekey,
		encode: encodeDataKey,
	})
}

// object reads a request that is nothing but a body. None of these bodies is kept: they hold no value,
// and what they ask for must not be replayed.
func (x *exchange) object(members ...member) error {
	raw, err := x.bodyAlone()
	if err != nil {
		return err
	}
	return decodeObject(raw, members...)
}

// bodyAlone is the body of a request whose query says nothing, but has to be one.
func (x *exchange) bodyAlone() ([]byte, error) {
	if _, err := x.query(); err != nil {
		return nil, err
	}
	return x.body()
}

// encodeDataKey is the answer of data-key and rekey, which is the same key in another wrapping.
func encodeDataKey(b []byte, k vault.DataKey) ([]byte, error) {
	w := &jsonWriter{b: b}
	w.raw(`{"id":`)
	w.text(k.ID)
	w.raw(`,"data_key":`)
	w.key(k.Key)
	w.raw(`,"encrypted_keys":`)
	w.base64(k.Blob)
	w.raw(`,"context":`)
	w.context(k.Context)
	w.raw(`}`)
	return w.done()
}
