// What is looked at in the browser, case by case. Names and figures are those of the shop that suites/dashboard starts.
import assert from 'node:assert/strict';

const card = (name) => `[data-node="shop/${name}"]`;
const replica = (id, level) => `.card .replicas i[data-endpoint="${id}"][data-level="${level}"]`;

async function graph({ page, axe, origin }) {
    assert.equal(page.url(), `${origin}/`, 'the token is gone from the address');
    for (const name of ['frontend', 'search', 'ranking', 'features', 'cart']) await page.waitForSelector(card(name));
    for (const line of ['frontend>search', 'frontend>cart', 'search>ranking', 'ranking>features']) {
        const [from, to] = line.split('>');
        const label = page.locator(`[data-edge="shop/${from}>shop/${to}"][data-mtls="yes"]`);
        await label.filter({ hasText: /\d\/s.*\d( ms| s)? · .*\d (ms|s)/s }).waitFor();
        assert.equal(await label.getByRole('img', { name: 'mTLS' }).count(), 1);
    }
    await page.waitForSelector('[data-edge="client:shop/customers>shop/frontend"]');
    await page.locator(card('ranking')).filter({ hasText: /\d%.*\d\/s.*p99.*3\/3/s }).waitFor();
    // The tables say the same.
    const row = page.getByRole('region', { name: 'Services', exact: true }).getByRole('row', { name: /ranking/ });
    assert.match(await row.innerText(), /healthy[\s\S]*3\/3[\s\S]*%/);
    const calls = page.getByRole('region', { name: 'Calls', exact: true }).getByRole('row');
    assert.ok(await calls.count() >= 6);
    for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme });
        await accessible(page, axe, `graph, ${colorScheme}`);
    }
}

/** No violation that axe calls serious or worse. */
async function accessible(page, axe, where) {
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run(document));
    const grave = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    assert.deepEqual(grave.map(({ id, nodes }) => [id, nodes.slice(0, 3).map(({ html, failureSummary }) => `${html} ${failureSummary}`)]), [], where);
}

async function killed({ page, rest: [id], say }) {
    await page.waitForSelector(replica(id, 'good'));
    await page.evaluate((selector) => {
        globalThis.red = new Promise((resolve) => {
            const look = () => { if (document.querySelector(selector)) resolve(Date.now()); else requestAnimationFrame(look); };
            look();
        });
    }, replica(id, 'bad'));
    say('watching');
    say(`red ${await page.evaluate(() => globalThis.red)}`);
    await page.getByRole('log').filter({ hasText: `${id} of ranking is unhealthy` }).waitFor({ state: 'attached' });
    await page.waitForSelector(replica(id, 'good'));
    say('well');
}

async function service({ page, axe }) {
    await page.click(card('ranking'));
    await page.waitForSelector('h1:text-is("ranking")');
    const endpoints = page.getByRole('region', { name: 'Endpoints', exact: true });
    for (const id of ['ranking-0', 'ranking-1', 'ranking-2']) {
        const row = endpoints.getByRole('row', { name: new RegExp(id) });
        // Name, state, mTLS, success, rate, requests in flight and EWMA latency as the callers' sidecars see them.
        await row.filter({ hasText: /ready/ }).filter({ hasText: /\d (ms|s)/ }).waitFor();
        assert.match(await row.getByRole('cell').nth(4).innerText(), /^\d+$/);
    }
    await page.getByText('lookups', { exact: true }).waitFor();
    await page.getByText(/nonIdempotent: true/).waitFor({ state: 'attached' });
    await page.getByRole('region', { name: 'Called by' }).getByRole('row', { name: /search/ }).waitFor();
    await accessible(page, axe, 'a service');
    await page.goto(`${new URL(page.url()).origin}/#/services/shop/nobody`);
    await page.getByText('There is no service nobody in shop').waitFor();
}

async function tap({ page, axe }) {
    await page.goto(`${new URL(page.url()).origin}/#/services/shop/ranking`);
    await page.getByRole('button', { name: 'Start' }).click();
    const rows = page.getByRole('region', { name: 'Live requests' }).getByRole('row', { name: /search.*POST \/.*200.*grpc 0.*(ms|s).*ranking-\d/ });
    await rows.nth(2).waitFor();
    await accessible(page, axe, 'live requests');
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.getByRole('button', { name: 'Start' }).waitFor();
}

async function proxy({ page, axe }) {
    await page.getByRole('link', { name: 'Proxies' }).click();
    await page.getByRole('link', { name: /search-0/ }).click();
    await page.waitForSelector('h1:text-is("search-0")');
    const certificate = page.getByRole('region', { name: 'Certificates' }).getByRole('row').nth(1);
    assert.match(await certificate.innerText(), /ns\/shop\/sa\/search[\s\S]*in \d+h/);
    await page.getByRole('region', { name: 'Services it knows' }).getByRole('row', { name: /ranking/ }).waitFor();
    await page.getByRole('region', { name: 'Endpoints it knows' }).getByRole('row', { name: /ranking-1/ }).waitFor();
    await accessible(page, axe, 'a proxy');
    await page.goto(`${new URL(page.url()).origin}/#/proxies/shop/nobody`);
    await page.getByText('no proxy shop/nobody is connected').waitFor();
}

