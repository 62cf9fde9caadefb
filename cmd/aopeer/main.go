// Command aopeer makes a machine a peer of the AO computer: it schedules, computes and pushes messages for others, and
// is the client by which a person does the same (§3).
//
// In come flags, environment variables and a home folder; out come a running peer, or an answer on standard output, as
// text or with --json. Errors are one line on standard error that says what to do; misuse exits with 2, failure with 1.
//
// It never decides anything of the protocol: each command reads its flags and calls internal/node or a unit's door.
//
// Start with run below; every subcommand has a file of its own name.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/units/remote"
)

// procsPerCore is how many of Go's processors there are for each real one.
const procsPerCore = 4

func main() {
	// A module calls its host hundreds of times in an evaluation, and whoever comes back from C waits for one of Go's
	// processors if the runtime has given its own away. With some to spare it does not: two processes evaluated at once
	// come to 1.8 times the slots of one on two cores instead of 1.3, and the p99 beside many dry-runs is a third.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(procsPerCore * runtime.GOMAXPROCS(0))
	}
	ctx, stop := signalled(context.Background())
	defer stop()
	os.Exit(run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program, so that tests can call it. It returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errw io.Writer) int {
	root := command()
	root.Reader, root.Writer, root.ErrWriter = in, out, errw
	args = arrange(root, args)
	err := root.Run(ctx, args)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errSilent):
		return 1
	}
	var use usageError
	if errors.As(err, &use) {
		fmt.Fprintf(errw, "aopeer: %s\n", oneLine(err.Error()))
		return 2
	}
	if ctx.Err() != nil && remote.Refusal("cli", err).Code == ao.Deadline {
		fmt.Fprintln(errw, "aopeer: interrupted")
		return 1
	}
	line := oneLine(plain(explain(err)))
	if hasFlag(args, "--json") {
		_ = printer{out: out, json: true}.value(newFailure(line, err), nil) // the line below says it as well
	}
	fmt.Fprintf(errw, "aopeer: %s\n", line)
	return 1
}

// failure is what a command that failed prints as JSON. Trouble at home, such as a missing file, is no refusal.
type failure struct {
	Failure string      `json:"failure"`
	Refusal *ao.Refusal `json:"refusal,omitempty"`
}

func newFailure(line string, err error) failure {
	f := failure{Failure: line, Refusal: remote.Refusal("cli", err)}
	var said *ao.Refusal
	if f.Refusal.Code == ao.Internal && !errors.As(err, &said) {
		f.Refusal = nil
	}
	return f
}

// errSilent ends a command with 1 after it has said everything itself.
var errSilent = errors.New("failed")

// usageError is misuse: the caller must type something else.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func misuse(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// explain is the error and, for a refusal, what the table advises.
func explain(err error) string {
	var r *ao.Refusal
	if errors.As(err, &r) {
		if remedy := ao.RemedyOf(r.Code); remedy != "" {
			return fmt.Sprintf("%v. %s", err, remedy)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("%v: try again with a longer --timeout", err)
	}
	return err.Error()
}

// bare is the reason of a file's error without its verb and path, which the caller says.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func hasFlag(args []string, flag string) bool {
	for _, a := range args {
		if a == "--" {
			return false
		}
		if a == flag || a == flag+"=true" {
			return true
		}
	}
	return false
}

