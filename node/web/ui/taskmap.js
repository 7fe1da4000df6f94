// A picture of all tasks of a job, however many: a cell stands for one task or for
// thousands, and opens into a map of its own.
import { get } from './api.js';
import { states } from './chart.js';
import { h } from './dom.js';
import { count, stretch } from './format.js';
import { told } from './parts.js';

const cellsMax = 4096;
const heightMax = 264;
const cellMin = 8;
const cellMax = 22;

// layout says how many cells of which size there is room for.
function layout(tasks, width) {
  for (let size = cellMax; size >= cellMin; size--) {
    const across = Math.max(1, Math.floor(width / size));
    if (Math.ceil(tasks / across) * size <= heightMax) return { size, across, cells: tasks };
  }
  const across = Math.max(1, Math.floor(width / cellMin));
  return { size: cellMin, across, cells: Math.min(cellsMax, across * Math.floor(heightMax / cellMin)) };
}

// taskMap looks after the picture in el; its data are {job, choose, changed}, where
// choose gets the task that was picked.
export function taskMap(el) {
  const canvas = h('canvas', { tabindex: 0, role: 'application', 'aria-roledescription': 'map of tasks', 'aria-describedby': 'map-words' });
  const words = h('p', { id: 'map-words', class: 'map-words', 'aria-live': 'polite' });
  const out = h('button', { type: 'button', class: 'quiet', hidden: true }, 'Zoom out');
  el.append(h('div', { class: 'map-bar' }, words, out), canvas);
  const view = { el, canvas, words, out, data: null, map: null, zoom: [], at: -1, asking: false, again: false };
  canvas.onpointermove = (e) => point(view, hit(view, e));
  canvas.onpointerleave = () => point(view, -1);
  canvas.onclick = (e) => enter(view, hit(view, e));
  canvas.onkeydown = (e) => press(view, e);
  out.onclick = () => leave(view);
  new ResizeObserver(() => load(view)).observe(el);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => draw(view));
  return (data) => {
    view.data = data;
    load(view);
  };
}

// load asks for the map, once at a time.
async function load(view) {
  if (!view.data || !view.el.clientWidth) return;
  if (view.asking) {
    view.again = true;
    return;
  }
  view.asking = true;
  const { from, end } = view.zoom.at(-1) || { from: 0, end: view.data.job.count };
  const room = layout(end - from, view.el.clientWidth);
  try {
    view.map = await get(`/jobs/${view.data.job.id}/map?from=${from}&end=${end}&cells=${room.cells}`);
    view.room = room;
    draw(view);
  } catch (e) {
    view.words.textContent = `The map could not be had: ${told(e)}`;
  }
  view.asking = false;
  if (view.again) {
    view.again = false;
    load(view);
  }
}

function draw(view) {
  const { canvas, map, room } = view;
  if (!map) return;
  const style = getComputedStyle(document.documentElement);
  const colours = Object.fromEntries(states.map((s) => [s, style.getPropertyValue(`--st-${s}`)]));
  const { size, across } = room;
  const ratio = devicePixelRatio || 1;
  const width = Math.min(across, map.cells.length) * size;
  const height = Math.ceil(map.cells.length / across) * size;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.setProperty('width', `${width}px`);
  canvas.style.setProperty('height', `${height}px`);
  const c = canvas.getContext('2d');
  c.scale(ratio, ratio);
  const gap = size > 12 ? 2 : 1;
  map.cells.forEach((tasks, i) => cell(c, tasks, (i % across) * size, Math.floor(i / across) * size, size - gap, extent(map, i), colours));
  if (view.at >= 0) {
    c.strokeStyle = style.getPropertyValue('--ink');
    c.lineWidth = 2;
    c.strokeRect((view.at % across) * size, Math.floor(view.at / across) * size, size - gap, size - gap);
  }
  describe(view);
}

// cell fills a square with the shares of its states, from the bottom.
function cell(c, tasks, x, y, size, total, colours) {
  let bottom = y + size;
  for (const s of states) {
    if (!tasks[s]) continue;
    const part = (size * tasks[s]) / total;
    c.fillStyle = colours[s];
    c.fillRect(x, bottom - part, size, part);
    bottom -= part;
  }
}

// extent is how many tasks a cell has.
const extent = (map, i) => Math.min(map.per, map.end - map.from - i * map.per);

const tell = (tasks) => states.filter((s) => tasks[s]).map((s) => `${count(tasks[s])} ${s}`).join(', ');

function describe(view) {
  const { map, at, words, out, canvas } = view;
  out.hidden = view.zoom.length === 0;
  const whole = stretch(map.from, map.end);
  canvas.setAttribute('aria-label', `Map of ${whole}. Arrow keys choose, Enter opens, Backspace goes back.`);
  if (at >= 0 && at < map.cells.length) {
    const first = map.from + at * map.per;
    words.textContent = `${stretch(first, first + extent(map, at))}: ${tell(map.cells[at])}`;
  } else {
    words.textContent = map.per > 1 ? `${whole}; a cell is ${count(map.per)} tasks, and opens` : `${whole}; a cell is a task`;
  }
}

function hit(view, e) {
  if (!view.map) return -1;
  const { size, across } = view.room;
  const column = Math.floor(e.offsetX / size);
  const i = Math.floor(e.offsetY / size) * across + column;
  return column < across && i < view.map.cells.length ? i : -1;
}

function point(view, i) {
  if (i === view.at) return;
  view.at = i;
  draw(view);
}

function enter(view, i) {
  if (i < 0 || !view.map) return;
  const from = view.map.from + i * view.map.per;
  if (view.map.per === 1) {
    view.data.choose(from);
    return;
  }
  view.zoom.push({ from, end: from + extent(view.map, i) });
  view.at = -1;
  load(view);
}

function leave(view) {
  view.zoom.pop();
  view.at = -1;
  load(view);
}

function press(view, e) {
  if (!view.map) return;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -view.room.across, ArrowDown: view.room.across };
  const last = view.map.cells.length - 1;
  if (steps[e.key]) point(view, Math.max(0, Math.min(last, Math.max(view.at, 0) + (view.at < 0 ? 0 : steps[e.key]))));
  else if (e.key === 'Home') point(view, 0);
  else if (e.key === 'End') point(view, last);
  else if (e.key === 'Enter') enter(view, view.at);
  else if (e.key === 'Backspace' && view.zoom.length) leave(view);
  else return;
  e.preventDefault();
}
