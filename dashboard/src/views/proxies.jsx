// Every proxy, and one of them: what it knows and its certificates.
import { useEffect, useState } from 'preact/hooks';
import { ask, drawn, mesh } from '../live.js';
import { judge } from '../graph.js';
import { relative, span, yaml } from '../format.js';
import { Badge, Empty, FIGURES, Lock, Panel, Stat, Table, proxyLink, serviceLink } from './parts.jsx';

/** Less of a certificate's life left than this: renewal has failed. */
const LATE = 0.25;

const behind = (proxy) => {
    if (proxy.pending > 0) return `${proxy.pending} unsent`;
    return proxy.ackedRevision < proxy.sentRevision ? `at ${proxy.ackedRevision} of ${proxy.sentRevision}` : null;
};

export function Proxies() {
    const state = mesh.value;
    if (!state) return <Empty title="Looking at the mesh…" />;
    const figures = new Map(state.figures.pods.map((row) => [`${row.namespace}/${row.pod}`, row]));
    const rows = state.proxies.map((proxy) => ({ ...proxy, figures: figures.get(`${proxy.namespace}/${proxy.name}`), behind: behind(proxy) }));
    return <>
        <div class="heading"><h1>Proxies</h1><span class="note">{rows.length} connected</span></div>
        <Panel title="Connected" id="proxies-title" note="figures of what each let in">
            <Table caption="Connected proxies" id={(row) => `${row.namespace}/${row.name}`} nothing="No proxy is connected" rows={rows} columns={[
                ['Proxy', (row) => <a href={proxyLink(row.namespace, row.name)}>{row.name}<small>{row.namespace}</small></a>],
                ['State', (row) => <Badge level={row.behind ? 'warn' : 'good'}>{row.behind ?? 'current'}</Badge>],
                ...FIGURES.slice(0, 2), FIGURES[4],
                ['Connected', (row) => span((state.at - Date.parse(row.connectedAt)) / 1000), 'num'],
                ['Knows', (row) => row.subscriptions, 'num'],
                ['Address', (row) => row.address || '–'],
                ['Version', (row) => row.version],
                ['Replica', (row) => row.replica],
            ]} /></Panel>
        <Panel title="Discovery" id="discovery-title"><Table caption="Discovery replicas" id={(row) => row.address} nothing="No replica answers" rows={state.discovery} columns={[
            ['Replica', (row) => <>{row.replica ?? '–'}<small>{row.address}</small></>],
            ['State', (row) => <Badge level={row.error ? 'bad' : row.ready ? 'good' : 'warn'}>{row.error ?? (row.ready ? 'ready' : 'not ready')}</Badge>],
            ['Store', (row) => row.store ?? '–'], ['Revision', (row) => row.revision ?? '–', 'num'], ['Services', (row) => row.services ?? '–', 'num'],
            ['Endpoints', (row) => row.endpoints ?? '–', 'num'], ['Routes', (row) => row.routes ?? '–', 'num'], ['Version', (row) => row.version ?? '–'],
        ]} /></Panel>
    </>;
}

function certificateLevel(certificate, now) {
    const [from, to] = [Date.parse(certificate.notBefore), Date.parse(certificate.notAfter)];
    if (to <= now) return 'bad';
    return (to - now) / (to - from) < LATE ? 'warn' : 'good';
}

function Certificates({ certificates }) {
    const now = Date.now();
    const newest = [...certificates].sort((a, b) => Date.parse(b.notAfter) - Date.parse(a.notAfter));
    return <Table caption="Certificates" id={(row) => row.serial} nothing="Discovery has signed none" rows={newest.slice(0, 5)} columns={[
        ['Identity', (row) => <code>{row.identity}</code>],
        ['Ends', (row) => <Badge level={certificateLevel(row, now)} title={row.notAfter}>{relative(Date.parse(row.notAfter), now)}</Badge>],
        ['Signed', (row) => relative(Date.parse(row.notBefore), now)],
        ['Serial', (row) => <code>{row.serial}</code>],
    ]} />;
}

