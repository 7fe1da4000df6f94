// Finds the page that the address names, keeps it up to date, and knows the keys.
import { h, plain, render } from './dom.js';
import { listPage } from './jobs.js';
import { jobPage } from './job.js';
import { modulePage, modulesPage } from './module.js';
import { nodePage } from './node.js';
import { orderPage, ordersPage } from './order.js';
import { overviewPage } from './overview.js';
import { button, link, told } from './parts.js';
import { begin, locked, mark, tell } from './session.js';
import { submitPage } from './submit.js';
import { tenantPage } from './tenant.js';

// routes give a page for an address: its name in the navigation, and what opens it.
const routes = [
  [/^\/?$/, 'overview', overviewPage],
  [/^\/jobs$/, 'jobs', listPage],
  [/^\/jobs\/([0-9a-f]{32})$/, 'jobs', jobPage],
  [/^\/orders$/, 'jobs', ordersPage],
  [/^\/orders\/([0-9a-f]{32})$/, 'jobs', orderPage],
  [/^\/nodes\/([^/]+)$/, 'overview', nodePage],
  [/^\/modules$/, 'modules', modulesPage],
  [/^\/modules\/([^/]+)$/, 'modules', modulePage],
  [/^\/tenant$/, 'tenant', tenantPage],
  [/^\/tenants\/([^/]+)$/, 'tenant', tenantPage],
  [/^\/submit$/, 'submit', submitPage],
];

const main = document.getElementById('main');
const trouble = document.getElementById('trouble');
const dialog = document.getElementById('dialog');
let current = null;

// againMillis is after how long what went wrong is tried again.
const againMillis = 2000;

// show opens the page of the address. A page is {title, load, view, every, close}:
// load gets what view shows, again after every milliseconds; 0 is never.
function show() {
  current?.stop();
  const [path, query] = location.hash.replace(/^#/, '').split('?');
  const route = routes.find(([pattern]) => pattern.test(path));
  for (const a of document.querySelectorAll('#nav a')) {
    if (a.dataset.page === route?.[1]) a.setAttribute('aria-current', 'page');
    else a.removeAttribute('aria-current');
  }
  main.removeAttribute('data-ready');
  if (!route) {
    document.title = 'Not found · Dugnad';
    main.replaceChildren(h('section', {}, h('h1', {}, 'There is no such page'), h('p', {}, link('#/', 'To the grid'))));
    return;
  }
  const parameters = path.match(route[0]).slice(1).map(decodeURIComponent);
  current = run(route[2], parameters, new URLSearchParams(query));
}

// run keeps a page up to date until it is stopped.
function run(open, parameters, query) {
  const ended = new AbortController();
  let timer;
  let busy = false;
  let again = false;
  let data;
  const draw = () => {
    if (ended.signal.aborted || data === undefined) return;
    render(main, page.view(data));
    document.title = `${plain(page.title)} · Dugnad`;
    main.setAttribute('data-ready', '');
  };
  const refresh = async () => {
    clearTimeout(timer);
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    let failed;
    try {
      data = await page.load(ended.signal);
    } catch (e) {
      failed = e;
    }
    busy = false;
    if (ended.signal.aborted) return;
    say(failed, data !== undefined);
    if (!failed) draw();
    if (again) {
      again = false;
      refresh();
      return;
    }
    // Whoever is not let in now has to do something first.
    const wait = failed?.status === 401 ? 0 : failed ? againMillis : page.every;
    if (wait) timer = setTimeout(wake, wait);
  };
  // A page that nobody looks at asks for nothing.
  const wake = () => {
    if (document.hidden) document.addEventListener('visibilitychange', wake, { once: true, signal: ended.signal });
    else refresh();
  };
  const page = open({ parameters, query, refresh, draw, ask, signal: ended.signal });
  main.replaceChildren(h('p', { class: 'muted' }, 'One moment …'));
  document.title = 'Dugnad';
  refresh();
  return {
    stop() {
      ended.abort();
      clearTimeout(timer);
      page.close?.();
    },
  };
}

// say tells what is wrong: above a page that was there before, else in its place.
function say(failed, before) {
  trouble.hidden = !failed || !before || failed.status === 401;
  if (!failed) return;
  if (failed.status === 401) {
    render(main, locked(failed));
    document.title = 'Log in · Dugnad';
    main.setAttribute('data-ready', '');
    return;
  }
  const lost = failed.status === undefined;
  const text = lost ? 'This node does not answer. Trying again …' : told(failed);
  trouble.replaceChildren(text);
  if (!before) {
    render(main, h('section', { key: 'wrong' }, h('h1', {}, lost ? 'No answer' : 'That did not work'), h('p', {}, text), h('p', {}, link('#/', 'To the grid'))));
    main.setAttribute('data-ready', '');
  }
}

// ask shows a question, and does what it is about when the answer is yes.
function ask(title, text, yes, act) {
  const problem = h('p', { class: 'wrong', role: 'alert' });
  const go = async (e) => {
    e.preventDefault();
    try {
      await act();
      dialog.close();
    } catch (wrong) {
      problem.textContent = told(wrong);
    }
  };
  dialog.replaceChildren(h('form', { onsubmit: go }, h('h2', { id: 'dialog-title' }, title), h('p', {}, text), problem,
    h('div', { class: 'buttons' }, button('Cancel', () => dialog.close()), h('button', { class: 'primary' }, yes))));
  dialog.showModal();
}

const keys = [
  ['o', 'the grid', () => go('/')], ['j', 'jobs', () => go('/jobs')], ['r', 'standing orders', () => go('/orders')], ['m', 'modules', () => go('/modules')],
  ['t', 'tenant', () => go('/tenant')], ['s', 'submit a job', () => go('/submit')],
  ['/', 'to the filter', () => main.querySelector('[type=search]')?.focus()], ['?', 'this list', help],
];
const otherKeys = [['Esc', 'close this'], ['← ↑ → ↓ Enter ⌫', 'in a map of tasks: choose, open, back']];
const keysOff = 'dugnad keys off';

function go(path) {
  location.hash = path;
}

function help() {
  const off = localStorage.getItem(keysOff) !== null;
  const toggle = () => {
    if (off) localStorage.removeItem(keysOff);
    else localStorage.setItem(keysOff, '');
    help();
  };
  dialog.replaceChildren(h('h2', { id: 'dialog-title' }, 'Keys'),
    h('dl', { class: 'keys' }, [...keys, ...otherKeys].map(([key, what]) => [h('dt', {}, h('kbd', {}, key)), h('dd', {}, what)])),
    h('div', { class: 'buttons' }, button(off ? 'Switch single keys on' : 'Switch single keys off', toggle),
      button('Close', () => dialog.close(), { class: 'primary' })));
  if (!dialog.open) dialog.showModal();
}

document.addEventListener('keydown', (e) => {
  const typing = e.target.closest('input, textarea, select, canvas');
  if (typing || dialog.open || e.ctrlKey || e.metaKey || e.altKey || localStorage.getItem(keysOff) !== null) return;
  const found = keys.find(([key]) => key === e.key);
  if (!found) return;
  e.preventDefault();
  found[2]();
});
document.getElementById('keys').onclick = help;
document.getElementById('skip').onclick = (e) => {
  e.preventDefault();
  main.focus();
};
addEventListener('hashchange', () => {
  if (location.hash.startsWith(mark)) {
    location.reload();
    return;
  }
  show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
const refusal = await begin();
if (refusal) say(refusal, false);
else show();
tell(document.getElementById('who'));
