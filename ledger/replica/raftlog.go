package replica

import (
	"context"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// raftLog passes Raft's log on. What Raft calls information is for debugging
// here: the replica logs transitions itself.
type raftLog struct {
	hclog.Logger
	log  *slog.Logger
	name string
}

// usual are messages of Raft's that come at every start or end.
var usual = map[string]bool{
	"failed to accept connection":                              true,
	"unable to get address for server, using fallback address": true,
}

func newRaftLog(log *slog.Logger) hclog.Logger {
	return raftLog{hclog.NewNullLogger(), log.With("part", "raft"), "raft"}
}

// Log implements hclog.Logger.
func (l raftLog) Log(level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case hclog.Warn:
		to = slog.LevelInfo
	case hclog.Error:
		to = slog.LevelWarn
	}
	if usual[msg] {
		to = slog.LevelDebug
	}
	l.log.Log(context.Background(), to, msg, args...)
}

// Trace implements hclog.Logger.
func (l raftLog) Trace(string, ...any) {}

// Debug implements hclog.Logger.
func (l raftLog) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }

// Info implements hclog.Logger.
func (l raftLog) Info(msg string, args ...any) { l.Log(hclog.Info, msg, args...) }

// Warn implements hclog.Logger.
func (l raftLog) Warn(msg string, args ...any) { l.Log(hclog.Warn, msg, args...) }

// Error implements hclog.Logger.
func (l raftLog) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

// IsDebug implements hclog.Logger.
func (l raftLog) IsDebug() bool { return l.log.Enabled(context.Background(), slog.LevelDebug) }

// Name implements hclog.Logger.
func (l raftLog) Name() string { return l.name }

// With implements hclog.Logger.
func (l raftLog) With(args ...any) hclog.Logger {
	return raftLog{l.Logger, l.log.With(args...), l.name}
}

// Named implements hclog.Logger.
func (l raftLog) Named(string) hclog.Logger { return l }

// ResetNamed implements hclog.Logger.
func (l raftLog) ResetNamed(string) hclog.Logger { return l }

// StandardLogger implements hclog.Logger.
func (raftLog) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(io.Discard, "", 0)
}
