// The run as recorded, with what the page needs to know of each step.

/** Joins that waited for a smaller part of the set-up are not shown. */
const SHORT_WAIT = 0.01;

class Run {
  constructor(data) {
    Object.assign(this, data);
    this.byId = new Map(this.steps.map((step) => [step.id, step]));
    this.roots = [];
    const critical = new Set(this.path.map(([step]) => step));
    for (const step of this.steps) {
      step.children = [];
      step.end = step.to ?? Math.max(this.setup_ms, step.from);
      step.took = step.end - step.from;
      step.critical = critical.has(step.id);
      const parent = this.byId.get(step.parent);
      (parent ? parent.children : this.roots).push(step);
    }
    for (const step of this.steps) step.leaf = step.kind === "primitive" && step.children.length === 0;
    this.leaves = this.steps.filter((step) => step.leaf);
    /** Where failures began: what they made fail around them is not counted. */
    const hasFailed = (step) => step.outcome === "failed";
    this.failed = this.steps.filter((step) => hasFailed(step) && !step.children.some(hasFailed));
    /** Where the axis ends: `on_exit` may have had steps after the set-up. */
    this.end = this.steps.reduce((end, step) => Math.max(end, step.end), this.setup_ms) || 1;
    this.tree = this.nodes(this.roots, 0);
  }

  /** What gets rows: a branch or task with a single step shares one with it. */
  nodes(steps, depth) {
    const shown = steps.filter((step) => step.kind !== "join" || step.took >= SHORT_WAIT * this.setup_ms);
    return shown.map((step) => {
      const only = step.children.length === 1 ? step.children[0] : null;
      const isLane = step.kind === "branch" || step.kind === "task";
      if (isLane && only?.leaf && only.outcome === step.outcome) {
        return { step: only, lane: step, depth, children: [] };
      }
      return { step, lane: null, depth, children: this.nodes(step.children, depth + 1) };
    });
  }

  /** Whether it says something to compare the run with its steps in a row. */
  get isComparable() {
    return this.outcome === "succeeded" && !this.sequential;
  }

  /** The steps around `step`, outermost first. */
  around(step) {
    const around = [];
    for (let at = this.byId.get(step.parent); at; at = this.byId.get(at.parent)) around.unshift(at);
    return around;
  }

  /** What can be searched for, in lower case; made when first asked for. */
  words(step) {
    const at = step.at ? `${step.at.file}:${step.at.line}` : "";
    const waits = (step.waits ?? []).map(([what]) => what);
    step.words ??= [step.label, step.branch, state(step).word, at, step.error, step.cache?.why, ...waits]
      .join("\n")
      .toLowerCase();
    return step.words;
  }
}
