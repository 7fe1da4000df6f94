// From a job's events to what a timeline shows: a row per node, a bar per lease.
import { stretch } from './format.js';

const rowsMax = 16;

// attempts returns rows of bars, with the moment at which they begin. Events before
// the first that is kept are unknown: a lease that has only ended began then.
export function attempts(events, job, name) {
  const rows = new Map();
  const leases = new Map();
  const begin = events[0]?.at || job.created;
  const now = new Date(job.finished || Date.now()).getTime();
  for (const e of events) {
    if (!e.node || !e.epoch) continue;
    const key = `${e.node}/${e.epoch}`;
    let bar = leases.get(key);
    if (!bar) {
      const known = e.kind === 'placed' || e.kind === 'spare';
      bar = { key, from: new Date(known ? e.at : begin).getTime(), to: now, state: 'leased', open: e.count, first: e.first, count: e.count };
      leases.set(key, bar);
      if (!rows.has(e.node)) rows.set(e.node, { name: name(e.node), bars: [] });
      rows.get(e.node).bars.push(bar);
    }
    change(bar, e);
  }
  const list = [...rows.values()].slice(0, rowsMax);
  for (const row of list) {
    for (const bar of row.bars) bar.label = `${stretch(bar.first, bar.first + bar.count)} on ${row.name}: ${[bar.state, bar.cause].filter(Boolean).join(', ')}`;
  }
  list.from = begin;
  return list;
}

// change is what an event means for the lease that it names.
function change(bar, e) {
  const at = new Date(e.at).getTime();
  const less = () => {
    bar.open -= e.count;
    if (bar.open <= 0) bar.to = at;
  };
  switch (e.kind) {
    case 'running':
    case 'returned':
      bar.state = 'running';
      break;
    case 'ended':
      if (bar.state !== 'failed') bar.state = e.state;
      less();
      break;
    case 'requeued':
      bar.state = 'failed';
      bar.cause = e.band ? `${e.cause} for a job of band ${e.band}` : e.cause;
      less();
      break;
    case 'unreachable':
      bar.state = 'unreachable';
      break;
  }
}
