package server_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
)

// readAnswer reads one response from a connection.
func readAnswer(t testing.TB, conn net.Conn) answer {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return answer{response.StatusCode, response.Header, string(body)}
}
