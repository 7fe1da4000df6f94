// What a tenant had of the grid over time, beside the others.
import { steps } from './chart.js';
import { h } from './dom.js';
import { clock, duration } from './format.js';
import { card, choices, empty, link, muted, plot, table } from './parts.js';

// overs are how far back one may look, and the least time that is drawn, in seconds.
const overs = { hour: [3600, 300], day: [86400, 7200] };
const resources = [['Fuel rate', 'fuel_rate'], ['Memory', 'memory'], ['Slots', 'slots']];
const rowsMax = 300;

// part writes a share of the grid.
const part = (v) => (v > 0 && v < 0.0095 ? `${(100 * v).toFixed(1)}\u00a0%` : `${Math.round(100 * v)}\u00a0%`);

const hour = (time) => new Date(time).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });

// frame is from when to when samples are drawn, and what each stands for.
function frame({ over, seconds, since }) {
  const now = Date.now();
  const [most, least] = overs[over];
  const span = 1000 * Math.min(most, Math.max(least, (now - new Date(since || now)) / 1000));
  return { from: now - span, to: now, each: 1000 * seconds };
}

// line is one to draw: what each sample has for it, nothing where that is not known.
const line = (kind, samples, value) => ({ kind, points: samples.map((s) => [new Date(s.at).getTime(), value(s)]) });

const told = (s) => (s.own
  ? `${part(s.own.dominant)} of the grid: ${resources.map(([name, field]) => `${name.toLowerCase()} ${part(s.own[field])}`).join(', ')}; entitled to ${part(s.entitled)}; others ${part(s.others.dominant)}`
  : `not told apart; others ${part(s.others.dominant)}`);

const legend = (own) => h('ul', { class: 'legend' },
  [['own', own], ['entitled', 'what its weight entitles it to'], ['others', 'all others together']].map(([kind, words]) => h('li', { key: kind },
    h('svg', { class: 'swatch', viewBox: '0 0 24 10', 'aria-hidden': 'true' }, h('line', { class: `line-${kind}`, x1: 0, x2: 24, y1: 5, y2: 5 })), words)));

// history shows shares over time: of a tenant, since when, and what was at the moment
// that the slider is at. state is {over, at}; change draws anew, load asks anew.
export function history(shares, state, change, load) {
  const { samples, since, tenant } = shares;
  const choose = (over) => {
    Object.assign(state, { over, at: undefined });
    load();
  };
  const f = frame(shares);
  const picture = (title, own, others, size) => steps([
    line('others', samples, (s) => others(s.others)), line('own', samples, (s) => s.own && own(s.own)), line('entitled', samples, (s) => s.entitled),
  ], f, `${title} of ${tenant}${samples.length ? `: ${samples.at(-1).own ? part(own(samples.at(-1).own)) : 'not told apart'} now` : ''}`, size, state.at === undefined ? undefined : new Date(samples[state.at]?.at));
  const ticks = h('div', { class: 'ticks under' }, [0, 0.25, 0.5, 0.75, 1].map((t) => h('span', { key: t }, t === 1 ? 'now' : hour(f.from + t * (f.to - f.from)))));
  return card('shares', 'Share of the grid over time',
    choices('How far back', Object.keys(overs), state.over, choose),
    plot(picture('Dominant share', (s) => s.dominant, (s) => s.dominant)), ticks,
    legend(tenant), slider(samples, state, change),
    h('div', { class: 'trio' }, resources.map(([name, field]) => h('div', { key: field },
      h('h3', {}, name), plot(picture(name, (s) => s[field], (s) => s[field], { width: 300, height: 70 }))))),
    muted(since ? `This node has samples since ${clock(since)}. ${shares.over === 'hour' ? `One is taken every ${duration(shares.seconds)}` : `Each is the mean of ${duration(shares.seconds)}`}; what came and went in between is in none. The dominant share is the largest of the three: by it, and by weight, tenants share.` : 'This node has no samples yet.'),
    samples.length > 0 && h('details', { key: 'table' }, h('summary', {}, 'As a table'), numbers(shares)));
}

// slider lets a moment be looked at, by pointer and by keys.
function slider(samples, state, change) {
  if (!samples.length) return null;
  const at = Math.min(state.at ?? samples.length - 1, samples.length - 1);
  const s = samples[at];
  const move = (e) => {
    const to = Number(e.target.value);
    state.at = to === samples.length - 1 ? undefined : to;
    change();
  };
  return h('div', { class: 'moment', key: 'moment' },
    h('input', { type: 'range', id: 'moment', min: 0, max: samples.length - 1, value: at, 'aria-label': 'Moment to look at', 'aria-valuetext': `${clock(s.at)}: ${told(s)}`, oninput: move }),
    h('p', { class: 'small', 'aria-hidden': 'true' }, h('b', {}, clock(s.at)), ' ', told(s)));
}

// numbers are all samples, the latest first.
function numbers({ samples, tenant }) {
  const row = (s) => ({
    key: s.at,
    cells: [clock(s.at), ...(s.own ? [s.own.dominant, ...resources.map(([, field]) => s.own[field])].map(part) : ['not told apart', '', '', '']), part(s.entitled), part(s.others.dominant)],
  });
  return table(`Shares of ${tenant} over time`, ['Time', '#Dominant', ...resources.map(([name]) => `#${name}`), '#Entitled', '#Others'],
    samples.slice(-rowsMax).toReversed().map(row), { tall: true });
}

// apart shows the tenants that had the most, to those who may see them.
export function apart(shares, total) {
  const { tenants = [], samples } = shares;
  if (total < 2) return null;
  const f = frame(shares);
  const row = (t) => h('li', { key: t.tenant },
    h('div', { class: 'node-name' }, link(`#/tenants/${encodeURIComponent(t.tenant)}`, t.tenant, 'name')),
    h('div', {}, h('b', {}, part(t.dominant.at(-1))), h('span', { class: 'muted' }, ' now')),
    steps([{ kind: 'own', points: samples.map((s, i) => [new Date(s.at).getTime(), t.dominant[i]]) }], f, `Dominant share of ${t.tenant}: ${part(t.dominant.at(-1))} now`, { width: 300, height: 40 }));
  return card('apart', `All tenants, the last ${shares.over}`,
    tenants.length ? h('ul', { class: 'nodes tenants' }, tenants.map(row)) : empty('None of them had anything.'));
}
