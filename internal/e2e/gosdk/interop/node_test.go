package interop_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// node is the Node SDK in a process of its own, which answers one request after the other.
type node struct {
	requests *json.Encoder
	answers  *bufio.Reader
}

func startNode(t *testing.T) *node {
	t.Helper()
	cmd := exec.Command("node", "interop.mjs")
	cmd.Dir = filepath.Join("..", "..", "node")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start node: %v", err)
	}
	t.Cleanup(func() {
		// The end of its input ends the process.
		_ = stdin.Close()
		_, _ = io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v", err)
		}
	})
	return &node{json.NewEncoder(stdin), bufio.NewReader(stdout)}
}

// nodeError is an exception of the Node SDK.
type nodeError struct {
	Name   string `json:"name"`
	Status int    `json:"status"`
}

func (e *nodeError) Error() string { return fmt.Sprintf("node: %s, status %d", e.Name, e.Status) }

func (n *node) do(operation string, request map[string]any, result any) error {
	request["operation"] = operation
	if err := n.requests.Encode(request); err != nil {
		return err
	}
	line, err := n.answers.ReadBytes('\n')
	if err != nil {
		return err
	}
	var answer struct {
		Result json.RawMessage
		Error  *nodeError
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return answer.Error
	}
	return json.Unmarshal(answer.Result, result)
}

func (n *node) encrypt(_ context.Context, text, associated string) (blob string, err error) {
	err = n.do("encrypt", map[string]any{"text": text, "context": keyContext(), "associated": associated}, &blob)
	return blob, err
}

func (n *node) decrypt(_ context.Context, blob, associated string) (text string, err error) {
	err = n.do("decrypt", map[string]any{"blob": blob, "associated": associated}, &text)
	return text, err
}

func (n *node) createDataKey(context.Context) (k dataKey, err error) {
	err = n.do("createDataKey", map[string]any{"context": keyContext()}, &k)
	return k, err
}

func (n *node) decryptDataKey(_ context.Context, blob string) (dataKey, error) {
	k := dataKey{Blob: blob}
	err := n.do("decryptDataKey", map[string]any{"blob": blob}, &k)
	return k, err
}

func (n *node) create(_ context.Context, name, value string) error {
	var id string
	return n.do("create", map[string]any{"name": name, "value": value, "context": keyContext()}, &id)
}

func (n *node) read(_ context.Context, name string) (value string, err error) {
	err = n.do("read", map[string]any{"name": name}, &value)
	return value, err
}
