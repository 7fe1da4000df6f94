// The tenant: which part of the grid it had, what bounds it, and what it has cost.
import { get } from './api.js';
import { columns, meter } from './chart.js';
import { h } from './dom.js';
import { bytes, byteSeconds, count, duration, fuel, plural, short } from './format.js';
import { card, crumbs, link, muted, table, tiles, told } from './parts.js';
import { apart, history } from './share.js';

const daysDrawn = 7;
const daysTold = 30;
const modulesShown = 8;
const tenantsMax = 1000;

export function tenantPage({ parameters: [name = ''], refresh, draw }) {
  const state = { over: 'hour', at: undefined };
  const page = { title: name || 'Tenant', every: 10000 };
  page.load = async (signal) => {
    const { tenants, next } = await get(`/tenants?limit=${tenantsMax}`, signal);
    // Who sees several is an operator: tenants see themselves.
    const total = tenants.length + (next ? 1 : 0);
    const whose = `tenant=${encodeURIComponent(name)}`;
    const [shares, days, modules] = await Promise.all([
      get(`/shares?over=${state.over}&all=${total > 1}&${whose}`, signal), usage('day', whose, signal), usage('module', whose, signal),
    ]);
    const tenant = tenants.find((t) => t.id === shares.tenant) || await get(`/tenants/${encodeURIComponent(shares.tenant)}`, signal);
    return { tenant, shares, days, modules, total };
  };
  page.view = ({ tenant, shares, days, modules, total }) => h('div', {},
    name && crumbs('#/tenant', 'Tenant', name),
    h('h1', {}, 'Tenant ', h('span', { class: 'name' }, tenant.id)),
    tiles(summary(tenant, shares, days.total)),
    history(shares, state, draw, refresh),
    apart(shares, total),
    bounds(tenant),
    days.problem ? card('days', 'What it has cost', h('p', { class: 'muted' }, days.problem)) : cost(days),
    modules.parts?.length > 0 && card('modules', 'By module', byModule(modules)));
  return page;
}

// usage is what a tenant has cost, or why that is not told: a token for some modules
// sees no days.
async function usage(by, whose, signal) {
  try {
    return await get(`/usage?by=${by}&from=${dayBefore(daysTold - 1)}&${whose}`, signal);
  } catch (e) {
    if (e.status === undefined || signal.aborted) throw e;
    return { problem: told(e) };
  }
}

const dayBefore = (n) => new Date(Date.now() - n * 86400e3).toISOString().slice(0, 10);
const dayName = (day) => new Date(`${day}T00:00Z`).toLocaleDateString('en-GB', { weekday: 'short', day: 'numeric', timeZone: 'UTC' }).replace(',', '');

function summary({ quota, held }, { samples }, total) {
  const last = samples.at(-1);
  const share = last?.own ? `${Math.round(100 * last.own.dominant)}\u00a0%` : '–';
  return [
    ['Share of the grid', share, last ? `entitled to ${Math.round(100 * last.entitled)}\u00a0%, weight ${count(quota.weight)}` : `weight ${count(quota.weight)}`],
    ['Waiting', count(held.queued_tasks), `${held.queued_tasks === 1 ? 'task' : 'tasks'} of ${plural(held.jobs, 'job')}`],
    ['Memory', bytes(held.memory_bytes), 'of what runs'],
    total && ['Fuel', fuel(total.fuel), `in ${daysTold} days`],
    total && ['Memory × time', byteSeconds(total.memory_byte_seconds), `in ${daysTold} days`],
  ].filter(Boolean);
}

// bounds shows what a tenant has of what it may have.
function bounds({ quota: q, held }) {
  const rate = (v) => `${fuel(v)}/s`;
  const list = [
    ['Fuel today', held.fuel_today, q.fuel_per_day, fuel], ['Fuel rate', held.fuel_per_second, q.fuel_per_second, rate],
    ['Fuel for ever', held.fuel_used + held.fuel_reserved, q.fuel, fuel], ['Memory', held.memory_bytes, q.memory_bytes, bytes],
    ['Queued tasks', held.queued_tasks, q.queued_tasks, count], ['Jobs', held.jobs, q.jobs, count],
    ['Results kept', held.stored_bytes, q.stored_bytes, bytes], ['Outbound today', held.egress_today, q.egress_per_day, bytes],
  ].filter(([, , most]) => most);
  return card('quota', 'Quota', list.length
    ? h('div', { class: 'meters wide' }, list.map(([name, ...rest]) => h('div', { key: name }, meter(name, ...rest))))
    : muted('Nothing bounds what it may have, but its share beside others.'));
}

// cost shows usage by day: a drawing of the last ones, and all of them as a table.
function cost({ parts, unsigned }) {
  const used = new Map(parts.map((p) => [p.day, p]));
  const last = Array.from({ length: daysDrawn }, (_, i) => dayBefore(daysDrawn - 1 - i));
  const chart = (field, title, write) => card(`by-${field}`, title, columns(last.map((day) => ({ name: dayName(day), value: used.get(day)?.[field] || 0 })), write, title));
  return h('div', { key: 'cost' },
    h('div', { class: 'pair' }, chart('fuel', 'Fuel a day', fuel), chart('memory_byte_seconds', 'Memory × time a day', byteSeconds)),
    card('days', 'By day', parts.length ? byDay(parts) : muted(`Nothing has ended in ${daysTold} days.`),
      unsigned && muted(`Not in it, as no node has signed it: ${fuel(unsigned.fuel)} fuel.`),
      muted('Days in UTC, by receipts that nodes have signed.')));
}

const amounts = ['#Fuel', '#Memory × time', '#Time'];
const amountsOf = (p) => [fuel(p.fuel), byteSeconds(p.memory_byte_seconds), duration(p.wall_seconds)];
const ended = (t) => (t ? (t.succeeded || 0) + (t.failed || 0) + (t.killed || 0) + (t.refused || 0) : 0);

const byDay = (parts) => table('Usage by day', ['Day', ...amounts, '#Tasks ended', '#Outbound'],
  parts.toReversed().map((p) => ({ key: p.day, cells: [dayName(p.day), ...amountsOf(p), count(ended(p.tasks)), bytes(p.egress_bytes)] })), { tall: true });

const moduleName = (m) => (m === 'other' ? 'others' : link(`#/modules/${m}`, short(m)));

const byModule = ({ parts }) => table('Usage by module', ['Module', ...amounts],
  parts.slice(0, modulesShown).map((p) => ({ key: p.module, cells: [moduleName(p.module), ...amountsOf(p)] })));
