package node

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// envPrefix begins the names of the environment variables that aopeer reads.
const envPrefix = "AOPEER_"

// Setting is one line of the table of settings: where it can be given and what it means.
type Setting struct {
	Key     string   // in config.toml, with its section: settle.max_age
	Env     string   // AOPEER_SETTLE_MAX_AGE
	Flag    string   // without dashes; "" for one that only --set reaches
	Kind    string   // text, list, switch, number, duration or size
	OneOf   []string // the values that are allowed; nil is any
	Meaning string

	index []int
	zero  bool // 0 has a meaning
}

// Settings is the table, in the order of config.toml. It is made from the tags of Config.
func Settings() []Setting {
	var out []Setting
	var walk func(t reflect.Type, prefix string, index []int)
	walk = func(t reflect.Type, prefix string, index []int) {
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() {
				continue
			}
			key, at := prefix+f.Tag.Get("toml"), append(slices.Clone(index), i)
			if f.Type.Kind() == reflect.Struct {
				walk(f.Type, key+".", at)
				continue
			}
			s := Setting{
				Key: key, Env: envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_")), Flag: f.Tag.Get("flag"),
				Kind: kindOf(f.Type), Meaning: f.Tag.Get("comment"), index: at, zero: f.Tag.Get("zero") != "",
			}
			if one := f.Tag.Get("one"); one != "" {
				s.OneOf = strings.Split(one, ",")
			}
			out = append(out, s)
		}
	}
	walk(reflect.TypeFor[Config](), "", nil)
	return out
}

func kindOf(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Duration]():
		return "duration"
	case reflect.TypeFor[Size]():
		return "size"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list"
	case reflect.Bool:
		return "switch"
	case reflect.String:
		return "text"
	}
	return "number"
}

// Default is the text of the value that holds when nobody gives another.
func (s Setting) Default() string { return s.Text(DefaultConfig()) }

// Text is the value of the setting in a config; the values of a list stand between commas.
func (s Setting) Text(c Config) string { return strings.Join(s.values(c), ",") }

// values is the setting's text, or the texts of a list.
func (s Setting) values(c Config) []string {
	switch v := reflect.ValueOf(c).FieldByIndex(s.index).Interface().(type) {
	case []string:
		return v
	default:
		return []string{fmt.Sprint(v)}
	}
}

// number is the value of a setting that is one.
func (s Setting) number(c Config) (float64, bool) {
	switch v := reflect.ValueOf(c).FieldByIndex(s.index); {
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanUint():
		return float64(v.Uint()), true
	case v.CanFloat():
		return v.Float(), true
	}
	return 0, false
}

// Set gives the setting a value from text, as it stands in a flag or an environment variable; a list takes several.
func (s Setting) Set(c *Config, values ...string) error {
	v := reflect.ValueOf(c).Elem().FieldByIndex(s.index)
	if s.Kind == "list" {
		v.Set(reflect.ValueOf(slices.Clone(values)))
		return nil
	}
	if len(values) != 1 {
		return fmt.Errorf("%s takes one value", s.Key)
	}
	text := values[0]
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	var err error
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		var b bool
		if b, err = strconv.ParseBool(text); err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(b)
	case reflect.Float64:
		var f float64
		if f, err = strconv.ParseFloat(text, 64); err != nil || !(f >= 0 && f <= 1e15) {
			return fmt.Errorf("%q is not a number such as 1000", text)
		}
		v.SetFloat(f)
	default:
		var n uint64
		if n, err = strconv.ParseUint(text, 10, 63); err != nil {
			return fmt.Errorf("%q is not a whole number such as 64", text)
		}
		if v.CanUint() {
			v.SetUint(n)
		} else {
			v.SetInt(int64(n))
		}
	}
	return nil
}

// Effective is the config that holds for a home, with the source of each value.
type Effective struct {
	Config  Config
	Sources map[string]string // by key: default, the file, the variable or the flag
	Unknown []string          // what is said about variables that begin like ours and are no setting
}

// Effective lays flags over environment variables over config.toml over the defaults. environ is in the form of
// os.Environ; given are the values of flags, by key.
func (h Home) Effective(environ []string, given map[string][]string) (Effective, error) {
	e := Effective{Sources: map[string]string{}}
	present, err := h.readConfig(&e.Config)
	if err != nil {
		return e, err
	}
	env, settings := map[string]string{}, Settings()
	for _, pair := range environ {
		if name, value, ok := strings.Cut(pair, "="); ok && strings.HasPrefix(name, envPrefix) && value != "" {
			env[name] = value
		}
	}
	for _, s := range settings {
		e.Sources[s.Key] = "default"
		if present[s.Key] {
			e.Sources[s.Key] = "config.toml"
		}
		if text, ok := env[s.Env]; ok {
			values := []string{text}
			if s.Kind == "list" {
				values = strings.Split(text, ",")
			}
			if err := s.Set(&e.Config, values...); err != nil {
				return e, fmt.Errorf("environment variable %s: %w", s.Env, err)
			}
			e.Sources[s.Key] = s.Env
			delete(env, s.Env)
		}
		if values, ok := given[s.Key]; ok {
			if err := s.Set(&e.Config, values...); err != nil {
				return e, fmt.Errorf("%s: %w", s.Key, err)
			}
			e.Sources[s.Key] = "flag"
		}
	}
	e.Unknown = unknownVariables(env, settings)
	e.follow()
	return e, e.Config.Validate()
}

