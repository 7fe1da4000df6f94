package p2p

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// textLog returns a log without times, and what it has written.
func textLog() (slog.Handler, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}), &b
}

func TestLibraryHandler(t *testing.T) {
	inner, out := textLog()
	h := &libraryHandler{inner, slog.LevelError}
	log := slog.New(h.WithAttrs([]slog.Attr{slog.String(partKey, "swarm2")}))
	log.Warn("noise")
	log.Error("trouble", "peer", "p1")
	log.With("a", 1).WithGroup("g").Error("more", "b", 2)
	want := "level=WARN msg=trouble logger=swarm2 peer=p1\nlevel=WARN msg=more logger=swarm2 a=1 g.b=2\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
	// What the environment asks for is shown, though the node logs less.
	out.Reset()
	debug := &libraryHandler{inner, slog.LevelDebug}
	if !debug.Enabled(context.Background(), slog.LevelDebug) {
		t.Error("debug is asked for and not enabled")
	}
	slog.New(debug).Debug("detail")
	if out.String() != "level=DEBUG msg=detail\n" {
		t.Errorf("got %s", out)
	}
}

func TestLibraryCore(t *testing.T) {
	inner, out := textLog()
	log := zap.New(&libraryCore{inner}, zap.IncreaseLevel(zapcore.WarnLevel)).Named("dht").Sugar()
	log.Info("noise")
	log.Warnw("trouble", "peer", "p1", "after", time.Second)
	log.With("a", 1).Error("more")
	want := "level=WARN msg=trouble logger=dht peer=p1 after=1s\nlevel=WARN msg=more a=1 logger=dht\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
	if err := log.Sync(); err != nil {
		t.Error(err)
	}
}
