package prefs

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dugnad/dugnad/node/jobspec"
)

func parsed(t testing.TB, text string) *Preferences {
	t.Helper()
	p, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return p
}

// TestMistakes: each file is refused with the place, what is wrong and what to do.
func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"coers: 2":                      "line 1, column 1: coers: is not known: did you mean cores?",
		"\n\nwhatever_it_is: 2":         "line 3, column 1: whatever_it_is: is not known: there are capabilities, cores,",
		"cores: 2\ncores: 3":            "line 2, column 1: cores: is given a second time, first in line 1: remove one",
		"cores: 0":                      "line 1, column 8: cores: 0 is not from 1 % to 400000 %: write a number of cores such as 1.5, or a part of one such as 25%",
		"cores: NaN":                    "line 1, column 8: cores: NaN is not from 1 %",
		"cores: -25%":                   "line 1, column 8: cores: -25% is not from",
		"cores:":                        "line 1, column 7: cores: has no value",
		"cores: [1, 2]":                 "line 1, column 8: cores: is no single value",
		"fuel: lots":                    "line 1, column 7: fuel: lots is not a whole number of at least 1: write an amount such as 2G",
		"memory: 5":                     "line 1, column 9: memory: 5 is less than 1048576",
		"upload: 99999999999999999999G": "line 1, column 9: upload: 99999999999999999999G is too large",
		"\nupload: 1KiB":                "line 2, column 9: upload: 1KiB a second is less than 64KiB: write an amount per second such as 5MiB, or 0 for no bound",
		"download: -1":                  "line 1, column 11: download: -1 is not",
		"idle_below: 120%":              "line 1, column 13: idle_below: 120% is not from 1 % to 100 %",
		"only_when_idle: maybe":         "line 1, column 17: only_when_idle: maybe is neither true nor false: write true or false",
		"hand_back: 2h":                 "line 1, column 12: hand_back: 2h is not from 1s to 1h0m0s: write a time such as 30s or 5m",
		"timezone: Europe/Olso":         "line 1, column 11: timezone: Europe/Olso is no time zone: write a name such as Europe/Oslo, or UTC",
		"hours: always":                 "line 1, column 8: hours: is no mapping",
		"hours:\n  munday: always":      "line 2, column 3: hours.munday: is not known: did you mean monday?",
		"hours:\n  monday: 9-17":        `line 2, column 11: hours.monday: "9-17" is not a span such as 18:00-08:00: write a span such as 18:00-08:00, a list of them, always or never`,
		"hours:\n  monday: [9:00-17:00, 8:60-9:00]": `line 2, column 24: hours.monday: "8:60-9:00" has a time that no clock shows`,
		"power_off:\n  friday: 24:00-01:00":         `line 2, column 11: power_off.friday: "24:00-01:00" has a time that no clock shows`,
		"capabilities: [htp]":                       "line 1, column 16: capabilities: htp: is not known: did you mean http?",
		"tenants: acme":                             "line 1, column 10: tenants: is no mapping",
		"tenants: {allow: [Acme]}":                  "line 1, column 19: tenants.allow: Acme is no tenant's name: 1 to 64 of a-z, 0-9 and -",
		"tenants: {only: [acme]}":                   "line 1, column 11: tenants.only: is not known: there are allow, deny",
		"labels: team":                              "line 1, column 9: labels: is no mapping",
		"labels: {allow: [te am]}":                  "line 1, column 18: labels.allow: te am is no label of a job: NAME or NAME=VALUE, each 1 to 63 of A-Z, a-z, 0-9, ., _, / and -, a letter or a digit first: write a list such as [purpose=research, team]",
		"labels: {deny: [team=]}":                   "line 1, column 17: labels.deny: team= is no label of a job",
		"labels: {deny: ['a=b=c']}":                 "labels.deny: a=b=c is no label of a job",
		"labels: {only: [a]}":                       "line 1, column 10: labels.only: is not known: there are allow, deny",
		"labels: {deny: [" + strings.Repeat("a,", LabelsMax+1) + "]}": "labels.deny: has 9 entries, at most 8",
		"- cores":                           "line 1, column 1: the file is a list: write lines such as cores: 50%",
		"cores: 1\n---\ncores: 2":           "the file holds a second document: keep one",
		"cores: [1":                         "line 1: not YAML:",
		"hours:\n\tmonday: always":          "not YAML:",
		strings.Repeat("#", FileBytesMax+1): "the file has 16385 bytes, at most 16384",
		"\x1b[31m: 1":                       "not YAML:",
		`"\e[31mred": 1`:                    `"\x1b[31mred": is not known`,
		"tenants: {allow: [" + strings.Repeat("a,", ListMax+1) + "]}": "tenants.allow: has 17 entries, at most 16",
	} {
		_, err := Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\x1b\r") {
			t.Errorf("%.60q: %v\nwant %s", text, err, want)
		}
	}
	_, err := Parse([]byte("fuel: x\ncoers: 1\nmemory: y"))
	if all := jobspec.Errors(nil); !errors.As(err, &all) || len(all) != 3 || all[0].Line != 1 || all[1].Line != 2 || all[2].Line != 3 {
		t.Errorf("not all mistakes in order: %v", err)
	}
}

