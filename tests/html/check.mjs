// Opens the pages in the folder given, in headless Chromium, and uses them as a
// person would. With SHOTS set to a folder, leaves pictures there.
//
//   node tests/html/check.mjs PAGES        (see main.rs, which makes them)

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const pages = resolve(process.argv[2]);
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
assert(existsSync(executablePath), `no ${executablePath}: apt-get install chromium, or set CHROMIUM`);

let browser;
before(async () => {
  const quiet = ["first-run", "sandbox"].map((name) => `--no-${name}`);
  const off = ["gpu", "quic", "background-networking", "component-update", "sync"].map(
    (name) => `--disable-${name}`,
  );
  browser = await chromium.launch({ executablePath, args: [...quiet, ...off] });
});
after(() => browser?.close());

/** Opens a page, and makes sure that it complains of nothing and asks nobody. */
async function withPage(name, options, use) {
  const { width = 1440, height = 900, hash = "", shot = name, ...rest } = options;
  const context = await browser.newContext({ viewport: { width, height }, ...rest });
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(error.stack));
  page.on("request", (request) => request.isNavigationRequest() || wrong.push(`asked for ${request.url()}`));
  await page.exposeFunction("hostile", () => wrong.push("text was run as a script"));
  await page.goto(pathToFileURL(join(pages, `${name}.html`)).href + hash);
  await use(page);
  if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, `${shot}.png`) });
  await context.close();
  assert.deepEqual(wrong, []);
}

const row = (page, name) => page.getByRole("treeitem", { name });
const details = (page) => page.getByRole("complementary");

/** Waits until what was asked for has been drawn. */
function drawn(page) {
  return page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
}

/** The labels of the axis with their places, which change with any zoom or pan. */
async function axis(page) {
  await drawn(page);
  const places = (ticks) => ticks.map((tick) => `${tick.textContent} at ${tick.style.left}`);
  return page.locator(".tick").evaluateAll(places);
}

for (const width of [1440, 390]) {
  for (const colorScheme of ["light", "dark"]) {
    const options = { width, height: 844, colorScheme, shot: `good-${width}-${colorScheme}` };
    test(`nothing is cut off at ${width} in ${colorScheme}`, () =>
      withPage("good", options, async (page) => {
        await page.getByRole("heading", { level: 1, name: "Set up in" }).waitFor();
        const [wide, colour] = await page.evaluate(() => {
          const root = document.documentElement;
          return [root.scrollWidth, getComputedStyle(root).backgroundColor];
        });
        assert.equal(wide, width);
        assert.equal(colour === "rgb(13, 18, 24)", colorScheme === "dark");
      }));
  }
}

