// Drives a page of a batch in Firefox: firefox.mjs PUPPETEER FIREFOX PAGE PROFILE TABLES; prints what it saw as JSON.
import { pathToFileURL } from "node:url";

const [puppeteerFile, firefox, url, profile, tables] = process.argv.slice(2);
const { default: puppeteer } = await import(pathToFileURL(puppeteerFile));
const wrong = [], seen = {};
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function browse() {
  const browser = await puppeteer.launch({
    browser: "firefox", executablePath: firefox, headless: true, args: ["--profile", profile],
    extraPrefsFirefox: {
      "network.proxy.type": 1, "network.proxy.http": "127.0.0.1", "network.proxy.http_port": 9, "network.proxy.ssl": "127.0.0.1",
      "network.proxy.ssl_port": 9, "browser.download.folderList": 2, "browser.download.dir": tables, "browser.download.useDownloadDir": true,
    },
  });
  const page = await browser.newPage();
  page.on("console", (message) => { if (["error", "warn"].includes(message.type())) wrong.push(message.text()); });
  page.on("pageerror", (error) => wrong.push(error.message));
  await page.goto(url);
  await page.waitForSelector("#app:not([hidden])");
  await wait(500);
  return { browser, page };
}

const press = async (page, keys) => {
  for (const key of keys) {
    await page.keyboard.press(key);
    await page.waitForFunction("!review.isBusy");
    await wait(30);
  }
};
const be = async (page, name) => {
  if (!(await page.$("#reviewer-dialog[open]"))) await page.click("#reviewer");
  await page.evaluate((text) => { $("reviewer-field").value = text; }, name);
  await page.focus("#reviewer-field");
  await page.keyboard.press("Enter");
  await wait(100);
};
const place = (page) => page.$eval("#place", (one) => one.textContent);

let { browser, page } = await browse();
await be(page, "Ana");
await press(page, "ynuyynuyyn");
await press(page, "z");
seen.afterUndo = await place(page);
await page.keyboard.press(" "); // where there is no sound card Firefox decodes, and its clock stands still
await wait(500);
seen.sound = await page.evaluate(() => [soundHere().audio.readyState, Math.round(soundHere().audio.duration)]);
await page.reload();
await wait(500);
seen.afterReload = await place(page);
await press(page, "y");
await wait(1000);
browser.process().kill("SIGKILL");
await wait(500);
({ browser, page } = await browse());
seen.afterKill = await place(page);
seen.picture = await page.$eval("#picture img", (image) => image.naturalWidth);
await press(page, "d");
await be(page, "Bo");
seen.second = await place(page);
await press(page, "n");
await press(page, "g");
seen.tiles = await page.$$eval("#tiles li", (tiles) => tiles.length);
await wait(500);
seen.refusal = await page.evaluate("store.refusal");
await browser.close();
console.log(JSON.stringify({ ...seen, wrong }));
