// Whose page this is: begins a session with the code in the address, says who is logged
// in, and what to do when nobody is.
import { get, post, remove } from './api.js';
import { h } from './dom.js';
import { button, card } from './parts.js';

export const mark = '#session=';

// begin exchanges the code in the address, which it removes first, for a session; it
// returns what went wrong.
export async function begin() {
  if (!location.hash.startsWith(mark)) return null;
  const code = location.hash.slice(mark.length);
  history.replaceState(null, '', '#/');
  try {
    await post('/sessions/begin', JSON.stringify({ code }));
  } catch (wrong) {
    return wrong;
  }
  return null;
}

// tell shows in el who is logged in, with a way out.
export async function tell(el) {
  let who;
  try {
    who = await get('/sessions/current');
  } catch {
    who = undefined; // The page says what is wrong.
  }
  el.hidden = !who?.browser;
  if (el.hidden) return;
  const until = new Date(who.until).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  el.replaceChildren(
    h('span', { class: 'name', title: `${who.operator ? 'The operator of this node' : `May ${who.command}`}, until ${until}` }, who.operator ? 'operator' : who.tenant),
    button('Log out', leave));
}

async function leave() {
  try {
    await remove('/sessions/current');
  } finally {
    location.reload();
  }
}

// locked is shown instead of a page to somebody who is not let in, and why.
export function locked(problem) {
  return h('div', { key: 'locked' },
    h('h1', {}, 'Log in'),
    h('p', { role: 'status' }, problem.code === 'unauthorized' ? 'This node shows itself to those who have a token.' : problem.message),
    card('how', 'How to be let in',
      h('p', {}, 'On a machine that has your token, type'),
      h('pre', { class: 'command', tabindex: 0 }, `dugnad web --api ${location.origin}`),
      h('p', {}, 'and open the address that it prints, within a minute. The token stays where it is: this browser gets a session, which ends after 12 hours, when the token is over or revoked, or when you log out.'),
      h('p', { class: 'muted' }, 'Whoever operates this node types ', h('code', {}, 'dugnad web'), ' on its machine.'),
      h('div', { class: 'buttons' }, button('Try again', () => location.reload()))));
}
