package steward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dugnad/dugnad/node/prefs"
)

// read reads the file when it is not the one that was read last. When it has mistakes
// the preferences stay as they are. A file that is gone is the default.
func (s *Steward) read() {
	info, err := os.Stat(s.Path())
	now := stamp{}
	if err == nil {
		now = stamp{info.Size(), info.ModTime()}
	} else if !errors.Is(err, fs.ErrNotExist) {
		s.refused(fmt.Errorf("read preferences: %w", err))
		return
	}
	if err == nil && now.size == 0 && time.Since(now.at) < fileInterval {
		return // Whoever has emptied it is probably about to fill it.
	}
	s.mu.Lock()
	known := s.state.Text != "" || s.state.Problem != ""
	// What was written lately may be written again within the same tick of the clock.
	same := known && s.seen == now && time.Since(now.at) > fileSettled
	s.seen = now
	s.mu.Unlock()
	if same {
		return
	}
	text, err := readBounded(s.Path())
	if errors.Is(err, fs.ErrNotExist) {
		text, err = []byte(prefs.Text), nil
	}
	if err != nil {
		s.refused(err)
		return
	}
	p, err := prefs.Parse(text)
	if err != nil {
		s.refused(err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Text != string(text) || s.state.Problem != "" {
		s.metrics.reloads.WithLabelValues("ok").Inc()
		s.log.Info("preferences are in force", "file", s.Path(), "changed", changed(s.state.Text, string(text)))
	}
	s.state.Preferences, s.state.Text, s.state.Problem = *p, string(text), ""
}

// changed says what another text changes.
func changed(before, after string) string {
	if list := prefs.Diff([]byte(before), []byte(after)); len(list) > 0 {
		return strings.Join(list, "; ")
	}
	return "nothing"
}

// Reload reads the file now, and says on the log what has changed, or what is wrong with
// it: then the preferences stay as they are, and Reload returns that.
func (s *Steward) Reload() error {
	s.mu.Lock()
	before, problem := s.state.Text, s.state.Problem
	// It is another file than the one that was read last, whatever its stamp.
	s.seen = stamp{}
	s.mu.Unlock()
	s.read()
	s.weigh()
	s.act()
	s.kick()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state.Problem != "" && s.state.Problem == problem:
		s.log.Warn("preferences have mistakes still, those before stay in force", "file", s.Path(), "err", problem)
	case s.state.Problem == "" && problem == "" && s.state.Text == before:
		s.log.Info("preferences are as they were", "file", s.Path())
	}
	if s.state.Problem != "" {
		return fmt.Errorf("%w:\n%s", ErrMistakes, s.state.Problem)
	}
	return nil
}

// refused notes what is wrong with the file.
func (s *Steward) refused(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Problem != err.Error() {
		s.metrics.reloads.WithLabelValues("refused").Inc()
		s.log.Warn("preferences have mistakes, those before stay in force", "file", s.Path(), "err", err)
	}
	s.state.Problem = err.Error()
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, prefs.FileBytesMax+1))
}

// Set puts another file in the place of the one that there is, and acts on it at once.
// One with mistakes changes nothing.
func (s *Steward) Set(text []byte) error {
	if _, err := prefs.Parse(text); err != nil {
		return err
	}
	if err := s.write(text, os.O_TRUNC); err != nil {
		return err
	}
	s.read()
	s.weigh()
	s.act()
	s.kick()
	return nil
}

// write writes the file: in one step, or with O_EXCL only where there is none.
func (s *Steward) write(text []byte, how int) error {
	if how&os.O_EXCL != 0 {
		f, err := os.OpenFile(s.Path(), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(text)
		return errors.Join(err, f.Close())
	}
	return replace(s.Path(), text)
}

// replace writes a file in one step.
func replace(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	// It is there only when it was not moved.
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Tell is the operator's word, which counts at once and after a restart.
func (s *Steward) Tell(will Will) error {
	path := filepath.Join(s.config.Dir, heldName)
	switch will {
	case WillGive:
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	case WillPause, WillStop:
		if err := replace(path, []byte(will+"\n")); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%q %w", will, ErrWill)
	}
	s.mu.Lock()
	s.state.Will = will
	s.mu.Unlock()
	s.weigh()
	s.act()
	s.kick()
	return nil
}

// act moves the hands as far as takes no time.
func (s *Steward) act() {
	s.acting.Lock()
	defer s.acting.Unlock()
	if s.hands == nil {
		return
	}
	s.mu.Lock()
	now := told{
		done: true, cores: s.cores(), frozen: s.state.Withheld != "",
		disk: s.state.Preferences.DiskBytes, down: s.state.Preferences.DownloadRate, up: s.state.Preferences.UploadRate,
		memory: s.state.Grant.MemoryBytes, until: s.state.Grant.Until,
		text: s.state.Text, key: s.state.Grant.Key, will: s.state.Will,
	}
	was, mode := s.told, s.mode
	s.told = now
	if !was.done || now.text != was.text || now.will != was.will || now.key != was.key || now.frozen != was.frozen {
		s.state.Wanted = s.config.Now()
	}
	switch {
	case now.frozen && mode == giving:
		s.mode, s.frozenAt = frozen, s.config.Now()
	case !now.frozen:
		s.mode = giving
	}
	s.mu.Unlock()
	if !was.done || now.cores != was.cores || now.frozen != was.frozen {
		s.hands.SetShare(now.cores, now.frozen)
	}
	if !was.done || now.disk != was.disk {
		s.hands.SetStore(now.disk)
	}
	if !was.done || now.down != was.down || now.up != was.up {
		s.hands.SetBandwidth(now.down, now.up)
	}
	switch {
	case now.frozen && mode == giving:
		s.hands.HandBack()
	case !now.frozen && mode != giving:
		s.hands.Resume()
	}
	if now != was {
		s.hands.Offer()
	}
}

// finish does what takes time: it hands back what was frozen for long enough, and
// what has more memory than it may.
func (s *Steward) finish(ctx context.Context) {
	s.mu.Lock()
	p, g := &s.state.Preferences, &s.state.Grant
	off := !g.Until.IsZero() && !g.Until.After(s.config.Now())
	due := s.mode == frozen && (s.state.Will == WillStop || off || s.config.Now().Sub(s.frozenAt) >= p.HandBack)
	if due {
		s.mode = returned
	}
	most, gives := g.MemoryBytes, s.mode == giving
	s.mu.Unlock()
	switch {
	case due:
		s.handBackAll(ctx, "guests are handed back")
	case gives && most > 0 && s.hands.MemoryUsed() > most:
		s.handBackAll(ctx, "guests have more memory than they may, and are handed back")
		s.mu.Lock()
		gives = s.mode == giving
		s.mu.Unlock()
		if gives {
			s.hands.Resume()
		}
	}
}

func (s *Steward) handBackAll(ctx context.Context, why string) {
	s.log.Info(why)
	if err := s.hands.HandBackAll(ctx); err != nil && ctx.Err() == nil {
		s.log.Warn("not all could be handed back yet", "err", err)
	}
}
