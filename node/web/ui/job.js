// One job: what became of it, where, why it waits, and what it put out.
import { events, get, nodes, post } from './api.js';
import { attempts } from './attempts.js';
import { badge, legend, phases, shares, timeline } from './chart.js';
import { component, h } from './dom.js';
import { ago, bytes, clock, count, duration, fuel, percent, short, stretch } from './format.js';
import { ended, jobName } from './jobs.js';
import { output } from './output.js';
import { nodeName } from './overview.js';
import { button, card, chips, choices, crumbs, empty, facts, link, nodeLink, table } from './parts.js';
import { taskMap } from './taskmap.js';

const pageTasks = 50;
const filterTasksMin = 8;
const eventsShown = 128;
const namesMillis = 15000;
// After an event the page is brought up to date soon, but not more often than makes
// sense to look at.
const nudgeMillis = 200;
const nudgeApartMillis = 1000;

const finals = ['succeeded', 'failed', 'killed', 'refused'];
const final = (state) => finals.includes(state);

export function jobPage({ parameters: [id], refresh, ask, signal }) {
  const page = { title: short(id), every: 2000, events: [], names: new Map(), from: 0, state: '', chosen: -1 };
  let nudge;
  let loaded = 0;
  let named = 0;
  // What happens is told by the node; asking again and again is for what time alone
  // changes.
  const stop = events(id, (e) => {
    page.events.push(e);
    page.events = page.events.slice(-eventsShown);
    nudge ||= setTimeout(() => {
      nudge = 0;
      refresh();
    }, Math.max(nudgeMillis, loaded + nudgeApartMillis - Date.now()));
  });
  page.close = () => {
    stop();
    clearTimeout(nudge);
  };
  page.load = async (signal) => {
    const [job, why, tasks] = await Promise.all([
      get(`/jobs/${id}`, signal), get(`/jobs/${id}/why`, signal),
      get(`/jobs/${id}/tasks?results=true&limit=${pageTasks}&from=${page.from}&state=${page.state}`, signal),
    ]);
    if (Date.now() - named > namesMillis) {
      for (const n of await nodes(signal)) page.names.set(n.id, nodeName(n));
      named = Date.now();
    }
    loaded = Date.now();
    page.title = jobName(job);
    page.every = final(job.state) ? 0 : 2000;
    return { job, why, tasks };
  };
  const look = (change) => {
    Object.assign(page, change);
    refresh();
  };
  const tools = {
    page, look, ask, refresh, signal,
    choose: (i) => look({ from: i - (i % pageTasks), state: '', chosen: i }),
    name: (node) => page.names.get(node) || `…${node.slice(-6)}`,
  };
  page.view = (data) => view(data, tools);
  return page;
}

function view({ job, why, tasks }, tools) {
  const shown = tasks.tasks.filter((t) => tools.page.chosen < 0 || t.index === tools.page.chosen);
  return h('div', {},
    crumbs('#/jobs', 'Jobs', job.id),
    h('div', { class: 'head' }, h('h1', { class: 'name' }, jobName(job), ' ', badge(job.state)), !final(job.state) && stopButton(job, tools)),
    waits(job, why),
    card('progress', 'Progress', h('b', { class: 'big' }, percent(ended(job.tasks), job.count)), shares(job.tasks, job.count), legend(job.tasks, count),
      job.count > 1 && component('map', taskMap, { job, choose: tools.choose })),
    card('course', 'Course', phases(job), course(job, tools), eventList(tools)),
    card('tasks', 'Tasks', taskList(job, tasks, tools)),
    card('output', 'Output', component('output', output, { job, tasks: shown, choose: tools.choose, signal: tools.signal })),
    card('facts', 'Usage and facts', about(job)));
}

function stopButton(job, { ask, refresh }) {
  const stop = async () => {
    await post(`/jobs/${job.id}/cancel`);
    refresh();
  };
  return button('Stop', () => ask('Stop this job?', `${jobName(job)}: tasks that run are ended, those that wait are not begun.`, 'Stop it', stop), { class: 'danger' });
}

// amount writes what a reason is about: times are in seconds.
const amount = (reason, n) => (reason.what === 'power-off' ? duration(n || 0) : count(n || 0));

