// Modules: what there is, and what lint and the meter make of one.
import { get, newest, nodes, remove } from './api.js';
import { h } from './dom.js';
import { bytes, count, duration, fuel, plural, short } from './format.js';
import { jobTable } from './jobs.js';
import { nodeName } from './overview.js';
import { button, card, crumbs, empty, facts, link, muted, nodeLink, table, told } from './parts.js';

const jobsLooked = 200;
const jobsShown = 10;

export function modulesPage() {
  const page = { title: 'Modules', every: 5000 };
  page.load = (signal) => get('/modules?limit=1000', signal);
  const row = (m) => ({
    key: m.module,
    cells: [
      link(`#/modules/${m.module}`, short(m.module)), bytes(m.bytes), count(m.jobs), plural((m.holders || []).length, 'node'),
      h('a', { href: `#/submit?module=${m.module}`, 'aria-label': `Submit a job with ${short(m.module)}` }, 'Submit'),
    ],
  });
  page.view = ({ modules, next }) => h('div', {}, h('h1', {}, 'Modules'),
    modules.length
      ? h('section', { class: 'card' }, table('Modules that the grid knows', ['Module', '#Size', '#Jobs', '~Held by', ''], modules.map(row)))
      : empty('The grid knows no modules yet. ', link('#/submit', 'Bring one', ''), '.'),
    next && muted('and more: see dugnad module ls'));
  return page;
}

export function modulePage({ parameters: [id], ask }) {
  const page = { title: short(id), every: 5000 };
  let inspection;
  let problem;
  page.load = async (signal) => {
    const [module, list, jobs] = await Promise.all([get(`/modules/${id}`, signal), nodes(signal), newest(jobsLooked, '', signal)]);
    try {
      inspection ||= await get(`/modules/${id}/inspection`, signal);
      problem = undefined;
    } catch (e) {
      problem = e;
    }
    const names = new Map(list.map((n) => [n.id, nodeName(n)]));
    return { module, names, jobs: jobs.jobs.filter((j) => j.module === module.module).slice(0, jobsShown) };
  };
  const forget = async () => {
    await remove(`/modules/${id}`);
    location.hash = '/modules';
  };
  const forgetting = () => ask('Forget this module?', 'The grid gives its bytes up. Whoever needs it pushes it again.', 'Forget it', forget);
  const said = () => {
    if (inspection) return report(inspection);
    return problem ? h('p', { class: 'wrong' }, `It could not be inspected: ${told(problem)}`) : muted('One moment …');
  };
  page.view = ({ module, names, jobs }) => h('div', {},
    crumbs('#/modules', 'Modules', module.module),
    h('div', { class: 'head' }, h('h1', {}, 'Module ', h('span', { class: 'mono' }, short(module.module))),
      h('div', { class: 'buttons' },
        button('Forget', forgetting, { class: 'danger', disabled: module.jobs > 0, title: module.jobs > 0 ? 'Jobs name it' : undefined }),
        link(`#/submit?module=${module.module}`, 'Submit a job', 'button primary'))),
    card('report', 'What lint and the meter say', said()),
    card('holders', 'Held by', h('ul', { class: 'holders' }, (module.holders || []).map((n) => h('li', { key: n, class: 'chip' }, nodeLink(n, names.get(n) || short(n)))))),
    card('jobs', `Jobs with it, ${count(module.jobs)}`, jobs.length ? jobTable(jobs, 'Its latest jobs') : empty('None of the latest jobs.')));
  return page;
}

// report shows an inspection.
export function report(x) {
  const most = Math.max(x.bytes, x.metered_bytes);
  const bar = (name, n, kind) => h('div', { class: 'size', key: name },
    h('span', {}, name), h('div', { class: 'track' }, h('i', { class: kind, style: { width: `${(100 * n) / most}%` } })),
    h('span', { class: 'number' }, bytes(n)));
  return h('div', {},
    h('div', { class: 'sizes' }, bar('as it came', x.bytes, ''), bar('metered', x.metered_bytes, 'metered')),
    facts([
      ['Grows', `${x.growth.toFixed(2)} times`], ['Functions', count(x.functions)], ['Instructions', count(x.instructions)],
      ['Loops', count(x.loops), x.unrolled ? `, ${count(x.unrolled)} repeated` : ''], ['Charges', count(x.charges)], ['Checks', count(x.checks)],
      ['Start fuel', fuel(x.start_fuel)],
      ['Memory', bytes(x.memory_bytes), x.memory_bytes_max ? ` up to ${bytes(x.memory_bytes_max)}` : ', unbounded'],
      ['Compiling', `about ${duration(x.compile_nanos / 1e9)} and ${bytes(x.compile_bytes)}`],
      x.functions > 0 && ['Costliest', `function ${x.costliest_function}`],
      ['Versions', `cost table ${x.meter_version}, lint ${x.lint_version}`],
    ]));
}
