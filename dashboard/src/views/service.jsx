// One service: its endpoints with load and who leaves them out, who calls it, its routes and policies.
import { useEffect, useState } from 'preact/hooks';
import { ask, drawn, history, mesh } from '../live.js';
import { duration, latency, percent, rate, span, yaml } from '../format.js';
import { successLevel } from '../graph.js';
import { Badge, Empty, FIGURES, Icon, Lock, Panel, Spark, Stat, Table, proxyLink, serviceLink } from './parts.jsx';
import { Tap } from './tap.jsx';

const FRESH = 4000;

/** What the API says of it, again and again while the view is open. */
function useDetail(path) {
    const [detail, setDetail] = useState({ value: null, error: null });
    useEffect(() => {
        let timer;
        let open = true;
        const look = async () => {
            try {
                const value = await ask(path);
                if (open) setDetail({ value, error: null });
            } catch (error) {
                if (open) setDetail((old) => ({ ...old, error: error.message }));
            }
            if (open) timer = setTimeout(look, FRESH);
        };
        look();
        return () => { open = false; clearTimeout(timer); };
    }, [path]);
    return detail;
}

/** What the clients asked have under way at an endpoint, the slowest estimate among them, and who leaves it out. */
function load(endpoint, standings) {
    const seen = standings.flatMap(({ client, endpoints }) =>
        (endpoints ?? []).filter((one) => one.id === endpoint.id).map((one) => ({ client, ...one })));
    if (seen.length === 0) return null;
    return {
        inFlight: seen.reduce((total, one) => total + one.in_flight, 0),
        latency: Math.max(...seen.map((one) => duration(one.latency))),
        out: grouped(seen.map(({ client, standing: { out, later } }) => {
            if (out) return [out.replace('-', ' '), client];
            if (later?.ejected) return [`ejected for ${span(duration(later.ejected.left))} (${later.ejected.cause})`, client];
            return later?.unreached ? ['could not be reached', client] : null;
        })),
    };
}

/** `ejected (2 clients)` for each reason, with the clients' names. */
function grouped(found) {
    const reasons = new Map();
    for (const [why, client] of found.filter(Boolean)) reasons.set(why, [...(reasons.get(why) ?? []), client]);
    return [...reasons].map(([why, clients]) => ({ clients, text: `${clients.length > 1 ? `${clients.length} clients` : clients[0]}: ${why}` }));
}

function Documents({ documents }) {
    if (documents.length === 0) return <Empty title="None">Requests go straight to the endpoints, with the defaults.</Empty>;
    return <div class="documents">{documents.map((one) =>
        <details key={`${one.kind}/${one.namespace}/${one.name}`} open={documents.length < 3}>
            <summary><b>{one.name}</b> <span class="tag">{one.kind}</span>
                <small>{one.namespace}{one.source ? ` · from ${one.source}` : ''}</small></summary>
            <pre tabindex="0">{yaml(one.document.spec ?? {})}</pre>
        </details>)}</div>;
}

