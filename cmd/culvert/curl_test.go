package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// curl is as much of curl(1) as the README and the first-start text use, read as curl reads it: -H, -d,
// -X, -s, -sS, -w with newlines, and one URL. Anything else is an error, so that a line that works here works there.
func curl() {
	if err := curlMain(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "curl:", err)
		os.Exit(2)
	}
}

func curlMain(args []string, out io.Writer) error {
	var (
		url, method, after string
		body               []byte
		hasBody            bool
		header             = http.Header{}
	)
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch arg {
		case "-H", "-d", "-X", "-w":
			if i++; i == len(args) {
				return fmt.Errorf("option %s: requires parameter", arg)
			}
			switch arg {
			case "-H":
				name, value, ok := strings.Cut(args[i], ":")
				if !ok {
					return errors.New("a header without a colon")
				}
				header.Set(name, strings.TrimSpace(value))
			case "-d":
				body, hasBody = []byte(args[i]), true
			case "-X":
				method = args[i]
			case "-w":
				after = strings.ReplaceAll(args[i], `\n`, "\n")
			}
		case "-s", "-sS":
		default:
			if strings.HasPrefix(arg, "-") || url != "" {
				return fmt.Errorf("what is %q?", arg)
			}
			url = arg
		}
	}
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	if hasBody && header.Get("Content-Type") == "" {
		header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if method == "" && hasBody {
		method = http.MethodPost
	}
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = header
	resp, err := do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(out, resp.Body); err != nil {
		return err
	}
	_, err = io.WriteString(out, after)
	return err
}

// do sends the request again after a 503, as a person would who pasted the line: on a machine whose disk
// stalls for seconds that is the right answer, and no fault of the line.
func do(req *http.Request) (*http.Response, error) {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable || time.Now().After(deadline) {
			return resp, err
		}
		_ = resp.Body.Close()
		if req.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
}
