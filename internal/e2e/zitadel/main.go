// Command zitadel is the authorization server of Zitadel's library, with the storage of its example: it
// takes PKCE, and rotates refresh tokens. The example's own main listens on every interface.
//
// Its standard input begins with a line of JSON, {"issuer": URL, "client_id": ID, "client_secret": SECRET,
// "redirect_uris": [URL]}. It prints its port on loopback, and ends with its input.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	var asked struct {
		Issuer       string   `json:"issuer"`
		ClientID     string   `json:"client_id"`
		ClientSecret string   `json:"client_secret"`
		RedirectURIs []string `json:"redirect_uris"`
	}
	if err := json.Unmarshal(first, &asked); err != nil {
		return err
	}
	storage.RegisterClients(storage.WebClient(asked.ClientID, asked.ClientSecret, asked.RedirectURIs...))
	handler := exampleop.SetupServer(asked.Issuer, storage.NewStorage(storage.NewUserStore(asked.Issuer)), slog.New(slog.DiscardHandler), false)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, l.Addr().(*net.TCPAddr).Port)
	failed := make(chan error, 1)
	go func() { failed <- http.Serve(l, handler) }()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, lines)
		ended <- err
	}()
	select {
	case err := <-failed:
		return err
	case err := <-ended:
		return err
	}
}
