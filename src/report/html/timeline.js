// The timeline: names on the left, bars on the right, one row a step. Only the
// rows in sight are in the document, so that thousands cost no more than forty.

const OVERSCAN = 8;

class Timeline {
  constructor(run, view) {
    this.run = run;
    this.view = view;
    this.axis = el("div", { class: "axis", title: "drag to zoom in" });
    this.thumb = el("i", { class: "thumb" });
    this.lines = el("div", { class: "lines", "aria-hidden": "true" });
    this.list = el("div", { class: "list", role: "presentation" });
    this.rows = el(
      "div",
      { class: "rows", role: "tree", tabindex: "0", "aria-label": "Steps of the run" },
      this.lines,
      this.list,
    );
    this.head = el(
      "div",
      { class: "head", "aria-hidden": "true" },
      el("span", { class: "corner" }, "Step"),
      this.axis,
      el("span", { class: "took" }, "Took"),
    );
    this.scroller = el("div", { class: "scroller" }, this.head, this.rows);
    this.scroller.addEventListener("scroll", () => this.drawSoon(), { passive: true });
    new ResizeObserver(() => this.drawSoon()).observe(this.scroller);
    // Paper does not scroll.
    addEventListener("beforeprint", () => this.draw({ all: true }));
    addEventListener("afterprint", () => this.draw());
    view.addEventListener("change", ({ detail: what }) => {
      if (what.has("chosen")) this.scrollToChosen();
      else this.drawSoon();
    });
  }

