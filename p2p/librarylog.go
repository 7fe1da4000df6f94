package p2p

import (
	"context"
	"log"
	"log/slog"
	"time"

	golog "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/gologshim"
	"go.uber.org/zap/zapcore"
)

// LogLibraries has what libp2p, its DHT and QUIC log go to handler. It is for the
// main program, once, before the first Open: the libraries know one log for the
// whole process. Their errors are warnings here, for a node goes on after each; what
// is less they keep to themselves, unless GOLOG_LOG_LEVEL asks for it.
func LogLibraries(handler slog.Handler) {
	gologshim.SetDefaultHandler(&libraryHandler{handler, gologshim.ConfigFromEnv().LevelForSystem("")})
	golog.SetPrimaryCore(&libraryCore{handler})
	log.SetFlags(0)
	log.SetOutput(slog.NewLogLogger(handler, slog.LevelWarn).Writer())
}

// libraryHandler is the log of one of libp2p's parts, which says first which one
// it is.
type libraryHandler struct {
	slog.Handler
	level slog.Level
}

// partKey is the attribute that names the part of the library.
const partKey = "logger"

// Enabled says what the environment asks for.
func (h *libraryHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

// Handle logs r, as a warning at most.
func (h *libraryHandler) Handle(ctx context.Context, r slog.Record) error {
	r.Level = min(r.Level, slog.LevelWarn)
	return h.Handler.Handle(ctx, r)
}

// WithAttrs returns the log of the part that attrs name.
func (h *libraryHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	level := h.level
	for _, a := range attrs {
		if a.Key == partKey {
			level = gologshim.ConfigFromEnv().LevelForSystem(a.Value.String())
		}
	}
	return &libraryHandler{h.Handler.WithAttrs(attrs), level}
}

// WithGroup returns a log whose attributes are in a group.
func (h *libraryHandler) WithGroup(name string) slog.Handler {
	return &libraryHandler{h.Handler.WithGroup(name), h.level}
}

// libraryCore is the end of the log that the DHT has, which filters before.
type libraryCore struct{ slog.Handler }

// Enabled implements zapcore.Core.
func (c *libraryCore) Enabled(zapcore.Level) bool { return true }

// With implements zapcore.Core.
func (c *libraryCore) With(fields []zapcore.Field) zapcore.Core {
	return &libraryCore{c.WithAttrs(attrsOf(fields))}
}

// Check implements zapcore.Core.
func (c *libraryCore) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return to.AddCore(e, c)
}

// Write implements zapcore.Core.
func (c *libraryCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slog.LevelWarn
	switch e.Level {
	case zapcore.DebugLevel:
		level = slog.LevelDebug
	case zapcore.InfoLevel:
		level = slog.LevelInfo
	}
	r := slog.NewRecord(e.Time.Round(time.Microsecond), level, e.Message, 0)
	r.AddAttrs(slog.String(partKey, e.LoggerName))
	r.AddAttrs(attrsOf(fields)...)
	return c.Handle(context.Background(), r)
}

// Sync implements zapcore.Core.
func (c *libraryCore) Sync() error { return nil }

func attrsOf(fields []zapcore.Field) []slog.Attr {
	var out []slog.Attr
	for _, f := range fields {
		m := zapcore.NewMapObjectEncoder()
		f.AddTo(m)
		for key, value := range m.Fields {
			out = append(out, slog.Any(key, value))
		}
	}
	return out
}