async function explain({ page, axe }) {
    await page.getByRole('link', { name: 'Explain' }).click();
    await page.getByLabel('From').fill('shop/frontend-0');
    await page.getByLabel('To', { exact: true }).fill('http://search.shop:8080/');
    await page.getByLabel('gRPC method instead').fill('shop.v1.Search/Find');
    await page.getByRole('button', { name: 'Explain' }).click();
    await page.locator('[data-verdict="good"]').filter({ hasText: 'It is sent' }).waitFor();
    await page.getByRole('region', { name: 'Endpoints of search' }).getByRole('row', { name: /search-1.*takes part/ }).waitFor();
    await page.getByText(/^result\s+sent to an endpoint/m).waitFor();
    await accessible(page, axe, 'an explanation');
    // Nobody may call the cart from search but whom its policy names: the suite has applied one that denies everybody.
    await page.getByLabel('gRPC method instead').fill('');
    await page.getByLabel('To', { exact: true }).fill('http://cart.shop:8080/forbidden');
    await page.getByRole('button', { name: 'Explain' }).click();
    await page.locator('[data-verdict="bad"]').filter({ hasText: /refused: 403 denied-by=shop\/nobody-forbidden/ }).waitFor();
    await page.getByLabel('To', { exact: true }).fill('https://cart.shop/');
    await page.getByRole('button', { name: 'Explain' }).click();
    await page.locator('[data-error="explain"]').filter({ hasText: /^to: the mesh does not look into/ }).waitFor();
}

async function check({ page, axe }) {
    await page.getByRole('link', { name: 'Check' }).click();
    await page.getByText(/is connected to its store \(embedded/).waitFor();
    await page.getByRole('status').filter({ hasText: /passed|failed/ }).waitFor();
    await accessible(page, axe, 'findings');
}

async function theme({ page }) {
    const now = () => page.evaluate(() => [document.documentElement.dataset.theme, getComputedStyle(document.body).backgroundColor]);
    await page.waitForSelector(card('search'));
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.waitForSelector('html[data-theme="dark"]');
    const dark = await now();
    await page.emulateMedia({ colorScheme: 'light' });
    await page.waitForSelector('html[data-theme="light"]');
    const light = await now();
    assert.notEqual(dark[1], light[1]);
    await page.getByRole('button', { name: 'Dark theme' }).click();
    assert.deepEqual(await now(), dark);
    await page.reload();
    await page.waitForSelector(card('search'));
    assert.deepEqual(await now(), dark, 'what was chosen stays chosen');
}

async function keyboard({ page }) {
    await page.waitForSelector(card('search'));
    const focused = () => page.evaluate(() => {
        const at = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(at);
        return { text: at.textContent.trim(), node: at.dataset.node, id: at.id, seen: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 };
    });
    const tab = async (until) => {
        for (let step = 0; step < 60; step += 1) {
            await page.keyboard.press('Tab');
            const at = await focused();
            assert.ok(at.seen, `what has the focus cannot be seen: ${JSON.stringify(at)}`);
            if (until(at)) return at;
        }
        throw new Error('never reached');
    };
    await tab((at) => at.text === 'Skip to content');
    await page.keyboard.press('Enter');
    assert.equal((await focused()).id, 'main');
    await tab((at) => at.node === 'shop/search');
    await page.keyboard.press('Enter');
    await page.waitForSelector('h1:text-is("search")');
    assert.equal((await focused()).id, 'main', 'whoever follows a link is at the top of what it leads to');
    await tab((at) => at.text.startsWith('explain'));
    await page.keyboard.press('Enter');
    await page.waitForSelector('h1:text-is("Explain")');
    assert.equal(await page.getByLabel('To', { exact: true }).inputValue(), 'http://search.shop');
}

async function narrow({ page, axe }) {
    await page.setViewportSize({ width: 360, height: 740 });
    for (const [hash, heading] of [['', 'Mesh'], ['services/shop/ranking', 'ranking'], ['proxies', 'Proxies'], ['proxies/shop/search-0', 'search-0'], ['explain', 'Explain'], ['check', 'Check']]) {
        await page.goto(`${new URL(page.url()).origin}/#/${hash}`);
        await page.waitForSelector(`h1:text-is("${heading}")`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(wide <= 360, `${heading} is ${wide} px wide`);
    }
    await page.goto(`${new URL(page.url()).origin}/#/`);
    await page.waitForSelector(card('search'));
    await accessible(page, axe, 'narrow');
}

async function away({ page, say }) {
    await page.waitForSelector('html[data-live="yes"]');
    await page.waitForSelector(card('search'));
    say('watching');
    await page.locator('[data-banner="discovery"]').filter({ hasText: /Discovery does not answer.*cannot reach discovery/s }).waitFor();
    assert.ok(await page.locator(card('search')).isVisible(), 'what was known is still shown');
    say('gone');
    await page.locator('[data-banner="discovery"]').waitFor({ state: 'detached' });
    await page.waitForSelector('html[data-live="yes"]');
    say('back');
}

async function nothing({ page, axe }) {
    await page.getByText('Discovery has not answered yet').waitFor();
    await page.locator('[data-banner="discovery"]').waitFor();
    await accessible(page, axe, 'without discovery');
}

/** Pictures for the documentation: DIRECTORY, then the service whose page is taken. */
async function pictures({ page, rest: [directory, name] }) {
    await page.setViewportSize({ width: 1280, height: 960 });
    await page.waitForSelector(card(name));
    // Figures of a whole window, and something of a line to see.
    await page.waitForTimeout(35_000);
    for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme });
        await page.goto(`${new URL(page.url()).origin}/#/`);
        await page.waitForSelector(card(name));
        await page.screenshot({ path: `${directory}/dashboard-mesh-${colorScheme}.png` });
        await page.goto(`${new URL(page.url()).origin}/#/services/shop/${name}`);
        await page.getByText(/as \d+ of its clients see it/).waitFor();
        await page.screenshot({ path: `${directory}/dashboard-service-${colorScheme}.png` });
    }
}

export const cases = { graph, killed, service, tap, proxy, explain, check, theme, keyboard, narrow, away, nothing, pictures };
