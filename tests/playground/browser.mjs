// Drives the page of `dev` with Chromium as a user would, and draws the pictures of docs/playground.md: PICTURES=docs. Each line says what was
// checked; ends with 1 when something did not hold. ci.sh installs what this needs; environment: PAGE (the page's URL), CONTROL (the simulator's
// control interface), ASSISTANT (the address of the sample assistant), MANIFEST (the file that `dev` watches), MODULES (a folder with node_modules), SCREENSHOTS (a folder to draw into).
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.MODULES}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const { PAGE, CONTROL, ASSISTANT, MANIFEST, PICTURES, SCREENSHOTS } = process.env;
const SLOW = { timeout: 20_000 };
const LONGEST_MS = 1000;
const said = [];
let failures = 0;

function check(held, what) {
  console.log(`${held ? "ok  " : "FAIL"} ${what}`);
  if (!held) failures += 1;
}

async function holds(what, attempt) {
  try {
    await attempt();
    check(true, what);
  } catch (error) {
    check(false, `${what}: ${String(error).split("\n").slice(0, 3).join(" ")}`);
    if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/failure-${failures}.png` });
  }
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
let page;

async function open(options, path = "") {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.on("console", (message) => said.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => said.push(`error: ${error}`));
  await page.goto(PAGE + path);
  return page;
}

const say = async (text) => {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
};
const bubble = (text, kind = "") => page.locator(`#messages .bubble${kind}`, { hasText: text });
const seen = (locator) => locator.first().waitFor(SLOW);
const condition = (type, word) => seen(page.locator(`[data-condition="${type}"]`, { hasText: word }));
// A link or button that leads to another page: what follows waits until its scripts have run.
const follow = async (selector) => {
  await Promise.all([page.waitForEvent("load"), page.click(selector)]);
};
const flip = async (name, on) => {
  await page.click(`#${name}`);
  await seen(page.locator(`#${name}[aria-checked="${on}"]`));
};

async function conversation() {
  await holds("a connector is shown with conditions as kubectl has them", () => condition("Ready", "MessagesFlow"));
  await holds("a message is shown, and what the bot says to it", async () => {
    await say("Hello there");
    await seen(bubble("Hello there", ".own"));
    await seen(bubble("You said: Hello there", ".bot"));
  });
  await holds("the compose box is empty and has the focus again", async () => {
    await page.waitForFunction(() => document.activeElement.id === "text" && document.activeElement.value === "");
  });
  await holds("a preview grows before a long message", async () => {
    await say("long 900");
    const body = page.locator(".draft .body");
    await body.waitFor(SLOW);
    const first = (await body.innerText()).length;
    await page.waitForFunction((first) => document.querySelector(".draft .body")?.innerText.length > first, first, SLOW);
    await seen(bubble("The quick brown fox", ".bot"));
    await page.locator(".draft").waitFor({ state: "detached", ...SLOW });
  });
  await holds("formatting is shown: bold, code, a list, a quotation, a link", async () => {
    await page.click('button[value="markdown"]');
    for (const tag of ["b", "i", "s", "code", "pre .language", "blockquote", "a[href^='https://example.com']"]) await seen(page.locator(`#messages .body ${tag}`));
  });
  await holds("a rich message is shown: a table with its columns, formulas in boxes, a task", async () => {
    await say("see\n\n| plan | price |\n|---|--:|\n| basic | 5 |\n\nso $x^2$\n\n$$E = mc^2$$\n\n- [x] done");
    const rich = page.locator("#messages .bot .rich");
    await seen(rich.locator("th[data-align=right]", { hasText: "price" }));
    await seen(rich.locator("td[data-align=right]", { hasText: "5" }));
    await seen(rich.locator("p code.formula", { hasText: "x^2" }));
    await seen(rich.locator("div.formula", { hasText: "E = mc^2" }));
    await seen(rich.locator("li", { hasText: "☑" }));
  });
  await holds("text of users is text, not HTML", async () => {
    await say('<img src=x onerror="document.title=1"><b>plain</b>');
    await seen(bubble('<b>plain</b>', ".own"));
  });
  await holds("the session and the assistant's requests are shown as stored", async () => {
    await seen(page.locator("#sessions .row", { hasText: "chat 1001" }));
    await seen(page.locator("#requests .row", { hasText: "Hello there" }));
  });
  await holds("a row that was opened stays open while others come", async () => {
    await page.locator("#requests .row > summary").last().click();
    await say("one more");
    await seen(bubble("You said: one more"));
    await seen(page.locator("#requests .row", { hasText: "one more" }));
    await seen(page.locator("#requests .row[open]", { hasText: "Body as it was sent" }));
  });
  await holds("a reply names what it replies to", async () => {
    await page.locator("#messages .bot .reply").first().focus();
    await Promise.all([page.waitForEvent("load"), page.keyboard.press("Enter")]);
    await seen(page.locator(".replying"));
    await say("a reply");
    await seen(page.locator("#messages .own .quote", { hasText: "You said: Hello there" }));
    await page.locator(".replying").waitFor({ state: "detached" });
  });
}

// The sample assistant says what it is told to say here: an answer with buttons, as a model gives it.
async function buttons() {
  const behave = (behaviour) => fetch(`${ASSISTANT}/control`, { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(behaviour) });
  await holds("buttons stand under the message; a tap is what the user says, and stays visible", async () => {
    await behave({ answer: "Shall I go on?\n```buttons\nYes\nNo\n```", rules: [{ when: "Yes", then: { answer: "Going on." } }] });
    await say("ask me");
    const asked = bubble("Shall I go on?", ".bot");
    await seen(asked.locator(".keyboard button", { hasText: "No" }));
    await asked.locator(".keyboard button", { hasText: "Yes" }).click();
    await seen(bubble("Going on.", ".bot"));
    await seen(bubble("✓ Yes", ".bot"));
    await asked.locator(".keyboard").waitFor({ state: "detached", ...SLOW });
  });
  await behave({});
}

async function users() {
  await holds("a denied user is told so, and the message is among the denied ones", async () => {
    await follow("#user-6600");
    await seen(page.locator("#user-6600[aria-current] .access.denied"));
    await say("let me in");
    await seen(bubble("", ".bot"));
    await seen(page.locator("#denied .row", { hasText: "let me in" }));
  });
  await holds("a new user comes by a click and is denied", async () => {
    await follow("#new-user");
    await seen(page.locator("#user-9001[aria-current] .access.denied"));
    await say("me, too");
    await seen(bubble("", ".bot"));
  });
  await holds("a manifest that is changed makes the user an allowed one, live", async () => {
    const manifest = readFileSync(MANIFEST, "utf8");
    writeFileSync(MANIFEST, manifest.replace("- {id: 1002, note: Bob}", "- {id: 1002, note: Bob}\n    - {id: 9001, note: Dana}"));
    await seen(page.locator("#user-9001 .access.allowed"));
    await say("and now?");
    await seen(bubble("You said: and now?", ".bot"));
  });
}

async function groups() {
  await follow("#user-1001");
  await holds("in a group the bot answers who mentions it", async () => {
    await follow("#new-group");
    await page.click(".examples button");
    await seen(bubble("You said: Ann: hello", ".bot"));
    await seen(page.locator("#messages .bot .sender", { hasText: "Acme support" }));
  });
  await holds("in a topic it answers there, and not in General", async () => {
    await follow("#new-forum");
    await follow("#new-topic");
    await seen(page.locator("#chat-title", { hasText: "Topic 1" }));
    await page.click(".examples button");
    await seen(bubble("You said: Ann: hello", ".bot"));
    await page.locator("#chats .chip", { hasText: "Forum" }).click();
    await seen(page.locator("#chat-title", { hasText: "General" }));
    if ((await page.locator("#messages .bubble").count()) > 0) throw new Error("General has messages");
  });
  await follow("#chat-private");
}

async function faults() {
  await holds("Telegram 429: the status says RateLimited; the message is answered once it is off", async () => {
    await flip("telegram-429", true);
    await say("while busy");
    await condition("Connected", "RateLimited");
    await flip("telegram-429", false);
    await seen(bubble("You said: while busy", ".bot"));
    await condition("Connected", "True");
  });
  await holds("assistant down: the user is told, the status says AssistantUnreachable; both end with it", async () => {
    await flip("assistant-down", true);
    for (const text of ["down one", "down two", "down three"]) {
      const before = await bubble("I cannot answer").count();
      await say(text);
      await page.waitForFunction((before) => [...document.querySelectorAll("#messages .bot")].filter((b) => b.innerText.includes("I cannot answer")).length > before, before, SLOW);
    }
    await condition("AssistantReady", "AssistantUnreachable");
    await flip("assistant-down", false);
    await say("up again");
    await seen(bubble("You said: up again", ".bot"));
    await condition("AssistantReady", "True");
  });
  await holds("token revoked: the status says TokenUnauthorized; what was said waits until it is off", async () => {
    await flip("token-revoked", true);
    await say("while revoked");
    await condition("TokenValid", "TokenUnauthorized");
    await flip("token-revoked", false);
    await condition("TokenValid", "TokenAccepted");
    await seen(bubble("You said: while revoked", ".bot"));
    await condition("Ready", "MessagesFlow");
  });
}

async function conditionsAreLive() {
  await holds("a manifest that is changed changes the conditions on the open page", async () => {
    const manifest = readFileSync(MANIFEST, "utf8");
    writeFileSync(MANIFEST, manifest.replace("suspend: false", "suspend: true"));
    await condition("Ready", "Suspended");
    writeFileSync(MANIFEST, manifest);
    await condition("Ready", "MessagesFlow");
  });
}

async function keyboard() {
  await page.goto(PAGE);
  await holds("by keyboard alone: the skip link, a message, a user, a fault", async () => {
    // From where a page without a focus begins.
    await page.evaluate(() => {
      document.body.tabIndex = -1;
      document.body.focus();
      document.body.removeAttribute("tabindex");
    });
    await page.keyboard.press("Tab");
    const skip = page.locator(".skip:focus");
    await seen(skip);
    const outline = await skip.evaluate((element) => getComputedStyle(element).outlineStyle);
    if (outline === "none") throw new Error("the focus is not visible");
    await page.keyboard.press("Enter");
    await seen(page.locator("#text:focus"));
    await page.keyboard.type("by keyboard");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("two lines");
    await page.keyboard.press("Enter");
    await seen(bubble("by keyboard\ntwo lines", ".own"));
    await tabTo("word-by-word");
    await page.keyboard.press("Space");
    await seen(page.locator('#word-by-word[aria-checked="false"]'));
    await seen(page.locator("#word-by-word:focus"));
    await tabTo("user-1002");
    await page.keyboard.press("Enter");
    await seen(page.locator("#user-1002[aria-current]"));
    await seen(page.locator("#text:focus"));
  });
}

async function tabTo(id) {
  for (let presses = 0; presses < 160; presses += 1) {
    await page.keyboard.press("Shift+Tab");
    if ((await page.evaluate(() => document.activeElement.id)) === id) return;
  }
  throw new Error(`#${id} is not reached by Tab`);
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

// Word by word is off here. A user's message is timed from Enter, the bot's from the moment that the simulator has it.
async function latency() {
  await page.goto(PAGE + "?user=1002");
  const own = [];
  const bots = [];
  for (let round = 0; round < 30; round += 1) {
    const times = await page.evaluate(async (text) => {
      const arrival = (selector, words) =>
        new Promise((resolve) => {
          const look = () => [...document.querySelectorAll(selector)].some((b) => b.innerText.includes(words)) && resolve(Date.now());
          new MutationObserver(look).observe(document.getElementById("messages"), { childList: true, subtree: true, characterData: true });
        });
      const box = document.getElementById("text");
      box.value = text;
      const mine = arrival("#messages .own", text);
      const reply = arrival("#messages .bot", `You said: ${text}`);
      const began = Date.now();
      box.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
      return { own: (await mine) - began, reply: await reply };
    }, `round ${round}.`);
    own.push(times.own);
    const sent = await (await fetch(`${CONTROL}/bots/7000001/sent?chat=1002`)).json();
    bots.push(times.reply - Date.parse(sent.at(-1).at));
  }
  console.log(`     a user's message is on the page after ${median(own)} ms (median), ${Math.max(...own)} ms (longest of ${own.length})`);
  console.log(`     the bot's message is on the page after ${median(bots)} ms (median), ${Math.max(...bots)} ms (longest of ${bots.length})`);
  check(Math.max(...own, ...bots) < LONGEST_MS, `a message is on the page within ${LONGEST_MS} ms of being said`);
}

async function accessible(scheme, path, width) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run());
  const grave = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  const found = grave.map(({ id, nodes }) => `${id} (${nodes.slice(0, 3).map((n) => n.target.join(" ")).join(", ")})`);
  check(grave.length === 0, `axe finds nothing serious: ${scheme}, ${width} px, ${path} ${found.join("; ")}`);
}

async function widths() {
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 390]) {
      for (const part of width === 390 ? ["#chat", "#cluster", "#store"] : ["#chat"]) {
        await page.context().close();
        await open({ viewport: { width, height: 860 }, colorScheme }, `?user=1001${part}`);
        await seen(page.locator(part === "#chat" ? "#text" : part));
        const [scroll, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        check(scroll <= inner, `nothing is wider than ${width} px: ${colorScheme}, ${part}`);
        await accessible(colorScheme, part, width);
        if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/${colorScheme}-${width}-${part.slice(1)}.png` });
      }
    }
  }
}

async function pictures() {
  await condition("Ready", "MessagesFlow");
  await follow("#user-6600");
  await say("Hi! Can I try it, too?");
  await seen(bubble("", ".bot"));
  await follow("#user-1001");
  await say("Where do I find the holiday calendar?");
  await seen(bubble("You said: Where", ".bot"));
  await page.click('button[value="markdown"]');
  await seen(page.locator("#messages .body pre"));
  await say("long 700");
  await page.waitForFunction(() => document.querySelector(".draft .body")?.innerText.length > 120, null, SLOW);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: `${PICTURES}/playground-${colorScheme}.png`, animations: "disabled" });
  }
}

await open({ colorScheme: "light" });
if (PICTURES) {
  await pictures();
} else {
  await conversation();
  await buttons();
  await users();
  await groups();
  await faults();
  await conditionsAreLive();
  await keyboard();
  await latency();
  await widths();
}
const loud = said.filter((line) => /^(error|warning)/.test(line));
check(loud.length === 0, `no error and no warning in the console ${loud.slice(0, 5).join(" | ")}`);
await browser.close();
process.exit(failures === 0 ? 0 : 1);
