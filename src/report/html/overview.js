// What the run was as a whole: the headline, where the time went, and what is
// below the timeline.

/** Steps of the critical path named one by one. */
const MOST_NAMED = 5;

/** Runners-up to the critical path. */
const RUNNERS_UP = 2;

function header(run) {
  const took = duration(run.setup_ms);
  const headline =
    {
      succeeded: `Set up in ${took}`,
      failed: `Failed after ${took}`,
      cancelled: `Cancelled after ${took}`,
    }[run.outcome] ?? `Ended without a word after ${took}`;
  const after = run.up
    ? "the environment was left up"
    : run.teardown_ms > 0 && `torn down in ${duration(run.teardown_ms)}`;
  const notes = [
    run.sequential && "branches one after the other",
    run.outcome === "cancelled" && run.cancelled,
    after,
  ];
  const began = run.began && new Date(run.began);
  return el(
    "header",
    { class: run.outcome ?? "unfinished" },
    el(
      "p",
      { class: "eyebrow" },
      el("span", { class: "brand" }, "recipe"),
      el("span", {}, `run ${run.run_id}`),
      began &&
        el(
          "time",
          { datetime: run.began },
          began.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }),
        ),
    ),
    el("h1", {}, sign(run), el("span", {}, headline)),
    el(
      "p",
      { class: "what" },
      el("code", {}, run.recipe),
      ` on ${[run.target, ...notes.filter(Boolean)].join(", ")}`,
    ),
    run.tested &&
      el(
        "p",
        { class: `tests ${run.tested.outcome ?? "unfinished"}` },
        sign(run.tested),
        el("span", {}, ` Tests: ${run.tested.told} `),
        el("code", {}, run.tested.command),
      ),
    run.error &&
      el(
        "pre",
        { class: "error", tabindex: "0", "aria-label": "Error" },
        run.error.replace(/^\n+|\s+$/g, ""),
      ),
  );
}

function figures(run) {
  const ratio = run.sequential_ms / run.setup_ms;
  const cached = run.leaves.filter((step) => step.cache?.hit).length;
  const figure = (name, value, note) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, value, note && el("small", {}, note)));
  return el(
    "dl",
    { class: "figures" },
    figure("Set-up", duration(run.setup_ms)),
    run.isComparable && figure("One after the other", duration(run.sequential_ms)),
    run.isComparable && figure("Speed-up", `${ratio.toFixed(1)} ×`),
    run.tested && figure("Tests", run.tested.ms === null ? "–" : duration(run.tested.ms), run.tested.told),
    run.teardown_ms > 0 && figure("Teardown", duration(run.teardown_ms)),
    figure(
      "Steps",
      run.leaves.length.toLocaleString("en"),
      [run.failed.length && `${run.failed.length} failed`, cached && `${cached} cached`]
        .filter(Boolean)
        .join(", "),
    ),
  );
}

/** Two bars: all the work in a row, and the path that it was done in. */
function comparison(run, view) {
  const parts = run.path.map(([id, from, to]) => ({ step: run.byId.get(id), took: to - from }));
  const longest = Math.max(run.isComparable ? run.sequential_ms : 0, run.setup_ms) || 1;
  const width = (ms) => ({ width: `${(ms / longest) * 100}%` });
  // Too thin to see: drawn as one with its thin neighbours.
  const pieces = [];
  for (const { step, took } of parts) {
    const [onPath, between] = step ? [took, 0] : [0, took];
    const isThin = took < longest / 250;
    const last = pieces.at(-1);
    if (isThin && last?.isThin)
      Object.assign(last, { onPath: last.onPath + onPath, between: last.between + between });
    else pieces.push({ step, isThin, onPath, between });
  }
  const piece = ({ step, isThin, onPath, between }) => {
    const style = width(onPath + between);
    if (isThin || !step) return el("i", { class: onPath > between ? "piece path" : "piece script", style });
    const says = `${step.label} ${duration(onPath)}`;
    const open = () => view.choose(step, true);
    return el(
      "button",
      { class: `piece path ${state(step).word}`, style, title: says, "aria-label": says, onclick: open },
      onPath > longest / 12 && step.primitive,
    );
  };
  const pathMs = parts.reduce((sum, { step, took }) => (step ? sum + took : sum), 0);
  const beside = Math.max(0, run.sequential_ms - pathMs);
  const line = (name, ms, pieces) =>
    el(
      "div",
      { class: "line" },
      el("span", { class: "who" }, name),
      el("div", { class: "pieces" }, pieces),
      el("span", { class: "number" }, duration(ms)),
    );
  return el(
    "section",
    { class: "card comparison", "aria-label": "Where the time went" },
    el("h2", {}, "Where the time went"),
    figures(run),
    run.isComparable &&
      line("One after the other", run.sequential_ms, [
        el("i", { class: "piece path", style: width(pathMs) }),
        el("i", { class: "piece beside", style: width(beside) }),
      ]),
    line(run.isComparable ? "As it ran" : "The run", run.setup_ms, pieces.map(piece)),
    el(
      "p",
      { class: "legend" },
      el("span", { class: "path" }, "critical path"),
      run.isComparable && el("span", { class: "beside" }, "done alongside"),
      el("span", { class: "script" }, "between steps"),
    ),
  );
}

