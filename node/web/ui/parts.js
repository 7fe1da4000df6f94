// What pages are made of: cards, tables, tiles, facts, choices.
import { h, plain } from './dom.js';

// card is a part of a page with its title; id is that of the title.
export const card = (id, title, ...children) => h('section', { class: 'card', key: id, 'aria-labelledby': id }, h('h2', { id }, title), children);

// table shows rows {key, cells, chosen} below heads: a cell is what h takes, the first
// one names its row. A head that begins with # is of numbers, with ~ of what is left
// out where there is little room; tall says that it may scroll.
export function table(caption, heads, rows, { kind, tall } = {}) {
  const classes = heads.map((head) => ({ '#': 'number', '~': 'wide-only' })[head[0]] || '');
  const title = (head, i) => {
    const text = head.replace(/^[#~]/, '');
    return text ? h('th', { key: i, scope: 'col', class: classes[i] }, text) : h('td', { key: i });
  };
  const row = ({ key, cells, chosen }) => h('tr', { key, class: chosen ? 'chosen' : '' },
    cells.map((cell, i) => h(i ? 'td' : 'th', { key: i, scope: i ? undefined : 'row', class: classes[i] }, cell)));
  return h('div', { class: `scroll ${tall ? 'tall' : ''}`, tabindex: 0, role: 'group', 'aria-label': caption },
    h('table', { class: kind }, h('caption', { class: 'unseen' }, caption), h('thead', {}, h('tr', {}, heads.map(title))), h('tbody', {}, rows.map(row))));
}

// tiles shows numbers that are to be seen from afar: each is [name, number, words].
export const tiles = (list) => h('dl', { class: 'tiles' }, list.map(([name, value, words]) => h('div', { key: name, class: 'tile' },
  h('dt', {}, name), h('dd', {}, h('b', {}, value), h('span', { class: 'muted' }, words)))));

// facts shows what else there is to know: each is [name, …value], or nothing.
// A value that is a list takes the whole width.
export const facts = (list) => h('dl', { class: 'facts' }, list.filter(Boolean).map(([name, ...value]) => h('div',
  { key: name, class: value.some(Array.isArray) ? 'wide' : '' }, h('dt', {}, name), h('dd', {}, value))));

// chips shows words of others one by one; none is that there are none.
export const chips = (words) => (words?.length ? words.map((w) => h('code', { key: w, class: 'chip' }, w)) : 'none');

// choices lets one of a few words be chosen; the empty one is all.
export const choices = (label, words, chosen, choose) => h('div', { class: 'choices', role: 'group', 'aria-label': label },
  words.map((w) => h('button', { key: w, type: 'button', 'aria-pressed': String(w === chosen), onclick: () => choose(w) }, w || 'all')));

// plot is a drawing of shares with its scale.
export const plot = (drawing) => h('div', { class: 'plot' },
  h('div', { class: 'scale', 'aria-hidden': 'true' }, ['100 %', '50 %', '0 %'].map((t) => h('span', { key: t }, t))), drawing);

export const link = (href, text, kind = 'mono') => h('a', { href, class: kind }, text);
export const nodeLink = (id, name) => link(`#/nodes/${encodeURIComponent(id)}`, name, 'name');
export const crumbs = (href, text, rest) => h('p', { class: 'crumbs' }, h('a', { href }, text), ' / ', h('span', { class: 'mono break' }, rest));
export const muted = (...children) => h('p', { class: 'muted' }, children);
export const empty = (...children) => h('p', { class: 'empty' }, children);
export const button = (text, onclick, props) => h('button', { type: 'button', onclick, ...props }, text);

// told is what a problem says, and what would help.
export const told = (problem) => plain([problem.message, problem.help].filter(Boolean).join(': '));