// TestText: the file that is written at first means the default, and each of its lines
// that has the # taken away is read.
func TestText(t *testing.T) {
	standard := Default()
	for _, text := range []string{"", "# nothing\n", "{}", Text} {
		if p := parsed(t, text); p.Hours != nil || p.PowerOff != nil || p.Cores != 0 || p.HandBack != standard.HandBack || !p.Allows(CapabilityHTTP) || p.Tenant("anybody") != "" || p.Labels(nil) != "" || p.Labels([]string{"a=b"}) != "" {
			t.Errorf("%q means %+v", text, p)
		}
	}
	lines := strings.Split(Text, "\n")
	for i, line := range lines {
		if rest, ok := strings.CutPrefix(line, "#"); ok && !strings.HasPrefix(rest, " ") || strings.HasPrefix(line, "#  ") {
			lines[i] = rest
		}
	}
	p := parsed(t, strings.Join(lines, "\n"))
	if p.Cores != 2 || p.FuelRate != 4e9 || p.MemoryInUseBytes != 2<<30 || p.DiskBytes != 10<<30 || p.UploadRate != 5<<20 || p.DownloadRate != 10<<20 || !p.OnlyWhenIdle ||
		p.OnBattery || p.HandBack != time.Minute || p.Zone.String() != "Europe/Oslo" || p.Hours == nil || p.PowerOff == nil || p.IdleBelow != 0.25 {
		t.Errorf("all lines mean %+v", p)
	}
	if p.Tenant("acme") != "" || p.Tenant("third") == "" || p.Tenant("other") == "" {
		t.Error("the tenants' lists are not kept to")
	}
	for label, allowed := range map[string]bool{"purpose=research": true, "purpose=fun": false, "team=b": true, "tea=b": false, "purpose=mining": false, "": false} {
		if reason := p.Labels([]string{"x=y", label}); (reason == "") != allowed {
			t.Errorf("a job with the label %s: %q", label, reason)
		}
	}
	if reason := p.Labels([]string{"purpose=mining", "team=a"}); reason != "jobs with the label purpose=mining are denied" {
		t.Errorf("a job that is denied: %q", reason)
	}
}

// TestEvaluate: what is given at times, and for what sensors tell. In Oslo the clock
// goes from 2 to 3 on 29 March 2026, and from 3 to 2 on 25 October.
func TestEvaluate(t *testing.T) {
	for _, tt := range []struct {
		text, at string
		sensed   Sensed
		paused   string
		until    string
	}{
		{text: "", at: "2026-03-02T12:00:00Z"},
		{text: "hours: {weekdays: 18:00-08:00}", at: "2026-03-02T17:59:59Z", paused: "outside the hours in which this machine gives (hours), which begin Mon 18:00"},
		{text: "hours: {weekdays: 18:00-08:00}", at: "2026-03-02T18:00:00Z"},
		// Friday's ends on Saturday.
		{text: "hours: {weekdays: 18:00-08:00}", at: "2026-03-07T07:59:59Z"},
		{text: "hours: {weekdays: 18:00-08:00}", at: "2026-03-07T08:00:00Z", paused: "which begin Mon 18:00"},
		// Monday's morning is Sunday's.
		{text: "hours: {weekdays: 18:00-08:00}", at: "2026-03-02T07:00:00Z", paused: "(hours)"},
		{text: "hours: {every_day: 00:00-24:00}", at: "2026-03-02T23:59:59Z"},
		{text: "hours: {every_day: 12:00-12:00}", at: "2026-03-02T11:59:59Z"},
		{text: "hours: {monday: never}", at: "2026-03-02T11:59:59Z", paused: "paused: it is outside the hours"},
		{text: "timezone: Europe/Oslo\nhours: {every_day: 02:00-03:00}", at: "2026-03-29T00:30:00Z", paused: "(hours)"},
		{text: "timezone: Europe/Oslo\nhours: {every_day: 02:00-03:00}", at: "2026-03-29T01:30:00Z", paused: "(hours)"},
		{text: "timezone: Europe/Oslo\nhours: {every_day: 02:00-03:00}", at: "2026-10-25T00:30:00Z"},
		{text: "timezone: Europe/Oslo\nhours: {every_day: 02:00-03:00}", at: "2026-10-25T01:30:00Z"},
		{text: "timezone: Europe/Oslo\nhours: {every_day: 02:00-03:00}", at: "2026-10-25T02:00:00Z", paused: "(hours)"},
		{text: "timezone: Europe/Oslo\npower_off: {every_day: 23:00-06:00}", at: "2026-10-24T10:00:00Z", until: "2026-10-24T21:00:00Z"},
		{text: "timezone: Europe/Oslo\npower_off: {sunday: 23:00-06:00}", at: "2026-10-24T10:00:00Z", until: "2026-10-25T22:00:00Z"},
		{text: "power_off: {monday: 23:00-06:00}", at: "2026-03-03T01:00:00Z", paused: "power-off hours", until: "2026-03-03T01:00:00Z"},
		{text: "on_battery: false", at: "2026-03-02T12:00:00Z", sensed: Sensed{OnBattery: true}, paused: "battery (on_battery)"},
		{text: "on_battery: true", at: "2026-03-02T12:00:00Z", sensed: Sensed{OnBattery: true}},
		{text: "", at: "2026-03-02T12:00:00Z", sensed: Sensed{OtherLoad: 0.9}},
		{text: "only_when_idle: true", at: "2026-03-02T12:00:00Z", sensed: Sensed{OtherLoad: 0.83}, paused: "paused: other programs use 83 % of the processors, limit 25 % (only_when_idle, idle_below)"},
		{text: "only_when_idle: true", at: "2026-03-02T12:00:00Z", sensed: Sensed{LoadUnknown: true}, paused: "not known"},
		{text: "only_when_idle: true\nidle_below: 0.9", at: "2026-03-02T12:00:00Z", sensed: Sensed{OtherLoad: 0.83}},
	} {
		if !strings.Contains(tt.text, "timezone") {
			tt.text = "timezone: UTC\n" + tt.text
		}
		now, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		g := parsed(t, tt.text).Evaluate(now, tt.sensed)
		until := ""
		if !g.Until.IsZero() {
			until = g.Until.UTC().Format(time.RFC3339)
		}
		if (g.Paused == "") != (tt.paused == "") || !strings.Contains(g.Paused, tt.paused) || until != tt.until {
			t.Errorf("%q at %s: %q, until %s; want %q, %s", tt.text, tt.at, g.Paused, until, tt.paused, tt.until)
		}
	}
	p := parsed(t, "memory: 4GiB\nmemory_in_use: 1GiB")
	if idle, used := p.Evaluate(time.Now(), Sensed{}).MemoryBytes, p.Evaluate(time.Now(), Sensed{OtherLoad: 0.5}).MemoryBytes; idle != 4<<30 || used != 1<<30 {
		t.Errorf("memory is %d while idle, %d in use", idle, used)
	}
}

