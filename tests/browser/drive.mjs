// Opens the page in a real Chromium and plays one case on it: node drive.mjs CASE LINK [ARGUMENT...]
// WEFT_BROWSER names the directory that scripts/browser prints. Lines on standard output tell the suite how far the case is. Fails
// when the case does, when the page logs an error, and when it asks anybody but its own origin for anything.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { cases } from './cases.mjs';

const [name, link, ...rest] = process.argv.slice(2);
const load = createRequire(join(process.env.WEFT_BROWSER, 'package.json'));
const { chromium } = load('playwright-core');
const axe = load('axe-core').source;
const origin = new URL(link).origin;

const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
});
const faults = [];
try {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce' });
    context.setDefaultTimeout(45_000);
    const page = await context.newPage();
    page.on('request', (request) => {
        if (new URL(request.url()).origin !== origin) faults.push(`it asks ${request.url()}`);
    });
    page.on('console', (message) => {
        // Answers of 400 and more are logged by the browser itself; cases look at those on purpose.
        if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) faults.push(message.text());
    });
    page.on('pageerror', (error) => faults.push(String(error)));
    await page.goto(link);
    await cases[name]({ page, context, link, origin, axe, rest, say: (line) => process.stdout.write(`${line}\n`) });
    if (faults.length) throw new Error(faults.join('\n'));
    process.stdout.write('played\n');
} catch (error) {
    process.stderr.write(`${name}: ${error.stack ?? error}\n${faults.join('\n')}\n`);
    process.exitCode = 1;
} finally {
    await browser.close();
}
