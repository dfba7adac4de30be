// What is looked at: the rows, the stretch of time, the chosen step. Parts of
// the page change it through its methods, and draw themselves anew on `change`.

/** Runs with more rows begin folded around what failed and what was critical. */
const MANY_ROWS = 200;

/** No closer than this many milliseconds for the whole width. */
const CLOSEST = 0.05;

class View extends EventTarget {
  constructor(run) {
    super();
    this.run = run;
    this.query = "";
    this.only = "all";
    this.folded = new Set();
    this.chosen = null;
    this.isOpen = false;
    this.from = 0;
    this.to = run.end;
    if (run.steps.length > MANY_ROWS) this.folded = this.dull(run.tree);
    this.list();
  }

  changed(...what) {
    this.dispatchEvent(new CustomEvent("change", { detail: new Set(what) }));
  }

  // Rows

  get isFiltered() {
    return this.query !== "" || this.only !== "all";
  }

  filter(changes) {
    Object.assign(this, changes);
    this.list();
    this.changed("rows");
  }

  fold(node, folded = !this.folded.has(node.step.id)) {
    if (folded) this.folded.add(node.step.id);
    else this.folded.delete(node.step.id);
    this.list();
    this.changed("rows");
  }

  foldAll(folded) {
    const all = (nodes) =>
      nodes.flatMap((node) => (node.children.length ? [node, ...all(node.children)] : []));
    this.folded = new Set(folded ? all(this.run.tree).map((node) => node.step.id) : []);
    this.list();
    this.changed("rows");
  }

  /** Containers without anything in them that failed or was critical. */
  dull(nodes) {
    const folded = new Set();
    const isWorthASight = (node) => {
      const inside = node.children.map(isWorthASight).some(Boolean);
      if (node.children.length && !inside) folded.add(node.step.id);
      return inside || node.step.outcome === "failed" || node.step.critical;
    };
    nodes.forEach(isWorthASight);
    return folded;
  }

  list() {
    const words = this.query.toLowerCase().split(/\s+/).filter(Boolean);
    const isAsked = {
      all: () => true,
      failed: (step) => step.outcome === "failed" || step.outcome === null,
      critical: (step) => step.critical,
    }[this.only];
    const matches = (step) => isAsked(step) && words.every((word) => this.run.words(step).includes(word));
    this.rows = [];
    this.matching = 0;
    const add = (nodes) => {
      let any = false;
      nodes.forEach((node, index) => {
        const at = this.rows.length;
        const isMatch = matches(node.step);
        const isFolded = !this.isFiltered && this.folded.has(node.step.id);
        const row = { ...node, isMatch, isFolded, place: index + 1, siblings: nodes.length };
        this.rows.push(row);
        const inside = isFolded ? false : add(node.children);
        if (isMatch) this.matching += 1;
        if (isMatch || inside) any = true;
        else this.rows.length = at;
      });
      return any;
    };
    add(this.run.tree);
    this.indexOf = new Map();
    this.rows.forEach(({ step, lane }, index) => {
      this.indexOf.set(step.id, index);
      if (lane) this.indexOf.set(lane.id, index);
    });
  }

  // Time

  /** Looks at `from` to `to`, as far as the run goes. */
  span(from, to) {
    const width = Math.min(Math.max(to - from, CLOSEST), this.run.end);
    this.from = Math.min(Math.max(from, 0), this.run.end - width);
    this.to = this.from + width;
    this.changed("time");
  }

  /** Closer by `factor`, with the moment `at` kept in its place. */
  zoom(factor, at = (this.from + this.to) / 2) {
    this.span(at - (at - this.from) / factor, at + (this.to - at) / factor);
  }

  pan(part) {
    const by = part * (this.to - this.from);
    this.span(this.from + by, this.to + by);
  }

  zoomTo(step) {
    const margin = Math.max(step.took * 0.15, CLOSEST);
    this.span(step.from - margin, step.end + margin);
  }

  get isZoomed() {
    return this.to - this.from < this.run.end * 0.999;
  }

  // The chosen step

  /** The index of its row; -1 without one. */
  get place() {
    return this.indexOf.get(this.chosen?.id) ?? -1;
  }

  choose(step, isOpen = this.isOpen) {
    this.chosen = step;
    this.isOpen = isOpen && step !== null;
    if (step && !this.indexOf.has(step.id)) this.reveal(step);
    this.changed("chosen");
  }

  /** Makes sure that `step` has a row, if it can have one. */
  reveal(step) {
    this.query = "";
    this.only = "all";
    for (const around of this.run.around(step)) this.folded.delete(around.id);
    this.list();
    this.changed("rows");
  }

  close() {
    this.isOpen = false;
    this.changed("chosen");
  }
}
