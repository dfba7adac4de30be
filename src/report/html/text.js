// Elements and words that every part of the page is made of.

/** An element. Children are elements or text, which never becomes markup. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const part of Object.entries(value)) node.style.setProperty(...part);
    else node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** `<1 ms`, `420 ms`, `1.24 s`, `12.3 s`, `1 m 07 s`, `1 h 05 m`, as on the terminal. */
function duration(ms) {
  const two = (number) => String(number).padStart(2, "0");
  const seconds = Math.round(ms / 1000);
  // The limits are where rounding would reach the next unit.
  if (ms < 0.5) return "<1 ms";
  if (ms < 999.5) return `${ms.toFixed(0)} ms`;
  if (ms < 9_995) return `${(ms / 1000).toFixed(2)} s`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${two(seconds % 60)} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} m`;
}

/** A moment on an axis whose ticks are `step` apart: all of a kind, no false digits. */
function moment(ms, step) {
  if (ms === 0) return "0";
  if (step < 1000 && ms < 1000) return `${+ms.toFixed(step < 1 ? 2 : 0)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(Math.max(0, Math.ceil(3 - Math.log10(step))))} s`;
  const rest = (ms % 60_000) / 1000;
  const digits = step < 1000 ? Math.ceil(3 - Math.log10(step)) : 0;
  return `${Math.floor(ms / 60_000)}:${rest.toFixed(digits).padStart(digits ? digits + 3 : 2, "0")}`;
}

/** `1 step`, `1,980 steps`. */
function plural(number, one) {
  return `${number.toLocaleString("en")} ${one}${number === 1 ? "" : "s"}`;
}

function percent(part) {
  return part < 0.005 ? "<1 %" : `${Math.round(part * 100)} %`;
}

/** How a step stands: a word, and a sign that does not need colour. */
function state(step) {
  if (step.outcome === "succeeded" && step.cache?.hit) return { word: "cached", sign: "↺" };
  const signs = { succeeded: "✓", failed: "✗", cancelled: "⊘", skipped: "–" };
  return step.outcome ? { word: step.outcome, sign: signs[step.outcome] } : { word: "unfinished", sign: "?" };
}

function sign(step) {
  const { word, sign } = state(step);
  return el("span", { class: `sign ${word}`, title: word, role: "img", "aria-label": word }, sign);
}

/** A step's label with its primitive set apart. */
function label(step) {
  const isCall = step.label.startsWith(`${step.primitive} `);
  if (!isCall || step.kind === "phase") return [el("b", {}, step.label)];
  return [el("b", {}, step.primitive), step.label.slice(step.primitive.length)];
}