func command() *cli.Command {
	root := &cli.Command{
		Name:  "aopeer",
		Usage: "a peer of the AO computer: schedule, compute and push messages, settled on Arweave",
		Description: "Try it: `aopeer devnet --demo`. Or keep `aopeer devnet` running in one terminal and, in another,\n" +
			"`aopeer spawn`, then `aopeer eval PROCESS 'return 1 + 1'`.",
		HideVersion:                   true,
		DisableSliceFlagSeparator:     true,
		CustomRootCommandHelpTemplate: cli.RootCommandHelpTemplate,
		Flags: []cli.Flag{
			&cli.StringFlag{
				Name: "home", Usage: "folder of a devnet or a peer", Value: defaultHome(), DefaultText: "~/.aopeer",
				Sources: cli.EnvVars("AOPEER_HOME"),
			},
			&cli.BoolFlag{Name: "json", Usage: "print JSON with stable keys"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "log every hop", Sources: cli.EnvVars("AOPEER_VERBOSE")},
			&cli.StringFlag{Name: "log-level", Usage: "the least that is logged: debug, info, warn or error [$AOPEER_LOG_LEVEL]"},
			&cli.StringFlag{Name: "log-format", Usage: "text for people, json for machines [$AOPEER_LOG_FORMAT]"},
		},
		Before: checkLog,
		Commands: []*cli.Command{
			initCommand(), runCommand(), devnetCommand(), configCommand(), doctorCommand(),
			spawnCommand(), sendCommand(), evalCommand(), consoleCommand(), resultCommand(), resultsCommand(), dryRunCommand(), logCommand(), repushCommand(),
			assignCommand(), monitorCommand(), unmonitorCommand(),
			marketCommand(), verifyCommand(), benchCommand(), itemCommand(), keysCommand(), peersCommand(), statusCommand(), storeCommand(), versionCommand(),
		},
		Action: func(_ context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return unknownCommand(c)
			}
			return cli.ShowRootCommandHelp(c)
		},
	}
	harden(root)
	return root
}

// checkLog refuses a level or format of logs that is none, whatever the command.
func checkLog(ctx context.Context, c *cli.Command) (context.Context, error) {
	for _, s := range node.Settings() {
		if !strings.HasPrefix(s.Key, "log.") {
			continue
		}
		if v := given(c, s.Flag, s.Default()); !slices.Contains(s.OneOf, v) {
			return ctx, misuse("--%s %q is none of %s", s.Flag, v, strings.Join(s.OneOf, ", "))
		}
	}
	return ctx, nil
}

// harden makes every command treat bad flags and stray arguments as misuse, and leave exiting to run.
func harden(c *cli.Command) {
	c.OnUsageError = func(_ context.Context, _ *cli.Command, err error, _ bool) error {
		return misuse("%v: see `%s --help`", err, c.FullName())
	}
	c.ExitErrHandler = func(context.Context, *cli.Command, error) {}
	if c.Action == nil && len(c.Commands) > 0 {
		c.Action = func(_ context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return unknownCommand(c)
			}
			return misuse("`%s` needs a subcommand: see `%s --help`", c.FullName(), c.FullName())
		}
	}
	for _, sub := range c.Commands {
		harden(sub)
	}
}

// unknownCommand says so, and what may have been meant.
func unknownCommand(c *cli.Command) error {
	name, hint := c.Args().First(), ""
	var known []string
	for _, sub := range c.Commands {
		known = append(known, sub.Name)
	}
	if meant := node.Nearest(name, known); meant != "" {
		hint = fmt.Sprintf("did you mean %q? ", meant)
	}
	return misuse("no command %q: %ssee `%s --help`", name, hint, c.FullName())
}

func defaultHome() string {
	dir, err := os.UserHomeDir()
	if err != nil {
		return ".aopeer"
	}
	return filepath.Join(dir, ".aopeer")
}

func home(c *cli.Command) node.Home { return node.Home(c.String("home")) }

// args checks the number of arguments, whose names are those of ArgsUsage.
func args(c *cli.Command, least, most int) error {
	if n := c.Args().Len(); n < least || n > most {
		usage := strings.TrimSpace(c.FullName() + " " + c.ArgsUsage)
		if most == 0 {
			return misuse("`%s` takes no arguments, got %q: see `%s --help`", usage, c.Args().First(), usage)
		}
		return misuse("usage: %s (got %d arguments): see `%s --help`", usage, n, c.FullName())
	}
	return nil
}

// processArg is an argument that must be an ID.
func processArg(c *cli.Command, i int) (ao.ID, error) {
	id, err := ao.ParseID(c.Args().Get(i))
	if err != nil {
		return ao.ID{}, misuse("%q is no process: an ID has 43 letters, digits, - and _", c.Args().Get(i))
	}
	return id, nil
}
