// Speaks to the node: JSON, problems, and a job's events as they come.

// Problem is an answer that is none: what is wrong, and what would help.
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `the node answered ${status}`);
    this.status = status;
    this.code = body.code;
    this.help = body.help || '';
    this.mistakes = body.errors || [];
  }
}

// ours says that a page of this node asks: a page of another origin cannot.
const ours = { 'Dugnad-Web': '1' };

async function ask(path, options) {
  const r = await fetch(path, { credentials: 'same-origin', ...options, headers: { ...options.headers, ...ours } });
  if (r.ok) return r;
  let body = {};
  try {
    body = await r.json();
  } catch {
    // Whoever answered is no node: the status says all there is.
  }
  throw new Problem(r.status, body);
}

// get, post and remove do with a path below /v1 what their names say.
export async function get(path, signal) {
  return (await ask('/v1' + path, { signal })).json();
}

export async function post(path, body, type = 'application/json') {
  const r = await ask('/v1' + path, { method: 'POST', body, headers: body === undefined ? {} : { 'Content-Type': type } });
  return r.json();
}

export async function remove(path) {
  await ask('/v1' + path, { method: 'DELETE' });
}

// beginning returns the first bytes of an output as text, and whether there are more.
export async function beginning(path, bytesMax) {
  const r = await ask('/v1' + path, {});
  const reader = r.body.getReader();
  const parts = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.length;
    if (size > bytesMax) {
      await reader.cancel();
      break;
    }
  }
  const all = new Uint8Array(await new Blob(parts).arrayBuffer());
  return { text: new TextDecoder().decode(all.subarray(0, bytesMax)), more: size > bytesMax };
}

// held opens a stream, and again where address says by then, until hear, which gets its
// messages, returns true. It returns what ends that. While nobody looks at the page it
// holds no connection: a browser has few to one host.
function held(address, hear) {
  let source;
  const open = () => {
    source = new EventSource(address());
    source.onmessage = (message) => {
      if (hear(JSON.parse(message.data), message.lastEventId)) stop();
    };
  };
  const turn = () => {
    source.close();
    if (!document.hidden) open();
  };
  const stop = () => {
    document.removeEventListener('visibilitychange', turn);
    source.close();
  };
  document.addEventListener('visibilitychange', turn);
  open();
  return stop;
}

// events calls visit with each event of a job, in order and once, and returns what
// ends that.
export function events(id, visit) {
  let next = 1;
  return held(() => `/v1/jobs/${id}/events?from=${next}`, (e) => {
    if (e.number < next) return false;
    next = e.number + 1;
    visit(e);
    return e.kind === 'finished';
  });
}

// logs calls visit with what a task puts out, from the last bytes on as it comes, until
// it has ended or signal says so.
export function logs(job, task, bytesMax, visit, signal) {
  let after = '';
  const stop = held(() => `/v1/jobs/${job}/tasks/${task}/logs?tail=${bytesMax}&after=${after}`, (log, id) => {
    after = id;
    visit(log);
    return log.kind === 'ended';
  });
  signal.addEventListener('abort', stop, { once: true });
}

const pageMax = 1000;
const pagesMax = 8;

// newest returns the jobs that were submitted last, the latest first, and whether
// there are more.
export async function newest(want, state, signal) {
  const jobs = [];
  let after = '';
  for (let pages = 0; pages < pagesMax && jobs.length < want; pages++) {
    const page = await get(`/jobs?newest=true&limit=${Math.min(pageMax, want - jobs.length)}&state=${state}&after=${after}`, signal);
    jobs.push(...page.jobs);
    after = page.next || '';
    if (!after) break;
  }
  jobs.sort((a, b) => (a.created < b.created ? 1 : a.created > b.created ? -1 : a.id < b.id ? 1 : -1));
  return { jobs, more: Boolean(after) };
}

// nodes returns all nodes of the grid.
export async function nodes(signal) {
  const list = [];
  let after = '';
  do {
    const page = await get(`/nodes?limit=${pageMax}&after=${encodeURIComponent(after)}`, signal);
    list.push(...page.nodes);
    after = page.next;
  } while (after);
  return list;
}