export function Service({ namespace, name }) {
    const id = `${namespace}/${name}`;
    const all = drawn.value;
    const node = all?.nodes.find((one) => one.id === id && one.kind === 'service');
    const callers = all?.edges.filter((edge) => edge.to === id) ?? [];
    const accounts = new Set(callers.map((edge) => edge.account));
    // Few clients are asked how the endpoints stand with them; those that call it.
    const clients = (mesh.value?.proxies ?? []).filter((proxy) => accounts.has(account(proxy)))
        .map((proxy) => `${proxy.namespace}/${proxy.name}`).sort().slice(0, 6);
    const detail = useDetail(`/api/services/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}?clients=${clients.join(',')}`);
    if (!all) return <Empty title="Looking at the mesh…" />;
    if (!node) return <Empty title={`There is no service ${name} in ${namespace}`}>It may have been deleted. <a href="#/">Back to the mesh</a></Empty>;
    const points = history.value.get(id) ?? [];
    const { figures } = node;
    const standings = detail.value?.standings ?? [];
    const documents = detail.value?.documents ?? [];
    const routes = documents.filter((one) => /Route$/.test(one.kind));
    const policies = documents.filter((one) => /Policy$/.test(one.kind));
    const calls = all.edges.filter((edge) => edge.from === id);
    const title = (edge, end) => all.nodes.find((one) => one.id === edge[end]);
    const connected = new Set(mesh.value.proxies.map((proxy) => `${proxy.namespace}/${proxy.name}`));
    const level = successLevel(figures);
    const routed = mesh.value.figures.routes.filter((row) => row.namespace === namespace && row.service === name && row.route);
    return <>
        <nav class="crumbs" aria-label="Where this is"><a href="#/">Mesh</a> / {namespace}</nav>
        <div class="heading"><h1>{name}</h1><Badge level={node.level}>{node.ready} of {node.endpoints.length} endpoints healthy</Badge>
            <span class="note">{node.ports.map((port) => `${port.name}:${port.port}`).join(', ')} · {node.addresses.join(', ')}</span></div>
        <dl class="stats sparks">
            <Stat label="Success" value={<>{percent(figures?.successRate)}<Spark points={points} pick={(p) => p.success} level={level} /></>} level={level} />
            <Stat label="Requests a second" value={<>{rate(figures?.requestsPerSecond)}<Spark points={points} pick={(p) => p.perSecond} level="idle" /></>} />
            <Stat label="p50" value={latency(figures?.p50Seconds)} />
            <Stat label="p99" value={<>{latency(figures?.p99Seconds)}<Spark points={points} pick={(p) => p.p99} level="idle" /></>} />
        </dl>
        {detail.error && <div class="banner warn inline" role="status"><Icon name="alert" /><span>{detail.error}</span></div>}
        <Panel title="Endpoints" id="endpoints-title" note={standings.length ? `load as ${standings.length} of its clients see it` : undefined}>
            <Table caption="Endpoints" id={(row) => row.id} nothing="No endpoints: start an instance whose proxy registers for it" rows={node.endpoints.map((one) => ({ ...one, load: load(one, standings) }))} columns={[
                ['Endpoint', (row) => connected.has(`${namespace}/${row.id}`)
                    ? <a href={proxyLink(namespace, row.id)}>{row.id}<small>{row.addresses.join(', ')}</small></a>
                    : <>{row.id}<small>{row.addresses.join(', ')}</small></>],
                ['State', (row) => <Badge level={row.level} title={row.why}>{row.why}
                    {row.level !== 'good' && row.sinceSeconds != null && <small> for {span(row.sinceSeconds)}</small>}</Badge>],
                ['mTLS', (row) => <Lock mtls={row.identity ? 'yes' : 'no'} />],
                ...FIGURES.slice(0, 2),
                ['In flight', (row) => row.load ? row.load.inFlight : '–', 'num'],
                ['EWMA', (row) => row.load ? latency(row.load.latency || null) : '–', 'num'],
                ['Left out by', (row) => row.load?.out.length ? <span class="figure" data-level="bad" title={row.load.out.flatMap(({ clients }) => clients).join('\n')}>{row.load.out.map(({ text }) => text).join('; ')}</span> : '–'],
                ['Zone', (row) => row.zone ?? '–'],
            ]} /></Panel>
        <div class="columns">
        <Panel title="Called by" id="callers-title"><Table caption="Called by" id={(row) => row.id} nothing="Nobody calls it" rows={callers} columns={[
            ['Client', (row) => <>{title(row, 'from').name}<small>{row.account}</small></>], ['mTLS', (row) => <Lock mtls={row.mtls} />], ...FIGURES.slice(0, 3), FIGURES[4]]} /></Panel>
        <Panel title="Calls" id="called-title"><Table caption="Calls" id={(row) => row.id} nothing="It calls nobody" rows={calls} columns={[
            ['Service', (row) => <a href={serviceLink(title(row, 'to').namespace, title(row, 'to').name)}>{title(row, 'to').name}<small>{title(row, 'to').namespace}</small></a>],
            ['mTLS', (row) => <Lock mtls={row.mtls} />], ...FIGURES.slice(0, 3), FIGURES[4]]} /></Panel>
        </div>
        <div class="columns">
            <Panel title="Routes" id="routes-title">
                {routed.length > 0 && <Table caption="Rules in use" id={(row) => row.route} rows={routed.map((row) => ({ route: row.route, figures: row }))}
                    columns={[['Rule', (row) => row.route], ...FIGURES.slice(0, 2), FIGURES[4]]} />}
                <Documents documents={routes} /></Panel>
            <Panel title="Policies" id="policies-title"><Documents documents={policies} /></Panel>
        </div>
        <Tap namespace={namespace} name={name} />
        <p class="note">Ask what would become of a request: <a href={`#/explain?to=http://${name}.${namespace}`}>explain</a></p>
    </>;
}

const account = (proxy) => {
    const found = /\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(proxy.identity);
    return found ? `${found[1]}/${found[2]}` : `${proxy.namespace}/${proxy.name}`;
};
