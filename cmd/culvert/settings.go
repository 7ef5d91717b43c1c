package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/v2"
)

// loadConfig reads the defaults, then the file (if one is named), then the settings in their order:
// the last word wins. The result is validated in form but nothing it names has been opened.
func loadConfig(file string, settings []string) (Config, error) {
	cfg := defaults()
	k := koanf.New(".")
	if file != "" {
		text, err := readSettings(file)
		if err != nil {
			err = fmt.Errorf("read the configuration: %w", err)
			if len(hints(err)) == 0 {
				err = hinted(err, "name a file of settings that this user may read with --config")
			}
			return Config{}, err
		}
		if err := loadText(k, text); err != nil {
			return Config{}, fmt.Errorf("%s: %w", file, err)
		}
	}
	for _, setting := range settings {
		if err := set(k, setting); err != nil {
			return Config{}, err
		}
	}
	if err := decode(k, &cfg); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// readSettings reads the file of settings, which may be a pipe.
//
// Attacker: an account on this machine that may write to the file, and so choose which library is loaded for
// an HSM and where client secrets go. Gap: the file's group, which may be the operators'.
func readSettings(path string) (text []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() {
		if err := checkMode(path, info, 0o002, 0o640); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(f)
}

// loadText reads a file's text. It is decoded here once for its mistakes alone, as long as it is known
// that they are the file's.
func loadText(k *koanf.Koanf, text []byte) error {
	if err := k.Load(text2koanf(text), yaml.Parser()); err != nil {
		return unreadable(err)
	}
	for name := range k.Raw() {
		if section, rest, dotted := strings.Cut(name, "."); dotted {
			return hinted(usage("unknown setting %q", name),
				fmt.Sprintf("in YAML write it as a section, %s: {%s: …}", section, rest))
		}
	}
	if err := checkKeys(k.Raw(), reflect.TypeFor[Config](), ""); err != nil {
		return err
	}
	scratch := defaults()
	return decode(k.Copy(), &scratch)
}

// unreadable says what is wrong with YAML, without quoting values from it.
func unreadable(err error) error {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:\n  ")
	if line, _, ok := strings.Cut(text, ": cannot unmarshal "); ok {
		return hinted(usage("%s: not a setting", line), "write name: value, such as addr: 127.0.0.1:8700")
	}
	return usage("not readable as YAML: %s", text)
}

// text2koanf is a [koanf.Provider] of bytes that are in memory already. koanf's own file provider
// would bring a file watcher into the program.
type text2koanf []byte

func (t text2koanf) ReadBytes() ([]byte, error) { return t, nil }

func (t text2koanf) Read() (map[string]any, error) {
	return nil, errors.New("culvert: configuration text needs a parser")
}

// set applies one `key=value` of --set.
func set(k *koanf.Koanf, setting string) error {
	key, value, ok := strings.Cut(setting, "=")
	if !ok {
		return hinted(usage("--set %q has no value", setting), "write it as key=value")
	}
	if !slices.ContainsFunc(keysOf(reflect.TypeFor[Config](), ""), func(known string) bool { return isSetting(key, known) }) {
		return unknownKey(key)
	}
	// An earlier `etcd:` without a value leaves a null where a section has to be.
	if section, _, ok := strings.Cut(key, "."); ok && k.Get(section) == nil {
		k.Delete(section)
	}
	if err := k.Set(key, value); err != nil {
		return fmt.Errorf("--set %s: %w", key, err)
	}
	return nil
}

// checkKeys refuses names that the schema does not have, at any depth.
func checkKeys(raw map[string]any, schema reflect.Type, prefix string) error {
	fields := map[string]reflect.Type{}
	for i := range schema.NumField() {
		f := schema.Field(i)
		fields[f.Tag.Get("koanf")] = f.Type
	}
	for name, value := range raw {
		field, ok := fields[name]
		if !ok {
			return unknownKey(prefix + name)
		}
		if err := checkSection(value, field, prefix+name); err != nil {
			return err
		}
	}
	return nil
}

// checkSection is checkKeys for what stands under one name, if that is a section. The keys of a map are
// anybody's; each has a section of the same schema.
func checkSection(value any, schema reflect.Type, name string) error {
	if schema.Kind() != reflect.Struct && schema.Kind() != reflect.Map || value == nil {
		return nil
	}
	section, ok := value.(map[string]any)
	if !ok {
		return usage("setting %s is a section, not a value", name)
	}
	if schema.Kind() == reflect.Struct {
		return checkKeys(section, schema, name+".")
	}
	for key, value := range section {
		if err := checkSection(value, schema.Elem(), name+"."+key); err != nil {
			return err
		}
	}
	return nil
}

// each is the tag of a map of sections: the word that stands for their names, in capitals, which no setting of
// the schema has.
const each = "each"

// isSetting tells whether key is the setting that known describes.
func isSetting(key, known string) bool {
	have, want := strings.Split(key, "."), strings.Split(known, ".")
	return slices.EqualFunc(have, want, func(have, want string) bool {
		return have == want || want == strings.ToUpper(want) && have != ""
	})
}

func unknownKey(key string) error {
	known := keysOf(reflect.TypeFor[Config](), "")
	err := usage("unknown setting %q", key)
	if near := nearestSetting(key, known); near != "" {
		return hinted(err, "did you mean "+near+"?")
	}
	section, _, nested := strings.Cut(key, ".")
	if all := inSection(section, known); nested && len(all) > 0 {
		return hinted(err, "the settings there are "+strings.Join(all, ", "))
	}
	return hinted(err, "culvert help settings lists them")
}

// nearestSetting is the one that a misspelt one was probably meant to be, also where a section before it was left
// out; empty for none.
func nearestSetting(key string, known []string) string {
	if near := nearest(key, known); near != "" {
		return near
	}
	for _, name := range known {
		if strings.HasSuffix(name, "."+key) {
			return name
		}
	}
	// The section may be right, and outweigh the rest.
	end := strings.LastIndex(key, ".")
	if end < 0 {
		return ""
	}
	var last []string
	for _, name := range inSection(key[:end], known) {
		last = append(last, name[end+1:])
	}
	if near := nearest(key[end+1:], last); near != "" {
		return key[:end+1] + near
	}
	return ""
}

// inSection are the settings whose names begin with a section's.
func inSection(section string, known []string) []string {
	var names []string
	for _, name := range known {
		if strings.HasPrefix(name, section+".") {
			names = append(names, name)
		}
	}
	return names
}

// keysOf lists the full names of all settings, in the order of the schema.
func keysOf(schema reflect.Type, prefix string) []string {
	var names []string
	for i := range schema.NumField() {
		f := schema.Field(i)
		name := prefix + f.Tag.Get("koanf")
		switch f.Type.Kind() {
		case reflect.Struct:
			names = append(names, keysOf(f.Type, name+".")...)
		case reflect.Map:
			names = append(names, keysOf(f.Type.Elem(), name+"."+f.Tag.Get(each)+".")...)
		default:
			names = append(names, name)
		}
	}
	return names
}

// decode puts what was read over the defaults. Types are strict, because YAML would otherwise turn
// `addr: 8700` or `versions_kept: yes` into something; text becomes a number, a duration or a list,
// because that is all --set can say.
func decode(k *koanf.Koanf, cfg *Config) error {
	// Null means "not given": a section whose lines are all commented out stays the default.
	for key, value := range k.All() {
		if value == nil {
			k.Delete(key)
		}
	}
	err := k.UnmarshalWithConf("", cfg, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		TagName:     "koanf",
		ErrorUnused: true,
		// A list replaces the default list instead of overwriting its first elements.
		ZeroFields: true,
		DecodeHook: fromText,
	}})
	var wrong *mapstructure.DecodeError
	if errors.As(err, &wrong) {
		return usage("setting %s: %v", wrong.Name(), wrong.Unwrap())
	}
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return nil
}

