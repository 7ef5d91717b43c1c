package arch

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Check returns one sentence for each violation, in the order of the packages.
func Check(rules Rules, packages []Package) []string {
	c := checker{rules: rules, used: make([]bool, len(rules.Exceptions))}
	for _, p := range packages {
		for _, f := range p.Files {
			c.file(p, f)
		}
		c.deps(p)
	}
	for i, e := range rules.Exceptions {
		if !c.used[i] {
			c.say("%s: the exception for %s is needed no more", e.File, e.Import)
		}
		if e.Reason == "" {
			c.say("%s: the exception for %s has no reason", e.File, e.Import)
		}
	}
	return c.found
}

type checker struct {
	rules Rules
	// used tells for each exception whether a file needed it.
	used  []bool
	found []string
}

func (c *checker) say(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}

func (c *checker) file(p Package, f File) {
	if f.Lines > MaxLines {
		c.say("%s has %d lines; %d is the most", f.Path, f.Lines, MaxLines)
	}
	for _, imported := range f.Imports {
		if rule := c.broken(p, f, imported); rule != "" && !c.excepted(f.Path, imported) {
			c.say("%s imports %s: %s", f.Path, imported, rule)
		}
	}
	if f.Test || match(f.Path, c.rules.Revealing...) {
		return
	}
	for _, line := range f.Reveals {
		if !c.excepted(f.Path, "Reveal") {
			c.say("%s:%d reveals a secret: it is not among the files that may", f.Path, line)
		}
	}
}

// broken says which rule an import breaks, or nothing.
func (c *checker) broken(p Package, f File, imported string) string {
	for _, rule := range c.rules.Confined {
		if match(imported, rule.Import+"/...") && !match(p.Path, rule.In...) {
			return "only in " + strings.Join(rule.In, ", ")
		}
	}
	// A package for tests is itself test code, wherever its files are.
	if f.Test || isTest(p.Path) {
		return ""
	}
	if match(path.Base(imported), c.rules.Refused...) || match(imported, c.rules.Refused...) {
		return "only in tests"
	}
	within, ours := strings.CutPrefix(imported, Module+"/")
	if !ours {
		return ""
	}
	for _, arrow := range c.rules.Arrows {
		if match(p.Path, arrow.Package) {
			if match(within, arrow.Imports...) {
				return ""
			}
			return "imports go down only; " + p.Path + " may not look there"
		}
	}
	return "package " + p.Path + " has no row in the table of arrows"
}

// deps follows the arrows that matter most at any distance, so that no leaf can become a tunnel.
func (c *checker) deps(p Package) {
	for _, rule := range []struct{ from, to string }{
		{"vault", "pipes"}, {"pipes", "vault"},
		{"connectors", "keys"}, {"connectors", "vault"},
		{"keys", "internal/etcd"}, {"vault", "internal/etcd"}, {"server", "internal/etcd"},
		{"pipes", "internal/etcd"}, {"connectors", "internal/etcd"},
	} {
		if p.Path == rule.from && slices.Contains(p.Deps, Module+"/"+rule.to) {
			c.say("%s depends on %s by way of another package", rule.from, rule.to)
		}
	}
}

func (c *checker) excepted(file, imported string) bool {
	for i, e := range c.rules.Exceptions {
		if e.File == file && e.Import == imported {
			c.used[i] = true
			return true
		}
	}
	return false
}

// isTest tells the packages that help tests: etcdtest, keystest and the like.
func isTest(pkg string) bool { return strings.HasSuffix(pkg, "test") }
