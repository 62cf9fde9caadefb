package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/internal/node"
)

// peerFlags are the settings that have a flag, and --set for the others. The log's flags are the root's.
func peerFlags() []cli.Flag {
	var out []cli.Flag
	for _, s := range node.Settings() {
		usage := strings.TrimSuffix(s.Meaning, ".")
		switch {
		case s.Flag == "" || strings.HasPrefix(s.Key, "log."):
		case s.Kind == "list":
			out = append(out, &cli.StringSliceFlag{Name: s.Flag, Usage: usage + "; may be repeated"})
		case s.Kind == "switch":
			out = append(out, &cli.BoolFlag{Name: s.Flag, Usage: usage})
		default:
			out = append(out, &cli.StringFlag{Name: s.Flag, Usage: usage, DefaultText: s.Default()})
		}
	}
	return append(out, &cli.StringSliceFlag{
		Name: "set", Usage: "any setting of config.toml as `KEY=VALUE`, such as compute.max_hot=16; may be repeated",
	})
}

// effective is the config that holds for the home, with flags and environment.
func effective(c *cli.Command) (node.Effective, error) {
	from, err := flagValues(c)
	if err != nil {
		return node.Effective{}, err
	}
	if _, err := home(c).LoadConfig(); err != nil {
		return node.Effective{}, err // a file is wrong, not what was typed
	}
	e, err := home(c).Effective(os.Environ(), from)
	if err != nil {
		return e, misuse("%v", err)
	}
	for _, u := range e.Unknown {
		fmt.Fprintf(c.Root().ErrWriter, "aopeer: %s\n", u)
	}
	return e, nil
}

// flagValues are the settings given by flags. What cannot be read is misuse that names the flag.
func flagValues(c *cli.Command) (map[string][]string, error) {
	out := map[string][]string{}
	add := func(flag string, s node.Setting, values ...string) error {
		var scratch node.Config
		if err := s.Set(&scratch, values...); err != nil {
			return misuse("%s: %v", flag, err)
		}
		out[s.Key] = values
		return nil
	}
	settings := node.Settings()
	byKey, keys := map[string]node.Setting{}, []string{}
	for _, s := range settings {
		byKey[s.Key] = s
		keys = append(keys, s.Key)
		if s.Flag == "" || !c.IsSet(s.Flag) {
			continue
		}
		values := []string{c.String(s.Flag)}
		switch s.Kind {
		case "list":
			values = c.StringSlice(s.Flag)
		case "switch":
			values = []string{fmt.Sprint(c.Bool(s.Flag))}
		}
		if err := add("--"+s.Flag, s, values...); err != nil {
			return nil, err
		}
	}
	for _, pair := range c.StringSlice("set") {
		key, value, ok := strings.Cut(pair, "=")
		s, known := byKey[key]
		switch {
		case !ok:
			return nil, misuse("--set %q: write KEY=VALUE, such as compute.max_hot=16", pair)
		case !known:
			hint := "see `aopeer config`"
			if meant := node.Nearest(key, keys); meant != "" {
				hint = fmt.Sprintf("did you mean %s?", meant)
			}
			return nil, misuse("--set %s: no such setting: %s", key, hint)
		}
		values := []string{value}
		if s.Kind == "list" {
			values = strings.Split(value, ",")
		}
		if err := add("--set "+key, s, values...); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// shownSetting is one line of `aopeer config --json`.
type shownSetting struct {
	Key     string `json:"key"`
	Value   string `json:"value"`
	Source  string `json:"source"`
	Default string `json:"default"`
	Env     string `json:"env"`
	Flag    string `json:"flag,omitempty"`
}

// shownConfig is what config prints as JSON.
type shownConfig struct {
	Home     string         `json:"home"`
	Network  string         `json:"network"`
	Settings []shownSetting `json:"settings"`
}

func configCommand() *cli.Command {
	return &cli.Command{
		Name: "config", Usage: "show every setting of the home's peer, its value and where that comes from", ArgsUsage: " ",
		Description: "A flag goes before an environment variable, that before config.toml, and that before the default. With the\n" +
			"flags of `aopeer run` it shows what they would do. Keys and passwords are not shown.",
		Flags: peerFlags(),
		Action: func(_ context.Context, c *cli.Command) error {
			if err := args(c, 0, 0); err != nil {
				return err
			}
			return showConfig(c)
		},
	}
}

func showConfig(c *cli.Command) error {
	e, err := effective(c)
	if err != nil {
		return err
	}
	out := shownConfig{Home: string(home(c)), Settings: []shownSetting{}}
	network, err := home(c).Network()
	if err == nil {
		out.Network = network.ID
	}
	for _, s := range node.Settings() {
		v := shownSetting{
			Key: s.Key, Value: s.Text(e.Config), Source: e.Sources[s.Key], Default: s.Default(), Env: s.Env, Flag: s.Flag,
		}
		if s.Key == "gateways" && v.Value == "" && out.Network != "" {
			v.Value, v.Source = strings.Join(network.Gateways, ","), "network file"
		}
		v.Value = node.Shown(v.Value)
		out.Settings = append(out.Settings, v)
	}
	return output(c).value(out, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, s := range out.Settings {
			fmt.Fprintf(t, "%s\t%s\t%s\n", s.Key, plain(s.Value), s.Source)
		}
		_ = t.Flush() // what cannot be printed cannot be reported either
	})
}
