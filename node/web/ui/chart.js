// Small pictures of numbers.
import { h } from './dom.js';
import { clock, duration, percent, seconds } from './format.js';

// states are those of tasks, in the order in which they are drawn.
export const states = ['succeeded', 'running', 'leased', 'unreachable', 'queued', 'waiting', 'failed', 'refused', 'killed'];

// badge names a state.
export const badge = (state) => h('span', { class: `badge st-${state}` }, state);

// shares is a bar of a job's tasks by state.
export function shares(tasks, total) {
  const parts = states.filter((s) => tasks[s]);
  const label = parts.map((s) => `${tasks[s]} ${s}`).join(', ') || 'nothing yet';
  return h('div', { class: 'shares', role: 'img', 'aria-label': label, title: label },
    parts.map((s) => h('i', { key: s, class: `bg-${s}`, style: { width: `${(100 * tasks[s]) / Math.max(total, 1)}%` } })));
}

// key explains colours: each is [name, state, words].
const key = (list) => h('ul', { class: 'legend' },
  list.map(([name, state, words]) => h('li', { key: name }, h('i', { class: `bg-${state}` }), name, ' ', h('b', {}, words))));

// legend names the states that a bar or a map shows.
export const legend = (tasks, write) => key(states.filter((s) => tasks[s]).map((s) => [s, s, write(tasks[s])]));

// meter is how much of something is taken.
export function meter(name, part, whole, write) {
  const text = whole ? `${write(part)} of ${write(whole)}` : 'not offered';
  const share = whole ? Math.min(1, part / whole) : 0;
  return h('div', { class: 'meter' },
    h('div', { class: 'meter-words' }, h('span', {}, name), h('span', { class: 'muted' }, text)),
    h('div', {
      class: 'track', role: 'meter', 'aria-label': name, 'aria-valuetext': text,
      'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-valuenow': Math.round(share * 100),
    }, h('i', { class: share > 0.9 ? 'full' : '', style: { width: `${share * 100}%` } })));
}

