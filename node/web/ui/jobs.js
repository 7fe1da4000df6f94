// Jobs: a filter, and how far each one is.
import { newest } from './api.js';
import { badge, shares } from './chart.js';
import { h } from './dom.js';
import { ago, clock, count, duration, fuel, percent, seconds, short } from './format.js';
import { button, choices, empty, link, table } from './parts.js';

const step = 50;
const states = ['', 'active', 'waiting', 'stopping', 'succeeded', 'failed', 'killed'];

export const jobName = (j) => j.name || short(j.id);

// ended counts the tasks that stay as they are.
export const ended = (t) => (t.succeeded || 0) + (t.failed || 0) + (t.killed || 0) + (t.refused || 0);

// jobTable lists jobs with their progress.
export const jobTable = (jobs, caption) => table(caption, ['Job', 'State', 'Progress', '#Tasks', '#Fuel', '#Took', 'Submitted'], jobs.map(row), { kind: 'jobs' });

const row = (j) => ({
  key: j.id,
  cells: [
    [h('a', { href: `#/jobs/${j.id}`, class: 'name', title: j.name || j.id }, jobName(j)), j.name && h('span', { class: 'muted mono small beside' }, short(j.id))],
    badge(j.state),
    h('div', { class: 'progress' }, shares(j.tasks, j.count), h('span', { class: 'muted small' }, percent(ended(j.tasks), j.count))),
    count(j.count), fuel(j.usage.fuel), j.finished || j.placed ? duration(seconds(j.created, j.finished)) : '–',
    h('time', { datetime: j.created, title: clock(j.created) }, ago(j.created)),
  ],
});

export function listPage({ query, refresh, draw }) {
  const page = { title: 'Jobs', every: 2000 };
  let state = states.includes(query.get('state')) ? query.get('state') : '';
  let word = '';
  let want = step;
  const choose = (s) => {
    state = s;
    want = step;
    refresh();
  };
  const type = (e) => {
    word = e.target.value;
    draw();
  };
  const older = () => {
    want += step * 2;
    refresh();
  };
  const matches = (j) => `${j.name || ''} ${j.id} ${j.module} ${Object.entries(j.labels || {}).map(([name, value]) => `${name}=${value}`).join(' ')}`.toLowerCase().includes(word.toLowerCase());
  const nothing = (jobs) => (jobs.length || state ? empty('No job is like that.') : empty('No jobs yet. ', link('#/submit', 'Submit one', ''), '.'));
  page.load = (signal) => newest(want, state, signal);
  page.view = ({ jobs, more }) => {
    const found = jobs.filter(matches);
    return h('div', {},
      h('div', { class: 'head' }, h('h1', {}, 'Jobs'), link('#/orders', 'Standing orders', 'button')),
      h('form', { class: 'filter', role: 'search', onsubmit: (e) => e.preventDefault() },
        h('input', { type: 'search', 'aria-label': 'Filter by name, id, module or label', placeholder: 'Name, id, module or label', oninput: type }),
        choices('State', states, state, choose)),
      found.length ? h('section', { class: 'card' }, jobTable(found, 'Jobs, the latest first')) : nothing(jobs),
      h('p', { class: 'muted', role: 'status' }, `${count(found.length)} shown`, more && ' of more'),
      more && button('Show older ones', older));
  };
  return page;
}