export function Proxy({ namespace, name }) {
    const [{ value, error }, set] = useState({ value: null, error: null });
    const path = `/api/proxies/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
    const look = () => ask(path).then((found) => set({ value: found, error: null }), (why) => set((old) => ({ ...old, error: why.message })));
    useEffect(() => { look(); }, [path]);
    const listed = mesh.value?.proxies.find((proxy) => proxy.namespace === namespace && proxy.name === name);
    const crumbs = <nav class="crumbs" aria-label="Where this is"><a href="#/proxies">Proxies</a> / {namespace}</nav>;
    if (!value) return <>{crumbs}<div class="heading"><h1>{name}</h1></div><Empty title={error ?? 'Asking it…'} /></>;
    const { dump, certificates } = value;
    const services = dump.services.map((known) => ({ ...known, id: `${known.service.name.namespace}/${known.service.name.name}` }));
    const levels = new Map((drawn.value?.nodes ?? []).flatMap((node) => node.endpoints.map((one) => [`${node.id}/${one.id}`, one.level])));
    const endpoints = services.flatMap((known) => known.endpoints.map((one) => ({ ...one, ...judge(one), of: known })));
    return <>{crumbs}
        <div class="heading"><h1>{name}</h1><Badge level={listed ? 'good' : 'bad'}>{listed ? 'connected' : 'not connected'}</Badge>
            <span class="note"><code>{dump.identity}</code></span>
            <button type="button" onClick={look}>Ask again</button></div>
        {error && <div class="banner warn inline" role="status"><span>{error}</span></div>}
        <dl class="stats">
            <Stat label="Revision" value={dump.revision} note={listed && behind(listed) ? behind(listed) : 'current'} />
            <Stat label="Knows" value={services.length} note="services" />
            <Stat label="Workers" value={dump.workers} />
            <Stat label="Zone" value={dump.zone ?? '–'} />
            <Stat label="Version" value={dump.version} />
        </dl>
        <Panel title="Certificates" id="certificates-title"><Certificates certificates={certificates} /></Panel>
        <Panel title="Services it knows" id="known-title"><Table caption="Services it knows" id={(row) => row.id} nothing="None: it learns a service when its application dials it" rows={services} columns={[
            ['Service', (row) => <a href={serviceLink(row.service.name.namespace, row.service.name.name)}>{row.service.name.name}<small>{row.service.name.namespace}</small></a>],
            ['Ports', (row) => row.service.ports.map((port) => `${port.name}:${port.port}`).join(', ')],
            ['Ready', (row) => `${row.endpoints.filter((one) => one.state === 'ready').length}/${row.endpoints.length}`, 'num'],
            ['Routes', (row) => row.routes.length, 'num'],
            ['Balancer', (row) => typeof row.policy.balancer === 'string' ? row.policy.balancer : Object.keys(row.policy.balancer ?? {})[0] ?? '–'],
            ['Revision', (row) => row.revision, 'num'],
        ]} /></Panel>
        <Panel title="Endpoints it knows" id="ends-title"><Table caption="Endpoints it knows" id={(row) => `${row.of.id}/${row.id}`} nothing="None" rows={endpoints} columns={[
            ['Endpoint', (row) => <>{row.id}<small>{row.of.id}</small></>],
            ['It says', (row) => <Badge level={row.level}>{row.why}</Badge>],
            ['Now', (row) => <Badge level={levels.get(`${row.of.id}/${row.id}`) ?? 'idle'}>{levels.get(`${row.of.id}/${row.id}`) === 'bad' ? 'unhealthy' : 'healthy'}</Badge>],
            ['Address', (row) => row.addresses.join(', ')],
            ['mTLS', (row) => <Lock mtls={row.identity ? 'yes' : 'no'} />],
            ['Weight', (row) => row.weight, 'num'], ['Zone', (row) => row.zone ?? '–'],
        ]} /></Panel>
        <Panel title="Who it lets in" id="authorization-title"><pre tabindex="0">{dump.authorization ? yaml(dump.authorization) : 'It has been told no policies.'}</pre></Panel>
    </>;
}
