// What the browser keeps for this page. Some browsers keep nothing; then it is forgotten with the page.

/** Return what `localStorage` or `sessionStorage` keeps under a name, or an empty text. */
export function recall(storage, name) {
  try {
    return window[storage].getItem(name) ?? "";
  } catch {
    return "";
  }
}

/** Keep a text under a name. */
export function keep(storage, name, value) {
  try {
    window[storage].setItem(name, value);
  } catch {
    // the page works without it
  }
}
