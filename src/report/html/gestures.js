// Pointer, wheel and keys on the timeline.

/** A press that moves less than this many pixels is a click. */
const STILL = 4;

function listenToPointers(timeline, view) {
  const { rows, axis, scroller } = timeline;
  const fingers = new Map();
  let press = null;

  const momentAt = (clientX) => {
    const { left, width } = axis.getBoundingClientRect();
    return view.from + (Math.min(Math.max(clientX - left, 0), width) / width) * (view.to - view.from);
  };

  scroller.addEventListener(
    "wheel",
    (event) => {
      // A pinch on a trackpad arrives as a wheel with Ctrl.
      if (event.ctrlKey || event.metaKey) view.zoom(Math.exp(-event.deltaY / 200), momentAt(event.clientX));
      else if (view.isZoomed && Math.abs(event.deltaX) > Math.abs(event.deltaY))
        view.pan(event.deltaX / timeline.width);
      else return;
      event.preventDefault();
    },
    { passive: false },
  );

  rows.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, event.clientX);
    press = { x: event.clientX, from: view.from, to: view.to, moved: fingers.size > 1 };
    press.apart = spread();
  });
  rows.addEventListener("pointermove", (event) => {
    if (!press || !fingers.has(event.pointerId)) return;
    fingers.set(event.pointerId, event.clientX);
    const by = press.x - event.clientX;
    if (fingers.size === 2) pinch();
    else if (press.moved || Math.abs(by) > STILL) {
      press.moved = true;
      const perPixel = (press.to - press.from) / timeline.width;
      if (view.isZoomed) view.span(press.from + by * perPixel, press.to + by * perPixel);
    }
  });
  const release = (event) => {
    fingers.delete(event.pointerId);
    if (fingers.size === 0) setTimeout(() => (press = null));
  };
  addEventListener("pointerup", release);
  addEventListener("pointercancel", release);

  const spread = () => {
    const [a, b] = [...fingers.values()];
    return Math.max(Math.abs(a - b), 8);
  };
  const pinch = () => {
    const [a, b] = [...fingers.values()];
    const factor = spread() / press.apart;
    const at = momentAt((a + b) / 2);
    press.apart = spread();
    view.zoom(factor, at);
  };

  const rowAt = (event) => {
    const row = event.target.closest(".row");
    return row && view.rows[row.dataset.index];
  };
  rows.addEventListener("click", (event) => {
    const row = rowAt(event);
    if (!row || press?.moved) return;
    if (event.target.closest(".fold")) view.fold(row);
    else view.choose(row.step, true);
  });
  rows.addEventListener("dblclick", (event) => {
    const row = rowAt(event);
    if (row && event.target.closest(".track")) view.zoomTo(row.step);
  });

  // A stretch of the axis.
  axis.addEventListener("pointerdown", (event) => {
    const begin = momentAt(event.clientX);
    const brush = el("i", { class: "brush" });
    timeline.lines.append(brush);
    axis.setPointerCapture(event.pointerId);
    const stretch = (to) => [Math.min(begin, to), Math.max(begin, to)];
    const move = ({ clientX }) => {
      const [from, to] = stretch(momentAt(clientX));
      for (const part of Object.entries(timeline.extent(from, to))) brush.style.setProperty(...part);
    };
    const end = ({ clientX }) => {
      axis.removeEventListener("pointermove", move);
      brush.remove();
      if (Math.abs(clientX - event.clientX) > STILL) view.span(...stretch(momentAt(clientX)));
    };
    axis.addEventListener("pointermove", move);
    axis.addEventListener("pointerup", end, { once: true });
  });
  axis.addEventListener("dblclick", () => view.span(0, view.run.end));
}

/** Keys for the whole page; those for rows only while the rows have the focus. */
function listenToKeys(timeline, view, search, details) {
  const pageful = () => Math.max(1, Math.floor(timeline.scroller.clientHeight / timeline.rowHeight) - 3);
  const goTo = (index) => {
    const row = view.rows[Math.min(Math.max(index, 0), view.rows.length - 1)];
    if (row) view.choose(row.step);
  };
  const parent = (index) =>
    view.rows.findLastIndex((row, before) => before < index && row.depth < view.rows[index].depth);
  const inRows = {
    ArrowDown: () => goTo(view.place + 1),
    ArrowUp: () => goTo(view.place < 0 ? 0 : view.place - 1),
    PageDown: () => goTo(view.place + pageful()),
    PageUp: () => goTo(view.place - pageful()),
    Home: () => goTo(0),
    End: () => goTo(view.rows.length - 1),
    ArrowRight() {
      const row = view.rows[view.place];
      if (row?.isFolded) view.fold(row, false);
      else if (row?.children.length) goTo(view.place + 1);
    },
    ArrowLeft() {
      const row = view.rows[view.place];
      if (row?.children.length && !row.isFolded && !view.isFiltered) view.fold(row, true);
      else if (row?.depth > 0) goTo(parent(view.place));
    },
    Enter() {
      if (!view.chosen) goTo(0);
      view.choose(view.chosen, true);
      details.focus();
    },
  };
  inRows[" "] = inRows.Enter;
  const anywhere = {
    "/": () => search.focus(),
    "+": () => view.zoom(1.6),
    "=": () => view.zoom(1.6),
    "-": () => view.zoom(1 / 1.6),
    0: () => view.span(0, view.run.end),
    f: () => view.chosen && view.zoomTo(view.chosen),
    Escape() {
      view.close();
      timeline.rows.focus({ preventScroll: true });
    },
  };
  const shifted = { ArrowLeft: () => view.pan(-0.2), ArrowRight: () => view.pan(0.2) };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isTyping = event.target.matches("input[type=search]");
    if (isTyping && event.key === "ArrowDown") timeline.rows.focus();
    const hasRows = event.target === timeline.rows;
    const act =
      (hasRows && event.shiftKey && shifted[event.key]) ||
      (hasRows && inRows[event.key]) ||
      ((!isTyping || event.key === "Escape") && anywhere[event.key]);
    if (!act) return;
    event.preventDefault();
    act();
  });
}
