package arch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Package is one package of the module.
type Package struct {
	// Path is relative to the module.
	Path  string
	Files []File
	// Deps are the import paths of all that its non-test files need, at any distance.
	Deps []string
}

// File is what the rules look at in one Go file.
type File struct {
	// Path is relative to the module's root, with slashes.
	Path    string
	Test    bool
	Imports []string
	// Reveals are the lines that mention a method named Reveal. The name alone is asked for, not the
	// type: no other method of this module may be called so.
	Reveals []int
	Lines   int
}

// listed is the part of `go list -json` that is used here.
type listed struct {
	Dir, ImportPath string
	Module          *struct{ Path string }
	// IgnoredGoFiles are those behind a build tag that is not set, such as e2e.
	GoFiles, TestGoFiles, XTestGoFiles, IgnoredGoFiles []string
	Deps                                               []string
}

// Load reads the module at root with the go command, which is there wherever its tests run.
func Load(ctx context.Context, root string) ([]Package, error) {
	// -buildvcs=false: a checkout that belongs to another user is no reason to fail.
	cmd := exec.CommandContext(ctx, "go", "list", "-buildvcs=false", "-deps", "-json", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.String())
	}
	var packages []Package
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := d.Decode(&l); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		if l.Module == nil || l.Module.Path != Module {
			continue
		}
		p, err := l.read(root)
		if err != nil {
			return nil, err
		}
		packages = append(packages, p)
	}
}

// read parses the files of a package.
func (l *listed) read(root string) (Package, error) {
	p := Package{Path: strings.TrimPrefix(l.ImportPath, Module+"/"), Deps: l.Deps}
	for _, names := range [][]string{l.GoFiles, l.TestGoFiles, l.XTestGoFiles, l.IgnoredGoFiles} {
		for _, name := range names {
			file := filepath.Join(l.Dir, name)
			rel, err := filepath.Rel(root, file)
			if err != nil {
				return Package{}, fmt.Errorf("place of %s: %w", file, err)
			}
			source, err := os.ReadFile(file)
			if err != nil {
				return Package{}, fmt.Errorf("read a source file: %w", err)
			}
			f, err := ParseFile(filepath.ToSlash(rel), source)
			if err != nil {
				return Package{}, err
			}
			p.Files = append(p.Files, f)
		}
	}
	return p, nil
}

// ParseFile takes from a source text what the rules look at.
func ParseFile(name string, source []byte) (File, error) {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, name, source, parser.SkipObjectResolution)
	if err != nil {
		return File{}, fmt.Errorf("parse: %w", err)
	}
	f := File{
		Path:  name,
		Test:  strings.HasSuffix(name, "_test.go"),
		Lines: bytes.Count(source, []byte("\n")),
	}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return File{}, fmt.Errorf("import of %s: %w", name, err)
		}
		f.Imports = append(f.Imports, imported)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		// A method value (x.Reveal without a call) hands the plaintext out just as well.
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Reveal" {
			f.Reveals = append(f.Reveals, set.Position(s.Sel.Pos()).Line)
		}
		return true
	})
	return f, nil
}

// match reports whether a slash path fits one of the patterns of [Rules].
func match(name string, patterns ...string) bool {
	for _, p := range patterns {
		if above, ok := strings.CutSuffix(p, "/..."); ok {
			if name == above || strings.HasPrefix(name, above+"/") {
				return true
			}
			continue
		}
		if ok, err := path.Match(p, name); err == nil && ok {
			return true
		}
	}
	return false
}
