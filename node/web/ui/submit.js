// Submits a job: a module that is dropped here, or one that the grid knows, and a
// form.
import { get, post } from './api.js';
import { h } from './dom.js';
import { bytes, plural, short } from './format.js';
import { report } from './module.js';
import { card, told } from './parts.js';

const planMillis = 400;

// fields are those of the form: each is a part of the job file, from what was typed.
const fields = [
  { name: 'name', label: 'Name', hint: 'for people; the task’s first argument', width: 'half' },
  { name: 'count', label: 'Tasks', hint: '{index} in arguments is the task’s number', type: 'number', min: 1, value: '1', read: Number, width: 'half' },
  { name: 'limits.fuel', label: 'Fuel a task', hint: 'such as 1.5G; left out, the default', width: 'third' },
  { name: 'limits.memory', label: 'Memory a task', hint: 'such as 64MiB', width: 'third' },
  { name: 'limits.timeout', label: 'Timeout', hint: 'such as 90s or 10m', width: 'third' },
  { name: 'args', label: 'Arguments', hint: 'one a line', area: 3, read: lines, width: 'half' },
  { name: 'env', label: 'Environment', hint: 'NAME=value, one a line', area: 3, read: pairs, width: 'half' },
  { name: 'constraints.labels', label: 'Only nodes with', hint: 'label=value, one a line', area: 3, read: lines, width: 'half' },
  { name: 'labels', label: 'Labels', hint: 'for operators: purpose=research, one a line', area: 3, read: pairs, width: 'half' },
  { name: 'stdin', label: 'Standard input', hint: 'what every task reads', area: 3, read: () => undefined, width: 'wide' },
];

function lines(text) {
  return text.split('\n').map((l) => l.trim()).filter(Boolean);
}

function pairs(text) {
  return Object.fromEntries(lines(text).map((l) => {
    const at = l.indexOf('=');
    return at < 0 ? [l, ''] : [l.slice(0, at), l.slice(at + 1)];
  }));
}

export function submitPage({ query, draw, refresh, signal }) {
  const page = { title: 'Submit', every: 0, module: query.get('module') || '', plan: null, problem: null, busy: '', over: false };
  const typed = Object.fromEntries(fields.filter((f) => f.value).map((f) => [f.name, f.value]));
  let planning;
  let inspection = null;

  page.load = async (stopped) => {
    const { modules } = await get('/modules?limit=1000', stopped);
    inspection = null;
    if (page.module) inspection = await get(`/modules/${page.module}/inspection`, stopped);
    return { modules };
  };

  // job is the job file as the form stands; stdin comes when it is submitted.
  const job = () => {
    const out = { module: page.module };
    for (const f of fields) {
      const text = (typed[f.name] || '').trim();
      if (!text) continue;
      const [first, second] = f.name.split('.');
      const value = (f.read || String)(text);
      if (second) out[first] = { ...out[first], [second]: value };
      else out[first] = value;
    }
    return out;
  };

  const plan = () => {
    clearTimeout(planning);
    if (!page.module) return;
    planning = setTimeout(async () => {
      try {
        page.plan = await post('/plans', JSON.stringify(job()));
        page.problem = null;
      } catch (e) {
        page.plan = null;
        page.problem = e;
      }
      if (!signal.aborted) draw();
    }, planMillis);
  };
  page.close = () => clearTimeout(planning);

  const bring = async (file) => {
    page.busy = `Bringing ${file.name}, ${bytes(file.size)} …`;
    page.problem = null;
    draw();
    try {
      const m = await post('/modules', file, 'application/octet-stream');
      page.module = m.module;
      typed.name ||= file.name.replace(/\.wasm$/, '');
      await refresh();
      plan();
    } catch (e) {
      page.problem = e;
    }
    page.busy = '';
    draw();
  };

  const send = async (e) => {
    e.preventDefault();
    if (page.busy) return;
    page.busy = 'Submitting …';
    draw();
    try {
      const file = job();
      if (typed.stdin) file.stdin = { object: (await post('/objects', new Blob([typed.stdin]), 'application/octet-stream')).object };
      const { id } = await post('/jobs', JSON.stringify(file));
      location.hash = `/jobs/${id}`;
    } catch (wrong) {
      page.problem = wrong;
      page.busy = '';
      draw();
      document.querySelector('[aria-invalid]')?.focus();
    }
  };

  const choose = (id) => {
    page.module = id;
    page.plan = null;
    refresh();
    plan();
  };

  page.view = ({ modules }) => h('div', {},
    h('h1', {}, 'Submit a job'),
    h('form', { class: 'submit', onsubmit: send },
      card('module', 'Module', dropZone(page, bring, draw), known(modules, page.module, choose),
        inspection && h('details', {}, h('summary', {}, 'What lint and the meter say of ', h('span', { class: 'mono' }, short(page.module))), report(inspection))),
      page.module && card('job', 'Job',
        h('div', { class: 'fields' }, fields.map((f) => field(f, typed, page.problem, inspection, plan))),
        outlook(page),
        h('div', { class: 'buttons' }, h('button', { class: 'primary', disabled: Boolean(page.busy) }, 'Submit'))),
      trouble(page), h('p', { class: 'muted', role: 'status' }, page.busy)));
  if (page.module) plan();
  return page;
}

