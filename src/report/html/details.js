// What is known about the chosen step.

/** Lines of the recipe shown above and below the call. */
const CONTEXT = 2;

class Details {
  constructor(run, view) {
    this.run = run;
    this.view = view;
    this.body = el("div", { class: "body" });
    this.panel = el("aside", { class: "details", "aria-label": "Step", hidden: "" }, this.body);
    view.addEventListener("change", ({ detail: what }) => what.has("chosen") && this.draw());
  }

  focus() {
    this.panel.querySelector("h2")?.focus({ preventScroll: true });
  }

  draw() {
    const { chosen: step, isOpen } = this.view;
    this.panel.hidden = !isOpen;
    if (!isOpen) return;
    this.body.replaceChildren(
      el(
        "button",
        { class: "close", "aria-label": "Close", title: "Close (Esc)", onclick: () => this.view.close() },
        "✕",
      ),
      this.breadcrumbs(step),
      el("h2", { tabindex: "-1" }, sign(step), " ", el("span", {}, label(step))),
      this.facts(step),
      ...[this.error(step), this.source(step), this.waits(step), ...this.times(step), this.output(step)].filter(Boolean),
    );
    this.panel.scrollTop = 0;
  }

  link(step, text = step.label) {
    return el("button", { class: "link", onclick: () => this.view.choose(step, true) }, text);
  }

  breadcrumbs(step) {
    const around = this.run.around(step);
    const crumbs = around.flatMap((at) => [this.link(at), el("span", { "aria-hidden": "true" }, "›")]);
    return el("nav", { class: "crumbs", "aria-label": "Part of" }, crumbs.slice(0, -1));
  }

  facts(step) {
    const share = this.run.setup_ms > 0 ? step.took / this.run.setup_ms : 0;
    const [done, total, unit] = step.progress ?? [];
    const task = this.run.byId.get(step.waits_for);
    const facts = [
      ["Outcome", state(step).word],
      ["Took", `${duration(step.took)}, ${percent(share)} of the set-up`],
      ["Began", `${duration(step.from)} into the run`],
      step.critical
        ? ["Slack", el("span", { class: "on-path" }, "none: on the critical path")]
        : step.slack !== null && ["Slack", `${duration(step.slack)} later would have delayed nothing`],
      step.branch && ["Branch", el("code", {}, step.branch)],
      task && ["Waits for", this.link(task)],
      step.cache && [step.cache.hit ? "Cached" : "Not cached", step.cache.why],
      step.progress && [
        "Progress",
        `${done.toLocaleString("en")}${total ? ` of ${total.toLocaleString("en")}` : ""} ${unit}`,
      ],
    ];
    return el(
      "dl",
      { class: "facts" },
      facts.filter(Boolean).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
    );
  }

  error(step) {
    if (!step.error) return null;
    return section("Error", el("pre", { class: "error" }, step.error));
  }

  source(step) {
    if (!step.at) return null;
    const { file, line, column } = step.at;
    const place = el("code", {}, `${file}:${line}:${column}`);
    const text = this.run.sources[file];
    if (!text) return section("In the recipe", place);
    const all = text.split("\n");
    const first = Math.max(0, line - 1 - CONTEXT);
    const lines = all.slice(first, line + CONTEXT).map((content, index) => {
      const isCall = first + index + 1 === line;
      const parts = isCall
        ? [content.slice(0, column - 1), el("mark", {}, content.slice(column - 1) || " ")]
        : [content];
      return el(
        "span",
        { class: isCall ? "line call" : "line", "data-line": first + index + 1 },
        parts,
        "\n",
      );
    });
    return section("In the recipe", place, el("pre", { class: "code", tabindex: "0" }, lines));
  }

  waits(step) {
    if (!step.waits) return null;
    const wait = ([what, from, to]) =>
      el("li", {}, el("span", {}, what), el("span", { class: "number" }, duration(to - from)));
    return section("Waited for", el("ul", { class: "waits" }, step.waits.map(wait)));
  }

  times(step) {
    const part = ({ name, ms, exact, setting }) =>
      el(
        "li",
        {},
        el("span", {}, setting ? `${name} (${setting.name} ${setting.ms / 1000})` : name),
        el("span", { class: "number" }, exact ? duration(ms) : `about ${Math.round(ms / 1000)} s`),
      );
    return (step.times ?? []).map(([what, parts]) =>
      section(`Where the time went: ${what}`, el("ul", { class: "waits" }, parts.map(part))),
    );
  }

  output(step) {
    if (!step.output) return null;
    const cut =
      step.lines > step.output.length
        ? `the last ${step.output.length} of ${plural(step.lines, "line")}`
        : null;
    const text = el("pre", { class: "output", tabindex: "0" }, step.output.join("\n"));
    // What went wrong is said at the end.
    requestAnimationFrame(() => (text.scrollTop = text.scrollHeight));
    return section("Output", cut && el("p", { class: "note" }, cut), text);
  }
}

function section(title, ...content) {
  return el("section", {}, el("h3", {}, title), content);
}