// TestHoursAreWhole: a week whose days say always has every moment, whatever the zone
// does with its clock; a span and the rest of its day share no moment and leave none.
func TestHoursAreWhole(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		zone := rapid.SampledFrom([]string{"UTC", "Europe/Oslo", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"}).Draw(r, "zone")
		from := rapid.IntRange(0, dayMinutes-1).Draw(r, "from")
		to := rapid.IntRange(0, dayMinutes-1).Filter(func(n int) bool { return n != from }).Draw(r, "to")
		where, err := time.LoadLocation(zone)
		if err != nil {
			r.Fatal(err)
		}
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(r, "at"), 0).In(where)
		one, other, always := &Week{}, &Week{}, &Week{}
		for day := range one.days {
			one.days[day] = []span{{from, to}}
			other.days[day] = []span{{to, from}}
			always.days[day] = []span{{0, dayMinutes}}
		}
		if one.has(at) == other.has(at) || !always.has(at) {
			r.Fatalf("%v: %v and %v", at, one.has(at), other.has(at))
		}
		next := one.next(at)
		if !next.After(at) || next.Sub(at) > 49*time.Hour {
			r.Fatalf("after %v it begins at %v", at, next)
		}
		// Between a moment outside and the next beginning there is none inside.
		if middle := at.Add(next.Sub(at) / 2); !one.has(at) && at.Day() == next.Day() && one.has(middle) && middle.Before(next) && next.Hour()*60+next.Minute() == from {
			r.Fatalf("%v is outside, the next begins at %v, but %v is inside", at, next, middle)
		}
	})
}

// FuzzParse: whatever the file is, its mistakes have a text, and what is accepted can
// be evaluated.
func FuzzParse(f *testing.F) {
	f.Add(Text)
	f.Add("hours:\n  monday: [1:00-2:00]\ncores: 25%")
	f.Add("a: &a [*a]")
	f.Add("labels: {allow: [a, b=c], deny: [d]}")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse([]byte(text))
		if err != nil {
			if all := jobspec.Errors(nil); !errors.As(err, &all) || len(all) == 0 || all[0].Message == "" {
				t.Fatalf("%v", err)
			}
			return
		}
		g := p.Evaluate(time.Unix(1.8e9, 0), Sensed{OtherLoad: 1})
		if p.OnlyWhenIdle && g.Paused == "" || p.Cores < 0 || p.Cores > CoresMax || len(p.TenantsAllowed) > ListMax || len(p.LabelsDenied) > LabelsMax || p.HandBack < HandBackLeast {
			t.Fatalf("%+v, %+v", p, g)
		}
		for _, rule := range p.LabelsDenied {
			if name, _, valued := strings.Cut(rule, "="); p.Labels([]string{rule}) == "" || !valued && p.Labels([]string{name + "=x"}) == "" {
				t.Fatalf("%q lets in what %q denies", text, rule)
			}
		}
	})
}