  drawSoon() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      this.draw();
    });
  }

  draw({ all = false } = {}) {
    const { rows } = this.view;
    this.rowHeight = parseFloat(getComputedStyle(this.rows).getPropertyValue("--row"));
    this.width = this.axis.clientWidth;
    this.rows.style.height = `${rows.length * this.rowHeight}px`;
    const top = this.scroller.scrollTop;
    const height = this.scroller.clientHeight;
    const first = all ? 0 : Math.max(0, Math.floor(top / this.rowHeight) - OVERSCAN);
    const last = all
      ? rows.length
      : Math.min(rows.length, Math.ceil((top + height) / this.rowHeight) + OVERSCAN);
    this.drawAxis();
    const drawn = rows.slice(first, last).map((row, offset) => this.row(row, first + offset));
    this.list.replaceChildren(...drawn);
    if (rows.length === 0) this.list.append(el("p", { class: "nothing" }, "No step matches."));
    this.lines.replaceChildren(
      ...this.ticks.map((ms) => el("i", { class: "grid", style: { left: this.x(ms) } })),
      ...this.links(first, last),
    );
    const active = this.view.place;
    if (active >= first && active < last)
      this.rows.setAttribute("aria-activedescendant", `row-${rows[active].step.id}`);
    else this.rows.removeAttribute("aria-activedescendant");
  }

  /** Where a moment is on the axis. */
  x(ms) {
    const { from, to } = this.view;
    return `${(Math.min(Math.max((ms - from) / (to - from), -0.01), 1.01) * 100).toFixed(3)}%`;
  }

  isInSight(from, to) {
    return to >= this.view.from && from <= this.view.to;
  }

  drawAxis() {
    const { from, to } = this.view;
    const room = Math.max(2, Math.floor(this.width / 96));
    const rough = (to - from) / room;
    const ten = 10 ** Math.floor(Math.log10(rough));
    const step = ten * [1, 2, 5, 10].find((factor) => factor * ten >= rough);
    this.ticks = [];
    for (let n = Math.ceil(from / step); n * step <= to; n += 1) this.ticks.push(n * step);
    // Too close to the edge to have its label on the right.
    const isLast = (ms) => ((to - ms) / (to - from)) * this.width < 56;
    const tick = (ms) =>
      el("span", { class: isLast(ms) ? "tick last" : "tick", style: { left: this.x(ms) } }, moment(ms, step));
    const phases = this.run.steps.filter((at) => at.kind === "phase" && this.isInSight(at.from, at.end));
    const phase = (at) =>
      el(
        "span",
        {
          class: "band",
          title: `${at.label} ${duration(at.took)}`,
          style: this.extent(Math.max(at.from, from), at.end),
        },
        at.label,
      );
    this.thumb.style.left = `${(from / this.run.end) * 100}%`;
    this.thumb.style.width = `${((to - from) / this.run.end) * 100}%`;
    this.axis.replaceChildren(
      ...this.ticks.map(tick),
      ...phases.map(phase),
      ...(this.view.isZoomed ? [this.thumb] : []),
    );
  }

  extent(from, to) {
    return { left: this.x(from), width: `calc(${this.x(to)} - ${this.x(from)})` };
  }

  row(row, index) {
    const { step, lane, depth } = row;
    const { word } = state(step);
    const isChosen = index === this.view.place;
    const hasFold = row.children.length > 0 && !this.view.isFiltered;
    const classes = [
      "row",
      step.kind,
      word,
      step.critical && "critical",
      row.children.length > 0 && "holds",
      isChosen && "chosen",
      !row.isMatch && "context",
    ];
    return el(
      "div",
      {
        id: `row-${step.id}`,
        class: classes.filter(Boolean).join(" "),
        role: "treeitem",
        "aria-level": depth + 1,
        "aria-posinset": row.place,
        "aria-setsize": row.siblings,
        "aria-selected": String(isChosen),
        "aria-expanded": hasFold ? String(!row.isFolded) : null,
        "data-index": index,
        style: { top: `${index * this.rowHeight}px` },
      },
      el(
        "div",
        { class: "name", style: { "--depth": depth }, title: step.label },
        el(
          "span",
          { class: hasFold ? "fold" : "nofold", "aria-hidden": "true" },
          hasFold ? (row.isFolded ? "▸" : "▾") : "",
        ),
        sign(step),
        el("span", { class: "label" }, lane && el("span", { class: "lane" }, lane.label), label(step)),
        row.isFolded && el("span", { class: "count" }, String(count(row))),
      ),
      el("div", { class: "track" }, this.bars(step)),
      el("span", { class: "took" }, duration(step.took)),
      step.critical && el("span", { class: "unseen" }, "on the critical path"),
    );
  }

  bars(step) {
    if (!this.isInSight(step.from, step.end)) {
      const isBefore = step.end < this.view.from;
      return el("span", { class: isBefore ? "beyond before" : "beyond after" }, isBefore ? "◂" : "▸");
    }
    const waits = (step.waits ?? []).filter(([, from, to]) => this.isInSight(from, to));
    return [
      el("i", { class: "bar", style: this.extent(step.from, step.end) }),
      waits.map(([, from, to]) => el("i", { class: "wait", style: this.extent(from, to) })),
    ].flat();
  }

  /** Lines from the end of each step of the critical path to the one that it let begin. */
  links(first, last) {
    const middle = (index) => (index + 0.5) * this.rowHeight;
    const stops = this.run.path.filter(([step]) => this.view.indexOf.has(step));
    return stops.slice(1).flatMap(([step, to], before) => {
      const [previous, , from] = stops[before];
      const indices = [this.view.indexOf.get(previous), this.view.indexOf.get(step)];
      const [above, below] = [Math.min(...indices), Math.max(...indices)];
      if (below < first || above > last || !this.isInSight(from, to)) return [];
      const height = middle(below) - middle(above);
      const style = { ...this.extent(from, to), top: `${middle(above)}px`, height: `${height}px` };
      return [el("i", { class: above === indices[0] ? "step-link down" : "step-link up", style })];
    });
  }

  scrollToChosen() {
    const index = this.view.place;
    if (index < 0) return this.drawSoon();
    const top = index * this.rowHeight;
    const room = this.scroller.clientHeight - this.head.offsetHeight - this.rowHeight;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top > this.scroller.scrollTop + room) this.scroller.scrollTop = top - room;
    this.draw();
    this.list.querySelector(".chosen")?.scrollIntoView({ block: "nearest" });
  }
}

function count(node) {
  return node.children.reduce((sum, child) => sum + 1 + count(child), 0);
}