// waits says why a job waits, or why it failed.
function waits(job, why) {
  const waiting = (job.tasks.queued || 0) + (job.tasks.waiting || 0) + (job.tasks.unreachable || 0);
  if (job.state === 'succeeded' || (!waiting && job.state === 'active')) return null;
  const most = Math.max(...(why.reasons || []).map((r) => r.nodes), 1);
  const reason = (r, i) => h('li', { key: i },
    h('div', { class: 'reason-bar', 'aria-hidden': 'true' }, h('i', { style: { width: `${(100 * r.nodes) / most}%` } })),
    h('div', {}, h('b', {}, `${count(r.nodes)} × ${r.what}`), r.detail && h('span', { class: 'mono' }, ` ${r.detail}`),
      r.need > 0 && h('span', { class: 'muted' }, ` needs ${amount(r, r.need)}, at most ${amount(r, r.have)} there`),
      r.help && h('div', { class: 'muted' }, r.help)));
  return h('section', { class: `card why ${job.state}`, key: 'why', 'aria-labelledby': 'why' },
    h('h2', { id: 'why' }, final(job.state) ? 'Why it ended so' : 'Why it waits'),
    h('p', { class: 'lead' }, why.text),
    why.free_at && h('p', {}, `The next chance is expected at ${clock(why.free_at)}.`),
    why.after && h('ul', {}, why.after.map((id) => h('li', { key: id }, 'after ', link(`#/jobs/${id}`, short(id))))),
    why.reasons && h('ul', { class: 'reasons' }, why.reasons.map(reason)),
    job.blame && h('p', {}, 'Because of ', link(`#/jobs/${job.blame}`, short(job.blame))));
}

const moment = (time) => h('time', { datetime: time, title: clock(time) }, ago(time));

const about = (job) => facts([
  ['Fuel', fuel(job.usage.fuel)],
  ['Memory × time', `${bytes(job.usage.memory_byte_seconds)}·s`],
  ['Time of all attempts', duration(job.usage.wall_seconds)],
  ['Tasks', count(job.count)],
  ['Module', link(`#/modules/${job.module}`, short(job.module))],
  ['Tenant', link('#/tenant', job.tenant, 'name')],
  ['Priority', job.band],
  ['Submitted', moment(job.created)],
  job.labels && ['Labels', chips(Object.entries(job.labels).map(([name, value]) => `${name}=${value}`))],
  job.finished && ['Ended', moment(job.finished)],
  job.kept_until && ['Kept until', clock(job.kept_until)],
  job.cause && ['Stopped because of', job.cause],
  job.order && ['Made by order', h('span', { class: 'mono' }, short(job.order))],
  job.reads && ['Reads', job.reads.map((r, i) => [link(`#/jobs/${r.job}`, `${short(r.job)} ${r.stream}`), i + 1 < job.reads.length && ', '])],
]);

function course(job, { page, name }) {
  const rows = attempts(page.events, job, name);
  if (!rows.length) return null;
  return [
    timeline(rows, new Date(rows.from).getTime(), new Date(job.finished || Date.now()).getTime()),
    page.events[0].number > 1 && h('p', { class: 'muted small' }, `From the last ${count(page.events.length)} events: earlier ones are not kept.`),
  ];
}

function eventList({ page, name }) {
  const row = (e) => ({
    key: e.number,
    cells: [
      e.kind, clock(e.at), e.count > 0 && stretch(e.first, e.first + e.count), e.node && h('span', { class: 'name' }, name(e.node)),
      [e.state, e.exit, e.cause, e.job].filter(Boolean).join(', '),
    ],
  });
  return h('details', {}, h('summary', {}, `What happened, ${count(page.events.length)} events`),
    table('Events, the latest first', ['What', 'Time', 'Tasks', 'Node', 'How'], page.events.map(row).reverse(), { tall: true }));
}

const taskHeads = ['Task', 'State', 'Node', 'Outcome', '#Fuel', '#Memory', '#Took'];
const filters = ['', 'queued', 'running', 'succeeded', 'failed', 'killed', 'refused'];

// outcome says how the last attempt at a task ended, or which one is under way.
const outcome = (t) => {
  if (t.result) return t.result.kind === 'exited' ? `exit ${t.result.exit_code}` : t.result.kind;
  const before = t.attempt + (t.losses || 0);
  return before && !final(t.state) ? `attempt ${count(before + 1)}` : t.cause || '';
};

function taskList(job, { tasks, next }, { page, look, choose, name }) {
  const pick = (t) => {
    const chosen = t.index === page.chosen;
    return button(`task ${count(t.index)}`, () => (chosen ? look({ chosen: -1 }) : choose(t.index)), { class: 'link', 'aria-pressed': String(chosen) });
  };
  const row = (t) => ({
    key: t.index,
    chosen: t.index === page.chosen,
    cells: [
      pick(t), badge(t.state), t.node ? nodeLink(t.node, name(t.node)) : '–', outcome(t),
      t.result ? fuel(t.result.fuel) : '–', t.result ? bytes(t.result.memory_peak_bytes) : '–', t.result ? duration(t.result.wall_seconds) : '–',
    ],
  });
  return [
    job.count >= filterTasksMin && choices('State', filters, page.state, (state) => look({ state, from: 0, chosen: -1 })),
    tasks.length ? table('Tasks of the job', taskHeads, tasks.map(row), { tall: true }) : empty('No task is like that.'),
    job.count > pageTasks && h('div', { class: 'buttons' },
      button('First', () => look({ from: 0, chosen: -1 }), { disabled: page.from === 0 }),
      button('Next', () => look({ from: next, chosen: -1 }), { disabled: next === undefined })),
  ];
}