function criticalPath(run, view) {
  const parts = run.path
    .filter(([id]) => id !== null)
    .map(([id, from, to]) => ({ step: run.byId.get(id), took: to - from }));
  const total = run.setup_ms || 1;
  const named = new Set([...parts].sort((a, b) => b.took - a.took).slice(0, MOST_NAMED));
  const others = parts.filter((part) => !named.has(part));
  const sum = (list) => list.reduce((all, { took }) => all + took, 0);
  const item = ({ step, took }, note) =>
    el(
      "li",
      {},
      el(
        "button",
        { onclick: () => view.choose(step, true), style: { "--share": took / total } },
        el(
          "span",
          { class: "label" },
          step.branch && el("span", { class: "lane" }, step.branch),
          label(step),
        ),
        el("span", { class: "number" }, note ?? percent(took / total)),
        el("span", { class: "number" }, duration(took)),
      ),
    );
  const beside = run.leaves
    .filter((step) => !step.critical && step.outcome === "succeeded" && step.took > 0.01 * total)
    .sort((a, b) => a.slack - b.slack)
    .slice(0, RUNNERS_UP)
    .map((step) => item({ step, took: step.took }, `${duration(step.slack)} slack`));
  const rest = [
    others.length && `${plural(others.length, "shorter step")} ${duration(sum(others))}`,
    `script ${duration(total - sum(parts))}`,
  ];
  return el(
    "section",
    { class: "card critical-path", "aria-label": "Critical path" },
    el("h2", {}, "Critical path"),
    el(
      "ol",
      {},
      parts.filter((part) => named.has(part)).map((part) => item(part)),
    ),
    el("p", { class: "note" }, rest.filter(Boolean).join(", ")),
    beside.length > 0 && [el("h3", {}, "Nearest to it"), el("ol", { class: "beside" }, beside)],
    whatIf(run),
  );
}

/** How long the set-up would have taken under conditions that can be met. */
function whatIf(run) {
  if (run.what_if.length === 0) return null;
  const line = ([condition, ms]) =>
    el("li", {}, el("span", {}, condition), el("span", { class: "number" }, duration(ms)));
  return [el("h3", {}, "What it could take"), el("ul", { class: "what-if" }, run.what_if.map(line))];
}

/** How busy the machine was: two areas over the time of the run. */
function machine(run) {
  if (run.machine.length < 2) return null;
  const moments = run.machine.map(([ms]) => ms);
  const [first, last] = [moments[0], moments.at(-1)];
  const memory = run.machine.map(([, , bytes]) => bytes);
  const [least, most] = [Math.min(...memory), Math.max(...memory)];
  const area = (name, share) => {
    const corner = (at) => `${((at[0] - first) / (last - first)) * 100}% ${100 - 100 * share(at)}%`;
    const corners = ["0% 100%", ...run.machine.map(corner), "100% 100%"];
    return el("i", { class: name, style: { "clip-path": `polygon(${corners.join(", ")})` } });
  };
  return el(
    "section",
    { class: "card machine", "aria-label": "Machine" },
    el("h2", {}, "Machine"),
    el(
      "div",
      { class: "areas", role: "img", "aria-label": run.used ?? "" },
      area("memory", ([, , bytes]) => (bytes - least) / (most - least || 1)),
      area("cpu", ([, cpu]) => cpu),
    ),
    el(
      "p",
      { class: "legend" },
      el("span", { class: "cpu" }, "processors"),
      el("span", { class: "memory" }, "memory beyond what was in use before"),
    ),
    run.used && el("p", { class: "note" }, run.used),
  );
}

function outputs(run) {
  const entries = Object.entries(run.outputs);
  if (entries.length === 0) return null;
  const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  return el(
    "section",
    { class: "card", "aria-label": "Outputs" },
    el("h2", {}, "Outputs"),
    el(
      "dl",
      { class: "facts" },
      entries.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, el("code", {}, text(value)))]),
    ),
  );
}

function messages(run) {
  if (run.messages.length === 0) return null;
  const line = ({ ms, level, branch, text }) =>
    el(
      "li",
      { class: level },
      el("span", { class: "number" }, duration(ms)),
      el(
        "span",
        {},
        branch && el("span", { class: "lane" }, branch),
        level === "warning" && el("b", {}, "warning: "),
        text,
      ),
    );
  return el(
    "section",
    { class: "card", "aria-label": "Messages" },
    el("h2", {}, "Messages"),
    el("ul", { class: "messages" }, run.messages.map(line)),
  );
}

/** A recipe's text, with the time that the calls on each line took. */
function recipeText(run, view, file, text) {
  const calls = Map.groupBy(
    run.leaves.filter((step) => step.at?.file === file),
    (step) => step.at.line,
  );
  const took = (steps) => steps.reduce((sum, step) => sum + step.took, 0);
  const most = Math.max(...[...calls.values()].map(took), 1);
  const lines = text
    .replace(/\n$/, "")
    .split("\n")
    .map((content, index) => {
      const steps = calls.get(index + 1);
      const time = steps
        ? el(
            "button",
            {
              class: steps.some((step) => step.critical) ? "time critical" : "time",
              style: { "--share": took(steps) / most },
              title: plural(steps.length, "call"),
              onclick: () => view.choose(steps[0], true),
            },
            duration(took(steps)),
          )
        : el("span", { class: "time" });
      return el("div", { class: "line", "data-line": index + 1 }, time, el("code", {}, content || " "));
    });
  return el(
    "details",
    { class: "card recipe", open: file === run.recipe ? "" : null },
    el("summary", {}, el("h2", {}, el("code", {}, file))),
    el("div", { class: "code" }, lines),
  );
}
