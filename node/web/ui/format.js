// Numbers, times and names as people read them.

const thousands = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

// count writes a whole number with its thousands apart.
export const count = (n) => thousands.format(n || 0).replaceAll(',', '\u202f');

// plural writes a number with its noun.
export const plural = (n, noun, more = noun + 's') => `${count(n)} ${n === 1 ? noun : more}`;

function scaled(n, step, units) {
  let i = 0;
  for (n = n || 0; n >= step && i < units.length - 1; i++) n /= step;
  return `${n >= 100 || Number.isInteger(n) ? Math.round(n) : n.toPrecision(2)}\u00a0${units[i]}`.trimEnd();
}

// bytes writes a size, fuel an amount of fuel.
export const bytes = (n) => scaled(n, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']);
export const fuel = (n) => scaled(n, 1000, ['', 'k', 'M', 'G', 'T', 'P', 'E']);

// byteSeconds writes memory over time.
export const byteSeconds = (n) => `${bytes(n)}·s`;

// duration writes seconds, the two largest units of them.
export function duration(seconds) {
  if (!(seconds > 0)) return '0 s';
  if (seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 10) return `${Number.isInteger(seconds) ? seconds : seconds.toFixed(1)} s`;
  const units = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  const [name, size] = units[first];
  const whole = Math.floor(seconds / size);
  const next = units[first + 1];
  const rest = next ? Math.floor((seconds - whole * size) / next[1]) : 0;
  return rest ? `${whole} ${name} ${rest} ${next[0]}` : `${whole} ${name}`;
}

// seconds is the time between two moments; without the second one, until now.
export const seconds = (from, to) => (new Date(to || Date.now()) - new Date(from)) / 1000;

// ago writes how long something is past.
export function ago(time) {
  const s = seconds(time);
  return s < 1 ? 'just now' : `${duration(Math.floor(s))} ago`;
}

// clock writes a moment: the time, and the day when that is not today.
export function clock(time) {
  const t = new Date(time);
  const at = t.toLocaleTimeString('en-GB');
  return t.toDateString() === new Date().toDateString() ? at : `${t.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })} ${at}`;
}

// short abbreviates an id or a hash.
export function short(id) {
  const digits = id.replace(/^sha256:/, '');
  return digits.length > 14 ? `${digits.slice(0, 6)}…${digits.slice(-4)}` : digits;
}

// percent writes a share.
export const percent = (part, whole) => `${whole ? Math.floor((100 * part) / whole) : 0}\u00a0%`;

// tasks writes which tasks, as a stretch from first to end-1.
export const stretch = (first, end) => (end - first === 1 ? `task ${count(first)}` : `tasks ${count(first)} – ${count(end - 1)}`);
