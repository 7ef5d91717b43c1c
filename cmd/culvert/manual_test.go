package main_test

import (
	"bytes"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	main "culvert/cmd/culvert"
)

// TestManual: every setting is in the manual, with words behind it, and nothing else is.
func TestManual(t *testing.T) {
	text, err := exec.Command("culvert", "help", "settings").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := bytes.Cut(text, []byte("files that settings name.\n"))
	described := map[string]bool{}
	for _, entry := range strings.Split(string(list), "\n\n") {
		var names []string
		words := 0
		for _, line := range strings.Split(strings.Trim(entry, "\n"), "\n") {
			if name, ok := strings.CutPrefix(line, "  "); ok && !strings.HasPrefix(name, " ") {
				names = append(names, name)
			} else {
				words += len(strings.Fields(line))
			}
		}
		for _, name := range names {
			described[name] = words > 3
		}
	}
	for _, name := range main.KeysOf(reflect.TypeFor[main.Config](), "") {
		if !described[name] {
			t.Errorf("%s is not described", name)
		}
		delete(described, name)
	}
	for name := range described {
		t.Errorf("%s is described and no setting", name)
	}
	for _, word := range []string{"DataDir", "MaxValueBytes", "CertFile", "AdminAddr", "Config is"} {
		if strings.Contains(string(text), word) {
			t.Errorf("the manual calls a setting by its name in the code, %s", word)
		}
	}
	for _, want := range []string{
		"  etcd.cert_file\n  etcd.key_file\n      cert_file and key_file are what",
		"Section vault.\n\n  vault.max_value_bytes\n      max_value_bytes is the longest value",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the manual has no %q", want)
		}
	}
}
