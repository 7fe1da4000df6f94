// What one task puts out while it runs.
import { logs } from './api.js';
import { h } from './dom.js';
import { bytes } from './format.js';

const bytesMax = 64 << 10;
const drawMillis = 100;

// live returns what gives the view of a task that has not ended, nothing while it has put
// out nothing, and follows it from then on until it is called with another, or with none.
// changed is called when there is more to show.
export function live(changed) {
  let now;
  let drawing;
  const draw = () => {
    drawing ||= setTimeout(() => {
      drawing = 0;
      changed();
    }, drawMillis);
  };
  const follow = (job, task, signal) => {
    const own = new AbortController();
    now = { task, stop: () => own.abort(), ...fresh() };
    const mine = now;
    logs(job.id, task, bytesMax, (log) => {
      if (mine !== now) return;
      take(now, log);
      draw();
    }, AbortSignal.any([own.signal, signal]));
  };
  return (task, { job, signal }) => {
    if (now && now.task !== task?.index) {
      now.stop();
      now = undefined;
    }
    if (!task) return null;
    if (!now) follow(job, task.index, signal);
    const parts = [now.note && h('p', { key: 'note', class: 'muted', role: 'status' }, now.note), stream(now, 'stdout'), stream(now, 'stderr')].filter(Boolean);
    return parts.length > 0 && h('article', { key: `live${task.index}` }, parts);
  };
}

const fresh = () => ({ note: '', stdout: { text: '', decoder: new TextDecoder() }, stderr: { text: '', decoder: new TextDecoder() } });

// take adds what came to what is shown.
function take(now, log) {
  switch (log.kind) {
    case 'attempt':
      Object.assign(now, fresh());
      break;
    case 'output': {
      const s = now[log.stream];
      s.text += log.text || s.decoder.decode(Uint8Array.from(atob(log.base64 || ''), (c) => c.charCodeAt(0)), { stream: true });
      if (s.text.length > bytesMax) {
        s.text = s.text.slice(-bytesMax);
        s.before = true;
      }
      now.note = '';
      break;
    }
    case 'left_out':
      now[log.stream].before = true;
      break;
    case 'delayed':
      now.note = `The output is delayed: ${log.reason}.`;
      break;
    default:
  }
}

function stream(now, name) {
  const s = now[name];
  return s.text && h('div', { key: name, class: `stream ${name}` },
    h('div', { class: 'stream-head' }, h('span', {}, name), h('span', {}, 'as it comes')),
    s.before && h('p', { class: 'muted small' }, `the last ${bytes(bytesMax)}`),
    h('pre', { tabindex: 0, role: 'log', 'aria-label': `${name} of task ${now.task}, as it comes` }, s.text));
}
