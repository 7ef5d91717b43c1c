package main

import (
	_ "embed" // for configSource
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// configSource is the file with [Config]: the comments that a reader of the code sees are what a user of
// the program is told, and neither can go out of date alone.
//
//go:embed config.go
var configSource string

// manual describes every setting, in the order of the schema.
func manual() (string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", configSource, parser.ParseComments)
	if err != nil {
		return "", fmt.Errorf("manual: %w", err)
	}
	m := manualWriter{types: map[string]*ast.GenDecl{}, described: map[string]string{}}
	for _, decl := range file.Decls {
		if types, ok := decl.(*ast.GenDecl); ok && types.Tok == token.TYPE {
			m.types[types.Specs[0].(*ast.TypeSpec).Name.Name] = types
		}
	}
	m.section("Config", "", "")
	return m.out.String(), m.err
}

// manualWriter walks the declarations.
type manualWriter struct {
	types map[string]*ast.GenDecl
	// described is what the settings of a type began with where it was described.
	described map[string]string
	out       strings.Builder
	err       error
}

// section writes the settings of a struct whose names begin with prefix, then those of its sections. more
// is what the section above says of this one.
func (m *manualWriter) section(name, prefix, more string) {
	decl, ok := m.types[name]
	if !ok {
		m.err = fmt.Errorf("manual: config.go has no type %s", name)
		return
	}
	fields := decl.Specs[0].(*ast.TypeSpec).Type.(*ast.StructType).Fields.List
	if as, ok := m.described[name]; ok {
		m.again(fields, prefix, as, more)
		return
	}
	m.described[name] = prefix
	names := map[string]string{}
	for _, f := range fields {
		names[f.Names[0].Name] = settingName(f)
	}
	if prefix != "" {
		m.paragraph("", sectionWords(decl.Doc.Text())+" "+more)
	}
	var group []string
	for i, f := range fields {
		if child, _ := childSection(f, ""); child != "" {
			continue
		}
		// Fields without a comment share the one above them.
		group = append(group, prefix+settingName(f))
		if i+1 < len(fields) && fields[i+1].Doc == nil {
			if child, _ := childSection(fields[i+1], ""); child == "" {
				continue
			}
		}
		doc := fields[i-len(group)+1].Doc.Text()
		m.out.WriteString("  " + strings.Join(group, "\n  ") + "\n")
		m.paragraph("      ", settingWords(doc, names))
		group = nil
	}
	for _, f := range fields {
		if child, below := childSection(f, prefix); child != "" {
			m.section(child, below, settingWords(f.Doc.Text(), names))
		}
	}
}

// again writes the settings of a struct that was described where they begin with as.
func (m *manualWriter) again(fields []*ast.Field, prefix, as, more string) {
	m.paragraph("", "Sections "+strings.TrimSuffix(prefix, ".")+". "+more)
	for _, f := range fields {
		m.out.WriteString("  " + prefix + settingName(f) + "\n")
	}
	m.paragraph("      ", "Each is what the one of its name is in section "+strings.TrimSuffix(as, ".")+".")
}

// childSection names the struct type of a field that is a section, and what its settings begin with.
func childSection(f *ast.Field, prefix string) (name, below string) {
	switch t := f.Type.(type) {
	case *ast.Ident:
		if strings.HasSuffix(t.Name, "Config") {
			return t.Name, prefix + settingName(f) + "."
		}
	case *ast.MapType:
		if value, ok := t.Value.(*ast.Ident); ok {
			return value.Name, prefix + settingName(f) + "." + tagOf(f).Get(each) + "."
		}
	}
	return "", ""
}

// settingName is the name in the field's tag.
func settingName(f *ast.Field) string { return tagOf(f).Get("koanf") }

func tagOf(f *ast.Field) reflect.StructTag {
	tag, _ := strconv.Unquote(f.Tag.Value)
	return reflect.StructTag(tag)
}

// settingWords puts the names of settings where a comment has those of fields.
func settingWords(doc string, names map[string]string) string {
	return regexp.MustCompile(`\b[A-Z]\w+\b`).ReplaceAllStringFunc(doc, func(word string) string {
		if name, ok := names[word]; ok {
			return name
		}
		return word
	})
}

// sectionWords makes a heading of the comment of a section's type.
func sectionWords(doc string) string {
	return regexp.MustCompile(`^\w+ is (the|a) section`).ReplaceAllString(doc, "Section")
}

// paragraph writes text in lines of at most 96 columns.
func (m *manualWriter) paragraph(indent, text string) {
	line := indent
	for _, word := range strings.Fields(text) {
		switch {
		case line == indent:
			line += word
		case len(line)+1+len(word) > 96:
			m.out.WriteString(line + "\n")
			line = indent + word
		default:
			line += " " + word
		}
	}
	m.out.WriteString(line + "\n\n")
}
