package wasmvm

import (
	"fmt"
	"slices"
)

// The Module-Formats that a machine runs, besides FormatDefault.
const (
	FormatAOS    = "wasm64-unknown-emscripten-draft_2024_02_15"
	FormatAOS32  = "wasm32-unknown-emscripten4" // the same with 32-bit pointers
	FormatNative = "native"
)

// Formats lists the Module-Formats that a machine runs.
func Formats() []string { return []string{FormatDefault, FormatAOS, FormatAOS32, FormatNative} }

// FormatOf is the Module-Format of a wasm binary that comes without a tag, by what it exports. It is a guess: whether the
// module runs, Prepare finds out. Errors: ErrModule.
func FormatOf(code []byte) (string, error) {
	sh, err := inspect(code)
	if err != nil {
		return "", err
	}
	switch _, aos := sh.funcs["emscripten_stack_init"]; {
	case aos && sh.memory.wide:
		return FormatAOS, nil
	case aos:
		return FormatAOS32, nil
	}
	return FormatDefault, nil
}

// refuseFormat is ErrFormat, with what is known of a format that others run.
func refuseFormat(format string) error {
	if slices.Contains(foreignFormats(), format) {
		return fmt.Errorf("%w: %s is run by other computers of ao, not by this version", ErrFormat, format)
	}
	return fmt.Errorf("%w: %.64q", ErrFormat, format)
}

// foreignFormats are the Module-Formats that the reference unit runs and this machine does not: their hosts give a module
// other functions, and put a count of their own into its code.
func foreignFormats() []string {
	return []string{
		"wasm32-unknown-emscripten", "wasm32-unknown-emscripten2", "wasm32-unknown-emscripten3", "wasm32-unknown-emscripten-metering",
		"wasm64-unknown-emscripten-draft_2024_10_16-metering",
	}
}
