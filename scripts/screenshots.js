'use strict';

// npm run screenshots: makes the README's pictures, docs/images/demo-*.webp, from the demo's own page.

const fs = require('node:fs');
const path = require('node:path');
const { findChromium, installChromium, launchChromium } = require('./chromium.js');
const { startDemo } = require('./demo-process.js');
const { setUp } = require('./setup.js');

const FOLDER = path.join(__dirname, '..', 'docs', 'images');
const VIEWPORT = { width: 1120, height: 800 };
const COLOR_SCHEMES = ['light', 'dark'];
const MAX_BYTES = 300_000;
/** The buttons to press, each with what shows that its work is done. */
const STEPS = [
  ['#add', '#cart [data-store=native] .verdict[data-outcome]'],
  ['#log-out', '#logout [data-store=native] .verdict[data-outcome]'],
  ['#recover', '#requests [data-outcome=good]'],
  ['#expire', '#requests [data-outcome=bad]'],
  ['#measure', '#progress[data-outcome]'],
  ['#sign-in', '#device-list li:nth-child(2)'],
  ['#sign-in', '#device-list li:nth-child(3)'],
];

async function main() {
  await setUp();
  const demo = await startDemo();
  const browser = await launchChromium(findChromium() ?? installChromium());
  try {
    const context = await browser.newContext({ viewport: VIEWPORT });
    const page = await context.newPage();
    await page.goto(demo.url);
    for (const [button, done] of STEPS) {
      await page.locator(`${button}:enabled`).click();
      await page.locator(done).waitFor();
    }
    await page.locator('#add:enabled').waitFor(); // every step is over
    await page.locator('h1').click(); // takes the focus and the pointer off the last button

    fs.mkdirSync(FOLDER, { recursive: true });
    const devTools = await context.newCDPSession(page);
    let bytes = 0;
    for (const colorScheme of COLOR_SCHEMES) {
      await page.emulateMedia({ colorScheme });
      // WebP, which Playwright's own method cannot write, is half as large as PNG.
      const { data } = await devTools.send('Page.captureScreenshot', {
        format: 'webp',
        quality: 75,
        captureBeyondViewport: true,
        clip: { ...(await page.locator('main').boundingBox()), scale: 1 },
      });
      const picture = Buffer.from(data, 'base64');
      fs.writeFileSync(path.join(FOLDER, `demo-${colorScheme}.webp`), picture);
      bytes += picture.length;
    }
    console.log(`The pictures are in ${FOLDER}; together ${bytes} bytes.`);
    if (bytes > MAX_BYTES) throw new Error(`They are larger than ${MAX_BYTES} bytes.`);
  } finally {
    await browser.close();
    await demo.stop();
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
