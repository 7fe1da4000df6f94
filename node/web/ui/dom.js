// Makes elements from data. Whatever comes from the grid reaches the page as text:
// there is no way here from a string to markup.

const svgNames = new Set(['svg', 'g', 'path', 'rect', 'line', 'circle', 'text', 'title', 'polyline']);
const handlers = ['onclick', 'oninput', 'onchange', 'onsubmit', 'onkeydown', 'ondragover', 'ondragleave', 'ondrop'];
const spoken = new Set(['title', 'aria-label', 'alt', 'placeholder']);

// plain spells out what would act on a terminal, turn the direction of writing round,
// or not be seen.
export function plain(text) {
  return String(text)
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]|\r(?!\n)/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)
    .replace(/[\p{Cf}\p{Zl}\p{Zp}]/gu, (c) => `‹${c.codePointAt(0).toString(16).padStart(4, '0')}›`);
}

// h makes an element. Props are attributes, handlers (on…), class, style (an object
// of CSS properties), key (who it is among its siblings) and live (see component).
// Children are nodes, texts, lists of them, or nothing.
export function h(tag, props, ...children) {
  const el = svgNames.has(tag) ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (handlers.includes(name)) el[name] = value;
    else if (name === 'style') for (const [p, v] of Object.entries(value)) el.style.setProperty(p, v);
    else if (name === 'key') el.key = value;
    else el.setAttribute(name, spoken.has(name) ? plain(value) : value === true ? '' : value);
  }
  append(el, children);
  return el;
}

function append(el, children) {
  for (const child of children) {
    if (child === undefined || child === null || child === false) continue;
    if (Array.isArray(child)) append(el, child);
    else el.append(child instanceof Node ? child : document.createTextNode(plain(child)));
  }
}

// component is an element that looks after its own content: mount gets it once, when
// it is on the page, and returns what is called with the data of each rendering.
export function component(name, mount, data) {
  const el = h('div', { key: name, 'data-live': name });
  el.mount = mount;
  el.data = data;
  return el;
}

// render makes what a container shows the same as what was made anew, and leaves
// alone what is the same already: focus, selection and scrolling stay.
export function render(container, node) {
  if (container.childNodes.length === 1) morph(container.firstChild, node);
  else container.replaceChildren(node);
  for (const el of container.querySelectorAll('[data-live]')) {
    if (!el.update) el.update = el.mount(el);
    if (el.fresh !== el.data) el.update(el.fresh = el.data);
  }
}

function alike(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.key === b.key;
}

function morph(old, now) {
  if (!alike(old, now)) {
    old.replaceWith(now);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== now.data) old.data = now.data;
    return;
  }
  if (old.mount) {
    old.data = now.data;
    return;
  }
  attributes(old, now);
  for (const name of handlers) if (old[name] !== now[name]) old[name] = now[name];
  morphChildren(old, now);
}

function attributes(old, now) {
  // What a person has opened stays open. A style may be set through its object only.
  const own = (name) => name === 'style' || (name === 'open' && old.nodeName === 'DETAILS');
  for (const { name } of [...old.attributes]) if (!now.hasAttribute(name) && !own(name)) old.removeAttribute(name);
  for (const { name, value } of now.attributes) if (old.getAttribute(name) !== value && !own(name)) old.setAttribute(name, value);
  if (old.style.cssText !== now.style.cssText) old.style.cssText = now.style.cssText;
}

function morphChildren(old, now) {
  const known = new Map();
  for (const el of old.childNodes) if (el.key !== undefined) known.set(el.key, el);
  let at = old.firstChild;
  for (const child of [...now.childNodes]) {
    const same = child.key !== undefined ? known.get(child.key) : at;
    if (!same || !alike(same, child)) {
      old.insertBefore(child, at);
      continue;
    }
    if (same === at) at = at.nextSibling;
    else old.insertBefore(same, at);
    morph(same, child);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}
