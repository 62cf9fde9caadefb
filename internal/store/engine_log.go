package store

import (
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
)

// engineLog turns the engine's printf lines into records of our logger.
type engineLog struct{ log *slog.Logger }

var _ pebble.Logger = engineLog{}

func newEngineLog(log *slog.Logger) engineLog {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return engineLog{log: log}
}

// Infof implements pebble.Logger.
func (l engineLog) Infof(format string, args ...any) {
	l.log.Debug("store engine", "say", fmt.Sprintf(format, args...))
}

// Errorf implements pebble.Logger.
func (l engineLog) Errorf(format string, args ...any) {
	l.log.Error("store engine", "say", fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger. The engine calls it when it cannot go on without losing what it promised; it must
// not return, and a crash is the one thing that everything above is built to survive.
func (l engineLog) Fatalf(format string, args ...any) {
	panic("store engine: " + fmt.Sprintf(format, args...))
}
