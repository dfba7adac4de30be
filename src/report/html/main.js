// Puts the page together.

function toolbar(run, view) {
  const search = el("input", {
    type: "search",
    placeholder: "Search",
    "aria-label": "Search steps",
    autocomplete: "off",
    spellcheck: "false",
    title: "Search names, branches, errors, places (/)",
  });
  search.addEventListener("input", () => view.filter({ query: search.value }));
  const choice = (only, text, number) => {
    const input = el("input", {
      type: "radio",
      name: "only",
      value: only,
      checked: only === "all" ? "" : null,
      onchange: () => view.filter({ only }),
    });
    return el(
      "label",
      { class: only },
      input,
      el("span", {}, text, number !== undefined && el("small", {}, ` ${number}`)),
    );
  };
  const choices = el(
    "div",
    { class: "choices", role: "radiogroup", "aria-label": "Show" },
    choice("all", "All"),
    choice("failed", "Failed", run.failed.length),
    choice("critical", "Critical path"),
  );
  const button = (text, name, onclick) => el("button", { "aria-label": name, title: name, onclick }, text);
  const found = el("output", { class: "found", "aria-live": "polite" });
  const tell = () => (found.textContent = view.isFiltered ? `${plural(view.matching, "step")} found` : "");
  view.addEventListener("change", ({ detail: what }) => {
    if (!what.has("rows")) return;
    tell();
    if (search.value !== view.query) search.value = view.query;
    choices.querySelector(`[value=${view.only}]`).checked = true;
  });
  const bar = el(
    "div",
    { class: "tools" },
    el("h2", {}, "Timeline"),
    search,
    choices,
    found,
    el(
      "div",
      { class: "buttons" },
      button("Fold", "Fold all", () => view.foldAll(true)),
      button("Unfold", "Unfold all", () => view.foldAll(false)),
      button("−", "− Zoom out", () => view.zoom(1 / 1.6)),
      button("+", "+ Zoom in", () => view.zoom(1.6)),
      button("Fit", "Fit the whole run (0)", () => view.span(0, run.end)),
    ),
  );
  return { bar, search };
}

function build(run) {
  const view = new View(run);
  // Before the timeline, which scrolls to what the panel leaves free.
  const details = new Details(run, view);
  const timeline = new Timeline(run, view);
  const { bar, search } = toolbar(run, view);
  const keys = el(
    "p",
    { class: "keys" },
    [
      ["↑ ↓ ← →", "move and fold"],
      ["Enter", "details"],
      ["/", "search"],
      ["+ − 0", "zoom"],
      ["Shift ← →", "pan"],
      ["f", "zoom to step"],
    ].flatMap(([key, what]) => [el("kbd", {}, key), ` ${what} `]),
  );
  const legend = el(
    "p",
    { class: "legend" },
    ["path", "beside", "failed", "cached", "waiting"].map((name) =>
      el("span", { class: name }, { path: "critical path", beside: "had slack" }[name] ?? name),
    ),
  );
  document.body.append(
    el(
      "main",
      {},
      header(run),
      el("div", { class: "summary" }, comparison(run, view), criticalPath(run, view)),
      el(
        "div",
        { class: "work" },
        el(
          "section",
          { class: "card timeline", "aria-label": "Timeline" },
          bar,
          timeline.scroller,
          el("div", { class: "foot" }, legend, keys),
        ),
        details.panel,
      ),
      machine(run),
      el("div", { class: "cards" }, outputs(run), messages(run)),
      Object.entries(run.sources).map(([file, text]) => recipeText(run, view, file, text)),
    ),
  );
  listenToPointers(timeline, view);
  listenToKeys(timeline, view, search, details);
  timeline.draw();
  rememberChosen(run, view);
}

/** The chosen step is in the address, so that it can be sent to others. */
function rememberChosen(run, view) {
  const fromAddress = () => {
    const step = run.byId.get(Number(location.hash.replace("#step-", "")));
    if (step) view.choose(step, true);
  };
  view.addEventListener("change", ({ detail: what }) => {
    if (what.has("chosen"))
      history.replaceState(
        null,
        "",
        view.isOpen ? `#step-${view.chosen.id}` : location.pathname + location.search,
      );
  });
  addEventListener("hashchange", fromAddress);
  fromAddress();
}

build(new Run(JSON.parse(document.getElementById("run").textContent)));
document.getElementById("plain").remove();
