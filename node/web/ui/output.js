// What tasks have put out, as they end.
import { beginning } from './api.js';
import { badge } from './chart.js';
import { h, render } from './dom.js';
import { bytes, count } from './format.js';
import { live } from './live.js';
import { button, muted, told } from './parts.js';

const manyBytes = 8 << 10;
const oneBytes = 256 << 10;
const finals = ['succeeded', 'failed', 'killed', 'refused'];

// output shows the outputs of some tasks in el: of one what it puts out while it runs,
// and all that is known of its end, of several what they have put out, one below the
// other. Its data are {job, tasks, choose, signal}.
export function output(el) {
  let data;
  const running = live(() => show());
  const read = reader(() => show());
  const show = () => {
    const known = data.tasks.filter((t) => t.result);
    const open = data.tasks.filter((t) => !finals.includes(t.state)).length;
    const lines = known.length > 1 ? known.map((t) => line(t, data, read)).filter(Boolean) : [];
    const alone = data.tasks.length === 1 && open === 1;
    const now = running(alone && data.tasks[0], data);
    const waits = alone
      ? 'What the task puts out comes here, as it does.'
      : `${count(open)} of these tasks have not ended: what they put out comes here. Choose one to see it as it comes.`;
    render(el, h('div', {},
      lines.length > 0 && h('div', { key: 'lines', class: 'lines', tabindex: 0, role: 'group', 'aria-label': 'Outputs of the tasks above' }, lines),
      known.length === 1 && one(known[0], data, read),
      now,
      open > 0 && !now && muted(waits),
      !open && known.length !== 1 && !lines.length && muted('Nothing was put out.')));
  };
  return (now) => {
    data = now;
    show();
  };
}

// reader returns what gives the beginning of an output: what was read once is not read
// again, and arrived is called when there is more to show.
function reader(arrived) {
  const known = new Map();
  const fetching = async (key, path, size) => {
    known.set(key, { text: '…' });
    try {
      known.set(key, await beginning(path, size));
    } catch (e) {
      known.set(key, { text: '', problem: told(e) });
    }
    arrived();
  };
  return (job, t, name, size) => {
    if (!t.result[`${name}_bytes`]) return null;
    const path = `/jobs/${job.id}/tasks/${t.index}/${name}`;
    const key = `${path}/${t.result.object}/${size}`;
    if (!known.has(key)) fetching(key, path, size);
    return { path, ...known.get(key) };
  };
}

function one(t, { job }, read) {
  const stream = (name) => {
    const o = read(job, t, name, oneBytes);
    return o && h('div', { key: name, class: `stream ${name}` },
      h('div', { class: 'stream-head' }, h('span', {}, name),
        h('a', { href: `/v1${o.path}`, download: `${job.id}-${t.index}.${name}` }, `${bytes(t.result[`${name}_bytes`])}, whole`)),
      o.problem ? h('p', { class: 'wrong' }, o.problem) : h('pre', { tabindex: 0, role: 'group', 'aria-label': `${name} of task ${t.index}` }, o.text),
      o.more && h('p', { class: 'muted small' }, `the first ${bytes(oneBytes)}`));
  };
  const { message, limits_hit: limits, stack, stdout_bytes: out, stderr_bytes: err } = t.result;
  return h('article', { key: t.index },
    job.count > 1 && h('h3', {}, `task ${count(t.index)} `, badge(t.state)),
    message && h('p', { class: 'message' }, message),
    limits && muted(`limits reached: ${limits.join(', ')}`),
    stack && h('details', {}, h('summary', {}, 'Stack'), h('ol', { class: 'mono' }, stack.map((f, i) => h('li', { key: i }, f)))),
    stream('stdout'), stream('stderr'),
    !out && !err && muted('It has put out nothing.'));
}

// line is what a task among others has put out: its name, and beside it the streams.
function line(t, { job, choose }, read) {
  const text = (name) => {
    const o = read(job, t, name, manyBytes);
    return o && h('pre', { key: `${t.index}${name}`, class: name }, o.problem || o.text.replace(/\n$/, '') + (o.more ? ' …' : ''));
  };
  const parts = [t.result.message && h('p', { key: `${t.index}m`, class: 'wrong' }, t.result.message), text('stdout'), text('stderr')].filter(Boolean);
  const name = button(`task ${count(t.index)}`, () => choose(t.index), { key: t.index, class: 'link' });
  return parts.length > 0 && parts.map((part, i) => [i ? h('span', { key: `${t.index}s${i}` }) : name, part]);
}
