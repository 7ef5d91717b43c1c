package server_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

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
	d := &door{stack: vaulttest.New(b), log: &logBuffer{}}
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
