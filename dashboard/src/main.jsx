// The page: its frame, and which view the address asks for.
import { render } from 'preact';
import { useEffect } from 'preact/hooks';
import { effect, signal } from '@preact/signals';
import './style.css';
import { connect, link, mesh, news } from './live.js';
import { isDark, toggle } from './theme.js';
import { span } from './format.js';
import { Mesh } from './views/mesh.jsx';
import { Service } from './views/service.jsx';
import { Proxies, Proxy } from './views/proxies.jsx';
import { Explain } from './views/explain.jsx';
import { Check } from './views/check.jsx';
import { Empty, Icon } from './views/parts.jsx';

/** `#/services/shop/cart` becomes ['services', 'shop', 'cart']. */
const read = () => location.hash.replace(/^#\/?/, '').split('?')[0].split('/').filter(Boolean).map(decodeURIComponent);
const route = signal(read());
addEventListener('hashchange', () => {
    route.value = read();
    // Whoever follows a link by keyboard goes on at the top of what it led to.
    document.getElementById('main')?.focus({ preventScroll: true });
    scrollTo(0, 0);
});

const TABS = [['', 'Mesh'], ['proxies', 'Proxies'], ['explain', 'Explain'], ['check', 'Check']];
const tabOf = (view) => (view === 'services' ? '' : view ?? '');

function View() {
    const [view, namespace, name] = route.value;
    switch (view) {
        case undefined: return <Mesh />;
        case 'services': if (name) return <Service key={`${namespace}/${name}`} namespace={namespace} name={name} />; break;
        case 'proxies': return name ? <Proxy key={`${namespace}/${name}`} namespace={namespace} name={name} /> : <Proxies />;
        case 'explain': return <Explain />;
        case 'check': return <Check />;
    }
    return <Empty title="There is no such page"><a href="#/">Back to the mesh</a></Empty>;
}

/** What is wrong with what the page shows, if anything. */
function Banner() {
    const state = mesh.value;
    if (link.value === 'lost') {
        return <div class="banner bad" role="alert"><Icon name="alert" /><span><b>weftctl does not answer.</b> It has ended, or this
            link has. What is shown is old; run <code>weftctl dashboard</code> again.</span></div>;
    }
    if (state?.error) {
        const age = state.asOf ? ` What is shown is ${span((state.at - state.asOf) / 1000)} old; proxies go on with what they know.` : '';
        return <div class="banner bad" role="alert" data-banner="discovery"><Icon name="alert" /><span><b>Discovery does not answer.</b>
            {age} <span class="said">{state.error}</span></span></div>;
    }
    if (state?.notes.length) {
        return <div class="banner warn" role="status"><Icon name="alert" /><span><b>Figures are incomplete.</b> {state.notes[0]}
            {state.notes.length > 1 && ` and ${state.notes.length - 1} more`}</span></div>;
    }
    return null;
}

function Pulse() {
    const state = mesh.value;
    const ready = state?.discovery.filter((replica) => replica.ready).length ?? 0;
    const good = link.value === 'open' && state && !state.error;
    const level = !good ? 'bad' : ready === state.discovery.length ? 'good' : 'warn';
    const text = link.value === 'connecting' || (link.value === 'open' && !state) ? 'connecting' : !good ? 'not live'
        : `live, revision ${Math.max(0, ...state.discovery.map((replica) => replica.revision ?? 0))}`;
    return <span class="pulse" data-level={state ? level : 'idle'}><i class="dot" />{text}</span>;
}

function Frame() {
    const dark = isDark();
    const tab = tabOf(route.value[0]);
    useEffect(() => {
        const at = route.value;
        document.title = at.length ? `${at[at.length - 1]} · Weft` : 'Weft';
    });
    return <>
        <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById('main').focus(); }}>
            Skip to content</a>
        <header class="top">
            <a class="brand" href="#/" aria-label="Weft, the mesh"><img src="/icon.svg" alt="" width="26" height="26" /><b>Weft</b></a>
            <nav aria-label="Views">
                {TABS.map(([view, title]) =>
                    <a href={`#/${view}`} aria-current={tab === view ? 'page' : undefined}>{title}</a>)}
            </nav>
            <Pulse />
            <button class="icon" type="button" onClick={toggle} aria-label={dark ? 'Light theme' : 'Dark theme'}
                title={dark ? 'Light theme' : 'Dark theme'}><Icon name={dark ? 'sun' : 'moon'} /></button>
        </header>
        <Banner />
        <main id="main" tabindex="-1"><View /></main>
        <footer>weftctl dashboard · <a href="/licenses.txt" target="_blank" rel="noreferrer">licenses of the libraries in this page</a></footer>
        <div class="unseen" aria-live="polite" role="log">{news.value}</div>
    </>;
}

connect();
render(<Frame />, document.getElementById('app'));
// For tests and the curious: when the page last heard of the mesh.
effect(() => { document.documentElement.dataset.live = mesh.value && !mesh.value.error ? 'yes' : 'no'; });
