package server_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"culvert/internal/logtest"
	"culvert/pipes/pipestest"
	"culvert/server"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// sink is a ResponseWriter that costs nothing, so that what is measured is the handler.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(int)             {}

// BenchmarkRead compares a read by id with bare gin answering the same bytes, and with the use case
// alone: the difference to the second is what the door costs. No network.
func BenchmarkRead(b *testing.B) {
	d := &door{stack: vaulttest.New(b), log: &logtest.Buffer{}}
	config := d.config(b)
	config.Logger = slog.New(slog.DiscardHandler)
	s, err := server.New(config)
	must(b, err)
	m := d.stack.MustCreate(b, "thing", strings.Repeat("v", 1024))
	r := httptest.NewRequest("GET", "/vault/v1/kv/"+string(m.ID), nil)
	r.Header.Set("Authorization", "Bearer "+d.key())
	recorded := httptest.NewRecorder()
	s.Handler().ServeHTTP(recorded, r)
	if recorded.Code != 200 {
		b.Fatal(recorded.Body.String())
	}

	gin.SetMode(gin.ReleaseMode)
	bare := gin.New()
	body := recorded.Body.Bytes()
	bare.GET("/vault/v1/kv/:id", func(c *gin.Context) { c.Data(200, "application/json", body) })

	serve := func(h http.Handler) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				w := &sink{http.Header{}}
				for pb.Next() {
					clear(w.header)
					h.ServeHTTP(w, r)
				}
			})
		}
	}
	b.Run("gin", serve(bare))
	b.Run("door", serve(s.Handler()))
	b.Run("usecase", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			call := d.stack.Call()
			for pb.Next() {
				if _, err := d.stack.Vault.Get(b.Context(), call, vault.ObjectID(m.ID)); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkVend is the same for a living token.
func BenchmarkVend(b *testing.B) {
	d := &door{pipes: pipestest.New(b), log: &logtest.Buffer{}}
	d.stack = d.pipes.Stack
	config := d.config(b)
	config.Logger = slog.New(slog.DiscardHandler)
	s, err := server.New(config)
	must(b, err)
	d.pipes.MustIntegration(b, pipestest.Slug)
	d.pipes.MustConnect(b, "user_1")
	r := httptest.NewRequest("POST", tokenPath, nil)
	r.Header.Set("Authorization", "Bearer "+d.key())
	serve := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(user1)), int64(len(user1))
		s.Handler().ServeHTTP(w, r)
		return w
	}
	if w := serve(); w.Code != 200 || !strings.Contains(w.Body.String(), `"active":true`) {
		b.Fatal(w.Body.String())
	}
	b.Run("door", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			serve()
		}
	})
	b.Run("usecase", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d.pipes.MustToken(b, "user_1")
		}
	})
}
