// The grid: what it is doing now, on which nodes, for which jobs.
import { get, newest, nodes } from './api.js';
import { area, badge, meter } from './chart.js';
import { h } from './dom.js';
import { bytes, count, duration, fuel, percent, plural, seconds } from './format.js';
import { jobTable } from './jobs.js';
import { card, empty, link, muted, nodeLink, plot, tiles } from './parts.js';

const spanSeconds = 300;
const spanSecondsMin = 20;
const nodesShown = 200;
const jobsShown = 8;

// history keeps how busy each node was while somebody looked: by id, and '' for all.
const history = new Map();

// remember adds what nodes do now to the history; whole says that they are all.
export function remember(list, whole) {
  const at = Date.now();
  const note = (id, part, all) => {
    const points = (history.get(id) || []).filter((p) => at - p.at <= spanSeconds * 1000);
    points.push({ at, value: all ? Math.min(1, part / all) : 0 });
    history.set(id, points);
  };
  for (const n of list) note(n.id, n.reserved.slots, n.capacity.slots);
  if (whole) note('', sum(list, 'reserved', 'slots'), sum(list, 'capacity', 'slots'));
}

// sum adds up what the nodes that are there have, or have taken.
const sum = (list, what, field) => list.filter((n) => n.state === 'up' || n.state === 'draining').reduce((all, n) => all + n[what][field], 0);

// load draws how busy a node was; without one, how busy the grid was.
export const load = (id, label, size) => area(history.get(id) || [], span(id), label, size);

// span is how many seconds a drawing shows: as long as somebody has looked.
export const span = (id) => Math.min(spanSeconds, Math.max(spanSecondsMin, seconds((history.get(id) || [])[0]?.at || Date.now())));

export const nodeName = (n) => n.name || `…${n.id.slice(-6)}`;

// marks say what a node is beside others.
export function marks(n) {
  const words = [n.withheld && 'gives nothing now', n.self && 'answers you', n.leader && 'leader', !n.leader && n.voter && 'voter'].filter(Boolean);
  return words.map((m) => h('span', { key: m, class: 'mark' }, m));
}

export function overviewPage() {
  return { title: 'Grid', every: 2000, load: gather, view };
}

async function gather(signal) {
  const [list, recent, active] = await Promise.all([nodes(signal), newest(jobsShown, '', signal), get('/jobs?state=active&limit=1000', signal)]);
  remember(list, true);
  return { list, recent, active: active.jobs, more: Boolean(active.next) };
}

function view({ list, recent, active, more }) {
  const up = list.filter((n) => n.state === 'up');
  const taken = (field) => percent(sum(list, 'reserved', field), sum(list, 'capacity', field));
  const tasks = (...names) => active.reduce((all, j) => all + names.reduce((s, n) => s + (j.tasks[n] || 0), 0), 0);
  const rate = sum(list, 'capacity', 'fuel_rate');
  return h('div', {},
    h('h1', {}, 'Grid'),
    tiles([
      ['Nodes up', count(up.length), list.length === up.length ? 'all of them' : `of ${list.length}`],
      ['Tasks running', count(tasks('running', 'leased')), `on ${plural(sum(list, 'reserved', 'slots'), 'slot')} of ${count(sum(list, 'capacity', 'slots'))}`],
      ['Tasks waiting', count(tasks('queued')), more ? 'of the first 1000 jobs' : `of ${plural(active.length, 'active job')}`],
      ['Memory taken', taken('memory_bytes'), `of ${bytes(sum(list, 'capacity', 'memory_bytes'))}`],
      ['Fuel rate taken', rate ? taken('fuel_rate') : '–', rate ? `of ${fuel(rate)}/s` : 'not measured yet'],
    ]),
    card('load', 'Load', plot(load('', 'Slots taken in the grid')), h('p', { class: 'muted small' }, `Slots taken, the last ${duration(Math.round(span('')))}`)),
    card('nodes', 'Nodes', h('ul', { class: 'nodes' }, list.slice(0, nodesShown).map(nodeRow)),
      list.length > nodesShown && muted(`and ${plural(list.length - nodesShown, 'more node')}`)),
    card('recent', 'Latest jobs', recent.jobs.length ? [jobTable(recent.jobs, 'Jobs'), h('p', { class: 'all' }, link('#/jobs', 'All jobs', ''))] : nothing()));
}

const nothing = () => empty('No jobs yet. ', link('#/submit', 'Submit one', ''), ', or try: ', h('code', {}, 'dugnad run hello.wasm'));

const nodeRow = (n) => h('li', { key: n.id },
  h('div', { class: 'node-name' }, nodeLink(n.id, nodeName(n)), badge(n.state), marks(n)),
  h('div', { class: 'meters' },
    meter('Slots', n.reserved.slots, n.capacity.slots, count),
    meter('Memory', n.reserved.memory_bytes, n.capacity.memory_bytes, bytes),
    meter('Fuel rate', n.reserved.fuel_rate, n.capacity.fuel_rate, (v) => `${fuel(v)}/s`)),
  load(n.id, `Slots taken on ${nodeName(n)}`, { width: 160, height: 40 }));
