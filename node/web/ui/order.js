// Standing orders: what makes jobs at the times of a schedule, or on every node.
import { get, nodes, post } from './api.js';
import { badge } from './chart.js';
import { h } from './dom.js';
import { clock, count, duration, plural, seconds, short } from './format.js';
import { nodeName } from './overview.js';
import { button, card, choices, crumbs, empty, facts, link, muted, nodeLink, table } from './parts.js';

const orderName = (o) => o.name || short(o.id);
const at = (time) => h('time', { datetime: time, title: time }, clock(time));

// when writes when something is due.
const when = (time) => (time ? [at(time), `, in ${duration(Math.max(1, Math.round(seconds(Date.now(), time))))}`] : '–');
const rhythm = (o) => (o.kind === 'daemon' ? 'on every node' : `${o.schedule} ${o.timezone || ''}`);

export function ordersPage({ refresh }) {
  const page = { title: 'Orders', every: 5000 };
  let kept = '';
  const choose = (word) => {
    kept = word;
    refresh();
  };
  page.load = (signal) => get(`/orders?limit=1000&ended=${kept === 'ended'}`, signal);
  const row = (o) => ({
    key: o.id,
    cells: [
      [h('a', { href: `#/orders/${o.id}`, class: 'name' }, orderName(o)), o.name && h('span', { class: 'muted mono small beside' }, short(o.id))],
      badge(o.state), h('span', { class: 'mono' }, rhythm(o)), count(o.made), count(o.failed), when(o.next),
    ],
  });
  page.view = ({ orders, next }) => h('div', {},
    crumbs('#/jobs', 'Jobs', 'standing orders'),
    h('h1', {}, 'Standing orders'),
    choices('State', ['', 'ended'], kept, choose),
    orders.length
      ? h('section', { class: 'card' }, table('Standing orders', ['Order', 'State', 'When', '#Jobs', '#Failed', 'Next'], orders.map(row), { kind: 'jobs' }))
      : empty(kept ? 'None has ended.' : 'There are none. A job file with kind: cron or kind: daemon makes one: see dugnad job submit --help.'),
    next && muted('and more: see dugnad job ls'));
  return page;
}

// turns are what may be done with an order in a state: the way it is asked for, the
// title, and what becomes of it.
const turns = {
  active: [['pause', 'Pause', 'It makes no more jobs until it is resumed. Times that pass meanwhile are not made up for.'], ['end', 'End', 'It makes no more jobs, and those that have not ended are stopped.']],
  paused: [['resume', 'Resume', 'It makes jobs again.'], ['end', 'End', 'It makes no more jobs, and those that have not ended are stopped.']],
};

export function orderPage({ parameters: [id], refresh, ask }) {
  const page = { title: short(id), every: 5000 };
  page.load = async (signal) => {
    const [order, why, list] = await Promise.all([get(`/orders/${id}`, signal), get(`/orders/${id}/why`, signal), nodes(signal)]);
    page.title = orderName(order);
    return { order, why, names: new Map(list.map((n) => [n.id, nodeName(n)])) };
  };
  const turn = (order, [verb, title, text]) => button(title, () => ask(`${title} this order?`, `${orderName(order)}: ${text}`, title, async () => {
    await post(`/orders/${id}/${verb}`);
    refresh();
  }), { class: verb === 'end' ? 'danger' : undefined });
  page.view = ({ order: o, why, names }) => h('div', {},
    crumbs('#/orders', 'Standing orders', o.id),
    h('div', { class: 'head' }, h('h1', {}, h('span', { class: 'name' }, orderName(o)), badge(o.state)),
      h('div', { class: 'buttons' }, (turns[o.state] || []).map((t) => turn(o, t)))),
    card('when', 'When', h('p', { class: 'lead' }, why.text), facts([
      ['Rhythm', h('span', { class: 'mono' }, rhythm(o))], o.next && ['Next', ...when(o.next)],
      o.overlap && ['While one runs', o.overlap], o.catch_up && ['After a gap', o.catch_up],
      ['Module', link(`#/modules/${o.module}`, short(o.module))], ['Each job', plural(o.count, 'task')],
      ['Made', at(o.created)], ['Tenant', h('span', { class: 'name' }, o.tenant)],
    ])),
    card('sum', 'What became of it', facts([
      ['Jobs', count(o.made)], ['Open', count(o.open)], ['Succeeded', count(o.succeeded)], ['Failed', count(o.failed)], ['Stopped', count(o.killed)],
      ['Skipped', count(o.skipped)], ['Refused', count(o.refused)], ['Missed', count(o.missed)],
    ])),
    o.seats?.length > 0 && card('seats', 'On its nodes', table('Nodes of the daemon', ['Node', 'Job', '#Jobs', 'Since'], o.seats.map((s) => ({
      key: s.node, cells: [nodeLink(s.node, names.get(s.node) || short(s.node)), jobOf(s.job), count(s.jobs), s.since ? at(s.since) : '–'],
    })))),
    card('runs', 'Last runs', o.runs?.length
      ? table('Last runs', ['Time', 'Result', 'Job', 'State'], o.runs.toReversed().map((r, i) => ({
        key: `${r.at} ${i}`, cells: [at(r.at), r.result, jobOf(r.job), r.state ? badge(r.state) : '–'],
      })))
      : empty('None yet.')));
  return page;
}

const jobOf = (id) => (id ? link(`#/jobs/${id}`, short(id)) : '–');