// area draws shares from 0 to 1 over time, the latest at the right: points are
// {at, value}, span is how many seconds the width stands for.
export function area(points, span, label, size = { width: 600, height: 120 }) {
  const now = Date.now();
  const { width, height } = size;
  const x = (p) => width - ((now - p.at) / 1000 / span) * width;
  const y = (p) => height - 2 - p.value * (height - 6);
  const seen = points.filter((p) => now - p.at <= span * 1000);
  const line = seen.map((p, i) => `${i ? 'L' : 'M'}${x(p).toFixed(1)} ${y(p).toFixed(1)}`).join('');
  const filled = seen.length ? `${line}L${x(seen.at(-1)).toFixed(1)} ${height}L${x(seen[0]).toFixed(1)} ${height}Z` : '';
  const last = seen.at(-1);
  const words = `${label}: ${last ? percent(last.value, 1) : 'no value'} now`;
  return h('svg', { class: 'area', viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': words },
    [0.25, 0.5, 0.75].map((v) => h('line', { key: v, class: 'rule', x1: 0, x2: width, y1: y({ value: v }), y2: y({ value: v }) })),
    h('path', { class: 'fill', d: filled }), h('path', { class: 'line', d: line && `${line}h0` }));
}

// steps draws lines of shares from 0 to 1: each is {kind, points}, of [moment, share],
// where a share that is not known is a gap, and each point holds until the next one or
// frame.each later. frame is {from, to, each} in milliseconds; at marks a moment.
export function steps(lines, frame, label, size = { width: 600, height: 160 }, at = undefined) {
  const { width, height } = size;
  const x = (t) => (Math.min(Math.max((t - frame.from) / (frame.to - frame.from), 0), 1) * width).toFixed(1);
  const y = (v) => (height - 2 - Math.min(v, 1) * (height - 6)).toFixed(1);
  const path = (points, base) => points.map(([t, v], i) => {
    const next = points[i + 1];
    const end = Math.min(next ? next[0] : Infinity, t + 1.5 * frame.each, frame.to);
    if (v === undefined || end <= frame.from) return '';
    if (base !== undefined) return `M${x(t)} ${base}V${y(v)}H${x(end)}V${base}Z`;
    const before = points[i - 1];
    const joined = before && before[1] !== undefined && t - before[0] <= 1.5 * frame.each && before[0] + frame.each > frame.from;
    return `${joined ? 'V' : `M${x(t)} `}${y(v)}H${x(end)}`;
  }).join('');
  return h('svg', { class: 'area steps', viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
    [0.25, 0.5, 0.75].map((v) => h('line', { key: v, class: 'rule', x1: 0, x2: width, y1: y(v), y2: y(v) })),
    lines.map(({ kind, points }) => [
      kind === 'own' && h('path', { key: 'fill', class: 'fill', d: path(points, height) }),
      h('path', { key: kind, class: `line-${kind}`, d: path(points) }),
    ]),
    at && h('line', { key: 'at', class: 'line-at', x1: x(at), x2: x(at), y1: 0, y2: height }));
}

// columns draws a value per day: days are {name, value, parts}.
export function columns(days, write, label) {
  const most = Math.max(...days.map((d) => d.value), 1);
  return h('div', { class: 'columns', role: 'img', 'aria-label': `${label}: ${days.map((d) => `${d.name} ${write(d.value)}`).join(', ')}` },
    days.map((d) => h('div', { key: d.name, class: 'column' },
      h('span', { class: 'column-value' }, d.value ? write(d.value) : ''),
      h('i', { class: d.value ? '' : 'none', style: { height: `${(80 * d.value) / most}%` } }),
      h('span', { class: 'column-name' }, d.name.split(' ').map((word) => h('span', { key: word }, word))))));
}

const rowHeight = 22;
const barsMax = 400;

// timeline draws attempts as bars in a row per node: rows are {name, bars}, bars
// {from, to, state, label}; from and to are moments in milliseconds.
export function timeline(rows, from, to) {
  const span = Math.max(to - from, 1);
  const at = (t) => (100 * (t - from)) / span;
  let bars = 0;
  const picture = rows.map((row, i) => row.bars.filter(() => bars++ < barsMax).map((b) => h('rect', {
    key: `${i}/${b.key}`, class: `fill-${b.state}`, x: `${at(b.from).toFixed(3)}%`, y: i * rowHeight + 4, rx: 3,
    width: `${Math.max(at(b.to) - at(b.from), 0.4).toFixed(3)}%`, height: rowHeight - 8,
  }, h('title', {}, b.label))));
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  const rule = (_, i) => h('line', { key: `l${i}`, class: 'rule', x1: 0, x2: '100%', y1: (i + 1) * rowHeight - 0.5, y2: (i + 1) * rowHeight - 0.5 });
  const words = `Attempts on ${rows.map((r) => `${r.name}: ${r.bars.length}`).join(', ')}`;
  return h('div', { class: 'timeline' },
    h('div', { class: 'timeline-names' }, rows.map((r, i) => h('span', { key: i, title: r.name }, r.name))),
    h('div', { class: 'timeline-bars' },
      h('svg', { width: '100%', height: rows.length * rowHeight, role: 'img', 'aria-label': words }, rows.map(rule), picture),
      h('div', { class: 'ticks' }, ticks.map((t) => h('span', { key: t }, t ? `+${duration((t * span) / 1000)}` : clock(from))))));
}

// phases draws the stretches of a job's life one after another.
export function phases(job) {
  const end = job.finished || Date.now();
  const parts = [
    ['waited for jobs', 'waiting', job.created, job.queued || end],
    ['queued', 'queued', job.queued, job.placed || end],
    ['on nodes', job.finished ? job.state : 'running', job.placed, end],
  ].filter(([, , from, to]) => from && to && seconds(from, to) > 0);
  const all = seconds(job.created, end) || 1;
  return h('div', { class: 'phases' },
    h('div', { class: 'shares', role: 'img', 'aria-label': parts.map(([name, , from, to]) => `${name} ${duration(seconds(from, to))}`).join(', ') },
      parts.map(([name, state, from, to]) => h('i', { key: name, class: `bg-${state}`, style: { width: `${(100 * seconds(from, to)) / all}%` } }))),
    key(parts.map(([name, state, from, to]) => [name, state, duration(seconds(from, to))])));
}