test("a click on a step shows all about it", () =>
  withPage("good", { shot: "details" }, async (page) => {
    await row(page, /long.*sh sleep/).click();
    const text = await details(page).innerText();
    for (const part of [
      "none: on the critical path",
      "recipe.rhai:5:",
      "line 1\nline 2\nline 3",
      "2 side by side",
    ]) {
      assert(text.includes(part), `${part} in ${text}`);
    }
    assert.match(await details(page).locator("mark").innerText(), /^sh\("sleep 0.9/);
    await row(page, /short.*sh echo/).click();
    assert.match(await details(page).innerText(), /later would have delayed nothing/);
    await details(page).getByRole("button", { name: "short" }).click();
    assert.equal(await row(page, /short.*sh echo/).getAttribute("aria-selected"), "true", "they share a row");
    await details(page).getByRole("button", { name: "2 side by side" }).click();
    assert.equal(await row(page, /2 side by side/).getAttribute("aria-selected"), "true");
    await details(page).getByRole("button", { name: "Close" }).click();
    assert(await details(page).isHidden());
  }));

test("keys do all that a mouse does", () =>
  withPage("good", {}, async (page) => {
    const press = async (...keys) => {
      for (const key of keys) await page.keyboard.press(key);
      await drawn(page);
    };
    await page.getByRole("tree").focus();
    await press("ArrowDown", "ArrowDown", "Enter");
    assert.match(await details(page).innerText(), /1 prepare/);
    await press("Escape", "ArrowLeft");
    assert.equal(await row(page, /1 prepare/).getAttribute("aria-expanded"), "false");
    assert.equal(await row(page, /hostile/).count(), 0);
    await press("ArrowRight", "ArrowRight", " ");
    assert.match(await details(page).innerText(), /<script>hostile\(\)<\/script>/);
    await press("Escape", "End");
    const active = await page.getByRole("tree").getAttribute("aria-activedescendant");
    assert.equal(active, await page.getByRole("treeitem").last().getAttribute("id"));
  }));

test("the axis can be zoomed, and fits again", () =>
  withPage("good", {}, async (page) => {
    const whole = await axis(page);
    await page.keyboard.press("+");
    assert.notDeepEqual(await axis(page), whole);
    await page.getByRole("button", { name: "Fit" }).click();
    assert.deepEqual(await axis(page), whole);
    const { x, y, width } = await page.locator(".axis").boundingBox();
    await page.mouse.move(x + width * 0.5, y + 10);
    await page.mouse.down();
    await page.mouse.move(x + width * 0.6, y + 10, { steps: 4 });
    await page.mouse.up();
    const stretch = await axis(page);
    assert(!stretch.some((tick) => tick.startsWith("0 ")), `${stretch} is a stretch in the middle`);
    const pan = { x: x + width / 2, y: y + 80 };
    await page.mouse.move(pan.x, pan.y);
    await page.mouse.down();
    await page.mouse.move(pan.x - 60, pan.y, { steps: 4 });
    await page.mouse.up();
    assert.notDeepEqual(await axis(page), stretch);
    assert(await details(page).isHidden(), "a drag is no click");
    await page.keyboard.press("0");
    await page.keyboard.down("Control");
    await page.mouse.wheel(0, -400);
    await page.keyboard.up("Control");
    assert.notDeepEqual(await axis(page), whole);
  }));

test("search and filters leave what was asked for", () =>
  withPage("failed", { colorScheme: "dark" }, async (page) => {
    await page.getByRole("heading", { level: 1, name: "Failed after" }).waitFor();
    assert.match(await page.getByLabel("Error", { exact: true }).first().innerText(), /exit code 3/);
    await page.getByRole("radio", { name: "Failed" }).check();
    await row(page, /patient/).waitFor({ state: "detached" });
    await row(page, /broken/).click();
    assert.match(await details(page).innerText(), /FATAL: <img src=x onerror=hostile\(\)>/);
    await page.getByRole("radio", { name: "All" }).check();
    await page.keyboard.press("/");
    await page.keyboard.type("sleep CANCELLED");
    await row(page, /broken/).waitFor({ state: "detached" });
    assert.match(await row(page, /patient/).innerText(), /sleep 60/);
    assert.equal(await page.locator("output").innerText(), "1 step found");
    await page.keyboard.type(" nowhere");
    await page.getByText("No step matches.").waitFor();
  }));

test("a step's address opens it", () =>
  withPage("good", { hash: "#step-2", width: 390, height: 844, shot: "phone" }, async (page) => {
    await details(page).getByRole("heading", { level: 2 }).waitFor();
    // The page's own view of its address: the driver's lags behind.
    const hash = () => page.evaluate(() => location.hash);
    assert.equal(await hash(), "#step-2");
    await page.keyboard.press("Escape");
    assert.equal(await hash(), "");
  }));

test("of two thousand steps only those in sight are in the document", () =>
  withPage("large", {}, async (page) => {
    await page.getByRole("button", { name: "Unfold all" }).click();
    await page.getByRole("tree").focus();
    await page.keyboard.press("End");
    await row(page, /^.*sh true/)
      .last()
      .waitFor();
    assert((await page.getByRole("treeitem").count()) < 100);
    const last = page.locator("[aria-selected=true]");
    assert.equal(await last.getAttribute("data-index"), "2050");
    assert(await last.isVisible());
    await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
    assert.equal(await page.getByRole("treeitem").count(), 2051, "paper does not scroll");
  }));

test("a run that died says so", () =>
  withPage("died", {}, async (page) => {
    await page.getByRole("heading", { level: 1, name: "Ended without a word" }).waitFor();
    assert((await page.locator(".row.unfinished").count()) > 0);
  }));

test("without scripts there is the text timeline", () =>
  withPage("good", { javaScriptEnabled: false, shot: "text" }, async (page) => {
    assert.match(await page.locator("pre").innerText(), /set up in .*critical path: /s);
  }));