// dropZone takes a file that is dropped, or chosen.
function dropZone(page, bring, draw) {
  const over = (yes) => (e) => {
    e.preventDefault();
    if (page.over === yes) return;
    page.over = yes;
    draw();
  };
  const drop = (e) => {
    over(false)(e);
    const file = e.dataTransfer.files[0];
    if (file) bring(file);
  };
  const pick = (e) => e.target.files[0] && bring(e.target.files[0]);
  return h('div', { class: `drop ${page.over ? 'over' : ''}`, ondragover: over(true), ondragleave: over(false), ondrop: drop },
    h('p', {}, h('b', {}, 'Drop a .wasm file here'), ' or choose one'),
    h('input', { type: 'file', accept: '.wasm,application/wasm', 'aria-label': 'A WebAssembly module', onchange: pick }));
}

function known(modules, chosen, choose) {
  if (!modules.length) return null;
  const option = (m) => h('option', { key: m.module, value: m.module, selected: m.module === chosen }, `${short(m.module)}, ${bytes(m.bytes)}, ${plural(m.jobs, 'job')}`);
  return h('div', { class: 'field' }, h('label', { for: 'known' }, 'or one that the grid knows'),
    h('select', { id: 'known', onchange: (e) => choose(e.target.value) }, h('option', { value: '', selected: !chosen }, 'choose …'), modules.map(option)));
}

// mistakesIn are those in a field of the job file, or below it.
const mistakesIn = (name, problem) => (problem?.mistakes || []).filter((m) => m.field === name || m.field?.startsWith(`${name}.`) || m.field?.startsWith(`${name}[`));

// field is an input with its hint, and with what the node says against it.
function field(f, typed, problem, inspection, changed) {
  const id = `f-${f.name}`;
  const wrong = mistakesIn(f.name, problem);
  const least = f.name === 'limits.memory' && inspection ? `; it begins with ${bytes(inspection.memory_bytes)}` : '';
  const type = (e) => {
    typed[f.name] = e.target.value;
    changed();
  };
  const props = { id, 'aria-describedby': `h-${f.name}`, 'aria-invalid': wrong.length ? 'true' : undefined, oninput: type };
  const box = f.area
    ? h('textarea', { ...props, rows: f.area, spellcheck: 'false' }, typed[f.name] || '')
    : h('input', { ...props, type: f.type || 'text', min: f.min, value: typed[f.name] || '', autocomplete: 'off' });
  return h('div', { key: f.name, class: `field ${f.width}` }, h('label', { for: id }, f.label), box,
    h('small', { id: `h-${f.name}`, class: wrong.length ? 'wrong' : '' }, wrong.length ? wrong.map(told).join('; ') : f.hint + least));
}

// outlook says what would become of the job.
function outlook({ plan }) {
  if (!plan) return null;
  const places = Object.keys(plan.nodes || {}).length;
  const starts = plan.starts > 0 && `${plural(plan.starts, 'task')} would start at once on ${plural(places, 'node')}`;
  const text = plan.refused ? `It would be refused: ${plan.refused}` : [starts, plan.waits > 0 && `${plural(plan.waits, 'task')} would wait`].filter(Boolean).join(', ');
  const reason = (r, i) => h('p', { key: i, class: 'muted small' }, `${plural(r.nodes, 'node')}: ${[r.what, r.detail].filter(Boolean).join(' ')}. ${r.help || ''}`);
  return h('div', { class: 'outlook', role: 'status' }, h('p', {}, `${text}.`), plan.waits > 0 && (plan.job.reasons || []).map(reason));
}

function trouble({ problem }) {
  if (!problem) return null;
  const apart = problem.mistakes.filter((m) => !fields.some((f) => mistakesIn(f.name, { mistakes: [m] }).length));
  return h('div', { class: 'wrong', role: 'alert' }, h('p', {}, told(problem)),
    apart.length > 0 && h('ul', {}, apart.map((m, i) => h('li', { key: i }, [m.field, told(m)].filter(Boolean).join(': ')))));
}
