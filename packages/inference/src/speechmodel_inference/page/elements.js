// Making elements.

/** Return a new element with properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Return a new SVG element with attributes and children. */
export function drawing(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Return the nodes that show an intent behind a phrase: none without an intent. */
export const intentTag = (name) => (name ? [" ", make("span", { className: "intent", textContent: name })] : []);

export const byId = (id) => document.getElementById(id);

/** Return the class that colours a probability. */
export const sureness = (confidence) => (confidence >= 0.8 ? "sure" : confidence >= 0.5 ? "fair" : "unsure");

/** Return a bar that is filled in part. The share must also be there as text. */
export function bar(share) {
  const fill = make("span");
  fill.style.width = `${100 * Math.max(0, Math.min(1, share))}%`;
  return make("span", { className: `bar ${sureness(share)}`, ariaHidden: "true" }, fill);
}
