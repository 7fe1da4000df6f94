// The tenant: what its jobs have used, by day and by module.
import { newest } from './api.js';
import { columns } from './chart.js';
import { h } from './dom.js';
import { bytes, count, duration, fuel, plural, short } from './format.js';
import { card, link, muted, table, tiles } from './parts.js';

const jobsLooked = 5000;
const daysShown = 7;
const modulesShown = 8;

export function tenantPage() {
  return { title: 'Tenant', every: 10000, load: (signal) => newest(jobsLooked, '', signal), view };
}

const dayOf = (time) => new Date(time).toLocaleDateString('en-GB', { weekday: 'short', day: 'numeric' }).replace(',', '');

const none = { jobs: 0, tasks: 0, fuel: 0, memory: 0, wall: 0 };

const add = (sum, { count: tasks, usage: u }) => ({
  jobs: sum.jobs + 1, tasks: sum.tasks + tasks, fuel: sum.fuel + u.fuel, memory: sum.memory + u.memory_byte_seconds, wall: sum.wall + u.wall_seconds,
});

// gather sums usage by day, the last ones even when there was none, and by module.
function gather(jobs) {
  const days = new Map();
  const modules = new Map();
  for (let i = daysShown - 1; i >= 0; i--) days.set(dayOf(Date.now() - i * 86400e3), none);
  for (const j of jobs) {
    const day = dayOf(j.created);
    if (days.has(day)) days.set(day, add(days.get(day), j));
    modules.set(j.module, add(modules.get(j.module) || none, j));
  }
  return { days: [...days], modules: [...modules].sort((a, b) => b[1].fuel - a[1].fuel).slice(0, modulesShown), all: jobs.reduce(add, none) };
}

function view({ jobs, more }) {
  const { days, modules, all } = gather(jobs);
  const chart = (title, field, write) => card(`by-${field}`, title, columns(days.map(([name, u]) => ({ name, value: u[field] })), write, title));
  return h('div', {},
    h('h1', {}, 'Tenant ', h('span', { class: 'name' }, jobs[0]?.tenant || '')),
    muted(`From ${more ? 'the latest ' : ''}${plural(jobs.length, 'job')} that the ledger keeps, by the day on which they were submitted.`),
    tiles([
      ['Fuel', fuel(all.fuel), 'burnt'], ['Memory', bytes(all.memory), 'times seconds'],
      ['Time', duration(all.wall), 'of all attempts'], ['Jobs', count(all.jobs), plural(all.tasks, 'task')],
    ]),
    h('div', { class: 'pair' }, chart('Fuel a day', 'fuel', fuel), chart('Jobs a day', 'jobs', count)),
    card('days', 'By day', usage('Usage by day', 'Day', days.toReversed())),
    modules.length > 0 && card('modules', 'By module', usage('Usage by module', 'Module', modules, (m) => link(`#/modules/${m}`, short(m)))));
}

const usage = (caption, head, rows, name = (n) => n) => table(caption, [head, '#Jobs', '#Tasks', '#Fuel', '#Memory × s', '#Time'],
  rows.map(([key, u]) => ({ key, cells: [name(key), count(u.jobs), count(u.tasks), fuel(u.fuel), bytes(u.memory), duration(u.wall)] })));
