// One node: what it gives, what is taken, and what it was given to do.
import { get, post } from './api.js';
import { badge, meter } from './chart.js';
import { h } from './dom.js';
import { ago, bytes, clock, count, duration, fuel, plural, short, stretch } from './format.js';
import { load, marks, nodeName, remember, span } from './overview.js';
import { button, card, chips, crumbs, empty, facts, link, muted, plot, table } from './parts.js';

// turns are what may be done with a node in a state.
const turns = {
  up: ['Drain', 'Nothing more is placed on it; what runs there may end.'],
  draining: ['Resume', 'Tasks are placed on it again.'],
};

export function nodePage({ parameters: [id], refresh, ask }) {
  const page = { title: 'Node', every: 2000 };
  const path = `/nodes/${encodeURIComponent(id)}`;
  page.load = async (signal) => {
    const [node, leases] = await Promise.all([get(path, signal), get(`${path}/leases?limit=100`, signal)]);
    remember([node]);
    page.title = nodeName(node);
    return { node, leases };
  };
  const turn = (node) => {
    if (!turns[node.state]) return null;
    const [title, text] = turns[node.state];
    return button(title, () => ask(`${title} this node?`, `${nodeName(node)}: ${text}`, title, async () => {
      await post(`${path}/${title.toLowerCase()}`);
      refresh();
    }));
  };
  page.view = ({ node, leases }) => h('div', {},
    crumbs('#/', 'Grid', node.id),
    h('div', { class: 'head' }, h('h1', { class: 'name' }, nodeName(node), ' ', badge(node.state), marks(node)), turn(node)),
    card('load', 'Load',
      plot(load(node.id, `Slots taken on ${nodeName(node)}`)),
      h('p', { class: 'muted small' }, `Slots taken, the last ${duration(Math.round(span(node.id)))}`),
      h('div', { class: 'meters wide' },
        meter('Slots', node.reserved.slots, node.capacity.slots, count),
        meter('Memory', node.reserved.memory_bytes, node.capacity.memory_bytes, bytes),
        meter('Fuel rate', node.reserved.fuel_rate, node.capacity.fuel_rate, (v) => `${fuel(v)}/s`),
        meter('Scratch', node.reserved.scratch_bytes, node.capacity.scratch_bytes, bytes))),
    card('facts', 'Facts', facts([
      ['State', node.state, ' since ', h('time', { datetime: node.since, title: clock(node.since) }, ago(node.since))],
      node.until && ['Hands back', 'what still runs at ', h('time', { datetime: node.until }, clock(node.until))],
      node.withheld && ['Gives nothing now', node.withheld],
      ['Leases', count(node.leases)],
      node.download && ['Download', traffic(node.download)],
      node.upload && ['Upload', traffic(node.upload)],
      ['Labels', [chips(Object.entries(node.labels || {}).map(([name, value]) => `${name}=${value}`))]],
      ['Features', [chips(node.features)]],
    ])),
    card('work', 'What it works on', work(leases, node)));
  return page;
}

// traffic says what users of the grid move over the network, and the operator's bound.
const traffic = (b) => [
  `${bytes(b.bytes_per_second)}/s ${b.bound ? `of ${bytes(b.bound)}/s at most` : 'without a bound'}, `,
  `${bytes(b.bytes)} since the node started`, b.waiting ? `, ${plural(b.waiting, 'stream')} held up` : '',
].join('');

function work({ leases, next }, node) {
  if (!leases.length) return empty('Nothing at present.');
  const row = (l) => ({
    key: l.epoch,
    cells: [
      l.job ? link(`#/jobs/${l.job}`, short(l.job)) : h('span', { class: 'muted' }, 'another tenant’s'),
      [badge(l.state), l.spare && h('span', { class: 'mark' }, 'spare')],
      stretch(l.first, l.first + l.count), count(l.open), count(l.slots), ago(l.granted),
    ],
  });
  return [
    table(`Leases of ${nodeName(node)}`, ['Job', 'State', 'Tasks from', '#Open', '#Slots', 'Since'], leases.map(row)),
    next && muted(`and more: it has ${count(node.leases)} leases`),
  ];
}
