// The whole mesh: its figures, the graph, and the same as tables.
import { computed, signal } from '@preact/signals';
import { drawn, link, mesh } from '../live.js';
import { latency, percent, rate } from '../format.js';
import { successLevel, summary } from '../graph.js';
import { Badge, Empty, FIGURES, Lock, Panel, Replicas, Stat, Table, serviceLink } from './parts.jsx';
import { Graph } from './graph.jsx';

const namespace = signal('');
/** Nodes of the chosen namespace, and who is on the other end of a line. */
const shown = computed(() => {
    const all = drawn.value;
    if (!all || !namespace.value) return all;
    const inside = new Set(all.nodes.filter((node) => node.namespace === namespace.value).map((node) => node.id));
    const edges = all.edges.filter((edge) => inside.has(edge.from) || inside.has(edge.to));
    const near = new Set([...inside, ...edges.flatMap((edge) => [edge.from, edge.to])]);
    return { nodes: all.nodes.filter((node) => near.has(node.id)), edges };
});

const WORDS = { good: 'healthy', idle: 'no requests', warn: 'degraded', bad: 'failing' };

export function Mesh() {
    const all = drawn.value;
    if (!all) {
        return <Empty title={link.value === 'lost' ? 'Nothing is known' : 'Looking at the mesh…'}>
            {link.value === 'lost' ? 'weftctl does not answer.' : 'The first figures are there in a few seconds.'}</Empty>;
    }
    if (mesh.value.asOf === null) {
        return <Empty title="Discovery has not answered yet">The page shows the mesh as soon as it does. <code>weftctl --discovery
            unix://PATH dashboard</code> looks elsewhere.</Empty>;
    }
    const { nodes, edges } = shown.value;
    const services = nodes.filter((node) => node.kind === 'service');
    const total = summary(shown.value);
    const namespaces = [...new Set(all.nodes.map((node) => node.namespace))].sort();
    const name = (id) => nodes.find((node) => node.id === id);
    return <>
        <div class="heading"><h1>Mesh</h1>
            {namespaces.length > 1 && <label class="pick">Namespace <select value={namespace.value}
                onChange={(event) => { namespace.value = event.currentTarget.value; }}>
                <option value="">all</option>{namespaces.map((one) => <option>{one}</option>)}</select></label>}</div>
        <dl class="stats">
            <Stat label="Services" value={total.services} level={total.troubled ? 'warn' : 'good'}
                note={total.troubled ? `${total.troubled} in trouble` : 'all well'} />
            <Stat label="Endpoints" value={total.endpoints} level={total.unhealthy ? 'bad' : 'good'}
                note={total.unhealthy ? `${total.unhealthy} unhealthy` : 'all healthy'} />
            <Stat label="Success" value={percent(total.success)} level={successLevel({ successRate: total.success })}
                note={mesh.value.window ? `of the last ${Math.round(mesh.value.window)} s` : 'counting…'} />
            <Stat label="Requests" value={rate(total.perSecond)} note="a second" />
            <Stat label="Slowest p99" value={latency(total.p99)} note="of all calls" />
            <Stat label="mTLS" value={percent(total.secured)} level={total.secured === 1 ? 'good' : total.secured === null ? 'idle' : 'warn'}
                note="of who calls whom" />
        </dl>
        {services.length === 0 ? <Panel title="Services" id="graph-title"><Empty title="No services yet">Apply some: <code>weftctl apply -f
            services.yaml</code>. They appear here by themselves.</Empty></Panel> : <>
            <Panel title="Who calls whom" id="graph-title" note="requests a second, success where it is not 100%, p50 · p99">
                <Graph nodes={nodes} edges={edges} /></Panel>
            <Panel title="Services" id="services-title">
                <Table caption="Services" id={(row) => row.id} rows={[...services].sort((a, b) => a.id.localeCompare(b.id))} columns={[
                    ['Service', (row) => <a href={serviceLink(row.namespace, row.name)}>{row.name}<small>{row.namespace}</small></a>],
                    ['Health', (row) => <Badge level={row.level}>{WORDS[row.level]}</Badge>],
                    ['Endpoints', (row) => <span class="ready"><Replicas endpoints={row.endpoints} /> {row.ready}/{row.endpoints.length}</span>],
                    ...FIGURES,
                ]} /></Panel>
            <Panel title="Calls" id="calls-title" note="as the clients' sidecars see them">
                <Table caption="Calls" id={(row) => row.id} nothing="Nobody has called anybody yet" rows={edges} columns={[
                    ['From', (row) => <>{name(row.from).name}<small>{row.account}</small></>],
                    ['To', (row) => <a href={serviceLink(name(row.to).namespace, name(row.to).name)}>{name(row.to).name}</a>],
                    ['mTLS', (row) => <Lock mtls={row.mtls} />],
                    ...FIGURES,
                ]} /></Panel>
        </>}
    </>;
}
