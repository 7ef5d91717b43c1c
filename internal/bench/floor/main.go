// Command floor is the baseline of the benchmarks: gin and nothing else. For each route it answers the
// bytes in a file, after decoding the body where there is one.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/gin-gonic/gin"
)

// object is what a body of PUT and POST holds, as a handler without a vault would declare it; a vend of a
// token has the last two.
type object struct {
	Name       string            `json:"name"`
	Value      string            `json:"value"`
	KeyContext map[string]string `json:"key_context"`

	UserID         string `json:"user_id"`
	OrganizationID string `json:"organization_id"`
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves on addr the answers in dir: get, put, post, list and token.
func run(addr, dir string) error {
	answers := map[string][]byte{}
	for _, name := range []string{"get", "put", "post", "list", "token"} {
		answer, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		answers[name] = answer
	}
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.GET("/vault/v1/kv/:id", func(c *gin.Context) { c.Data(http.StatusOK, "application/json", answers["get"]) })
	engine.GET("/vault/v1/kv", func(c *gin.Context) { c.Data(http.StatusOK, "application/json", answers["list"]) })
	decode := func(status int, answer []byte) gin.HandlerFunc {
		return func(c *gin.Context) {
			var o object
			if err := c.ShouldBindJSON(&o); err != nil {
				c.Status(http.StatusBadRequest)
				return
			}
			c.Data(status, "application/json", answer)
		}
	}
	engine.PUT("/vault/v1/kv/:id", decode(http.StatusCreated, answers["put"]))
	engine.POST("/vault/v1/kv", decode(http.StatusCreated, answers["post"]))
	engine.POST("/data-integrations/:slug/token", decode(http.StatusOK, answers["token"]))
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return http.Serve(l, engine)
}