// follow gives what depends on the age of bundles a default that fits a shorter one.
func (e *Effective) follow() {
	c := &e.Config
	if e.Sources["settle.max_age"] == "default" {
		return
	}
	for _, f := range []struct {
		key   string
		value *Duration
	}{{"settle.poll", &c.Settle.Poll}, {"compute.claim_age", &c.Compute.ClaimAge}} {
		if e.Sources[f.key] == "default" && *f.value > c.Settle.MaxAge {
			*f.value, e.Sources[f.key] = c.Settle.MaxAge, "settle.max_age"
		}
	}
}

// unknownVariables names what is left, with the setting that may have been meant.
func unknownVariables(env map[string]string, settings []Setting) []string {
	var known, out []string
	for _, s := range settings {
		known = append(known, strings.TrimPrefix(s.Env, envPrefix))
	}
	for name := range env {
		if name == envPrefix+"HOME" || name == envPrefix+"VERBOSE" {
			continue
		}
		if meant := Nearest(strings.TrimPrefix(name, envPrefix), known); meant != "" {
			out = append(out, fmt.Sprintf("environment variable %s is no setting: did you mean %s%s?", name, envPrefix, meant))
		}
	}
	slices.Sort(out)
	return out
}

// LoadConfig reads config.toml; a home without one has the defaults. Unknown keys are refused, because they are
// misspelt ones.
func (h Home) LoadConfig() (Config, error) {
	var c Config
	_, err := h.readConfig(&c)
	return c, err
}

// readConfig also says which settings the file has.
func (h Home) readConfig(c *Config) (present map[string]bool, err error) {
	*c = DefaultConfig()
	raw, err := readBounded(h.config(), 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	if err := toml.NewDecoder(bytes.NewReader(raw)).DisallowUnknownFields().Decode(c); err != nil {
		return nil, fmt.Errorf("config %s%w", h.config(), whereInFile(err))
	}
	var doc map[string]any
	if err := toml.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("config %s: %w", h.config(), err)
	}
	present = map[string]bool{}
	for key, v := range doc {
		if section, ok := v.(map[string]any); ok {
			for name := range section {
				present[key+"."+name] = true
			}
			continue
		}
		present[key] = true
	}
	return present, nil
}

// whereInFile says on which line the file is wrong, and what an unknown setting may have meant.
func whereInFile(err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		first := strict.Errors[0]
		line, _ := first.Position()
		key := strings.Join(first.Key(), ".")
		var known []string
		for _, s := range Settings() {
			section, _, _ := strings.Cut(s.Key, ".")
			known = append(known, s.Key, section)
		}
		hint := "see docs/config.md, or `aopeer config`"
		if meant := Nearest(key, known); meant != "" {
			hint = fmt.Sprintf("did you mean %s?", meant)
		}
		return fmt.Errorf(" line %d: unknown setting %s: %s", line, key, hint)
	}
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		line, _ := bad.Position()
		what, _, typed := strings.Cut(strings.TrimPrefix(bad.Error(), "toml: "), " into ")
		if typed {
			what += " here: another type is wanted, see `aopeer config`"
		}
		return fmt.Errorf(" line %d: %s", line, what)
	}
	return fmt.Errorf(": %w", err)
}

// SaveConfig writes config.toml, with every setting. Those that have their default stand there as comments, so that
// the default of a later version takes effect.
func (h Home) SaveConfig(c Config) error {
	var b strings.Builder
	b.WriteString("# Settings of an aopeer peer. Flags override environment variables (AOPEER_…), which override this file.\n")
	b.WriteString("# `aopeer config` shows what holds and why.\n")
	section := ""
	for _, s := range Settings() {
		name := s.Key
		if head, rest, ok := strings.Cut(s.Key, "."); ok {
			if name = rest; head != section {
				section = head
				fmt.Fprintf(&b, "\n[%s]\n", section)
			}
		}
		v := reflect.ValueOf(c).FieldByIndex(s.index).Interface()
		if list, ok := v.([]string); ok && list == nil {
			v = []string{}
		}
		line, err := toml.Marshal(map[string]any{name: v})
		if err != nil {
			return fmt.Errorf("write config: %w", err)
		}
		comment := ""
		if s.Text(c) == s.Default() {
			comment = "# "
		}
		fmt.Fprintf(&b, "# %s\n%s%s", s.Meaning, comment, line)
	}
	return writeFile(h.config(), []byte(b.String()), 0o600)
}

// Shown is a value as it may be shown to anybody: a password in a URL is left out.
func Shown(text string) string {
	values := strings.Split(text, ",")
	for i, v := range values {
		if u, err := url.Parse(v); err == nil && u.User != nil {
			values[i] = u.Redacted()
		}
	}
	return strings.Join(values, ",")
}

// Nearest is the word of a list that is a few typing errors away, at most two or a third of its length, or "".
func Nearest(word string, list []string) string {
	best, least := "", max(3, len(word)/3+1)
	for _, w := range list {
		if d := distance(w, word); d < least && d < len(word) {
			best, least = w, d
		}
	}
	return best
}

// distance counts the insertions, deletions and substitutions between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