// fromText is the [mapstructure.DecodeHookFuncType] of decode.
func fromText(_, to reflect.Type, value any) (any, error) {
	text, isText := value.(string)
	switch {
	case to == reflect.TypeFor[time.Duration]():
		if number, ok := value.(int); ok && number == 0 {
			return time.Duration(0), nil
		}
		if !isText {
			return nil, errors.New("a duration needs a unit, such as 30s or 5m")
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			return nil, errors.New("no duration; write it such as 30s or 5m")
		}
		return d, nil
	case to.Kind() == reflect.Bool:
		switch value {
		case true, "true":
			return true, nil
		case false, "false":
			return false, nil
		}
		return nil, errors.New("must be true or false")
	case to.Kind() == reflect.String && !isText:
		return nil, errors.New("not text; put it in quotes")
	case to.Kind() == reflect.Slice && !isText && reflect.TypeOf(value).Kind() != reflect.Slice:
		return nil, errors.New("not a list; write it as [one, two]")
	case (to.Kind() == reflect.Int || to.Kind() == reflect.Int64) && !isText && !reflect.ValueOf(value).CanInt():
		return nil, errors.New("no whole number")
	case isText && (to.Kind() == reflect.Int || to.Kind() == reflect.Int64):
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, errors.New("no whole number")
		}
		return n, nil
	case isText && to.Kind() == reflect.Slice:
		if text == "" {
			return []string{}, nil
		}
		return strings.Split(text, ","), nil
	}
	return value, nil
}
