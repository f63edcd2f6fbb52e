// What the mesh's state means for the eye: which nodes and edges there are, and how well each is. Pure; test/graph.test.js.

/** Below this share of successes something is wrong, below the other it is broken. */
const WARN = 0.99;
const BAD = 0.9;
/** An endpoint is only judged by its answers when there are a few. */
const ENOUGH = 5;

export const LEVELS = ['good', 'idle', 'warn', 'bad'];
export const worst = (levels) => LEVELS[Math.max(0, ...levels.map((level) => LEVELS.indexOf(level)))];

export function successLevel(figures) {
    if (!figures || figures.successRate == null) return 'idle';
    if (figures.successRate < BAD) return 'bad';
    return figures.successRate < WARN ? 'warn' : 'good';
}

/** Level and reason of one endpoint. */
export function judge(endpoint) {
    switch (endpoint.state) {
        case 'gone': return { level: 'bad', why: 'gone without goodbye' };
        case 'disconnected': return { level: 'bad', why: 'its sidecar is silent' };
        case 'not-ready': return { level: 'bad', why: 'not ready' };
        case 'terminating': return { level: 'warn', why: 'terminating' };
    }
    if (endpoint.leftOut?.length) return { level: 'bad', why: `left out: ${endpoint.leftOut[0].why}` };
    const { figures } = endpoint;
    if (figures && figures.requests >= ENOUGH && figures.successRate < BAD) return { level: 'bad', why: 'its answers fail' };
    if (figures && figures.requests >= ENOUGH && figures.successRate < WARN) return { level: 'warn', why: 'some of its answers fail' };
    return { level: 'good', why: 'ready' };
}

export const key = (namespace, name) => `${namespace}/${name}`;

/** Which service an identity's requests come from: that of its endpoints, by preference the one called like it. */
function sources(services) {
    const of = new Map();
    for (const service of services) {
        for (const endpoint of service.endpoints) {
            const found = /^spiffe:\/\/[^/]+\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(endpoint.identity ?? '');
            if (!found) continue;
            const account = key(found[1], found[2]);
            if (!of.has(account) || service.name === found[2]) of.set(account, key(service.namespace, service.name));
        }
    }
    return of;
}

/** Nodes (services, and clients that are none) and edges, each with its level. */
export function graph(state) {
    const figures = new Map(state.figures.services.map((row) => [key(row.namespace, row.service), row]));
    const nodes = new Map();
    for (const service of state.services) {
        const id = key(service.namespace, service.name);
        const endpoints = service.endpoints.map((endpoint) => ({ ...endpoint, ...judge(endpoint) }));
        const ready = endpoints.filter((endpoint) => endpoint.level !== 'bad').length;
        const own = figures.get(id) ?? null;
        let level = successLevel(own);
        if (endpoints.length > 0 && ready === 0) level = 'bad';
        else if (ready < endpoints.length && level !== 'bad') level = 'warn';
        nodes.set(id, { id, kind: 'service', namespace: service.namespace, name: service.name, ports: service.ports,
            addresses: service.addresses, endpoints, ready, figures: own, level });
    }
    const of = sources(state.services);
    const edges = new Map();
    for (const edge of state.edges) {
        const account = key(edge.from.namespace, edge.from.serviceAccount);
        const to = key(edge.to.namespace, edge.to.service);
        if (!nodes.has(to)) continue;
        let from = of.get(account);
        if (!from) {
            from = `client:${account}`;
            nodes.set(from, { id: from, kind: 'client', namespace: edge.from.namespace, name: edge.from.serviceAccount,
                endpoints: [], ready: 0, figures: null, level: 'idle' });
        }
        const { connections, plaintext } = edge.mtls;
        const mtls = connections > 0 ? (plaintext > 0 ? 'some' : 'yes') : plaintext > 0 ? 'no' : 'unknown';
        edges.set(`${from}>${to}`, { id: `${from}>${to}`, from, to, account, figures: edge, mtls,
            level: edge.requests > 0 ? successLevel(edge) : 'idle' });
    }
    return { nodes: [...nodes.values()], edges: [...edges.values()] };
}

/** The figures at the top: of all requests that clients sent. */
export function summary({ nodes, edges }) {
    const services = nodes.filter((node) => node.kind === 'service');
    const sum = (pick) => edges.reduce((total, edge) => total + pick(edge), 0);
    const requests = sum((edge) => edge.figures.requests);
    const failed = sum((edge) => edge.figures.failed);
    const known = edges.filter((edge) => edge.mtls !== 'unknown');
    const endpoints = services.flatMap((node) => node.endpoints);
    const p99s = edges.map((edge) => edge.figures.p99Seconds).filter((p99) => p99 != null);
    return {
        services: services.length,
        troubled: services.filter((node) => node.level === 'bad' || node.level === 'warn').length,
        endpoints: endpoints.length,
        unhealthy: endpoints.filter((endpoint) => endpoint.level === 'bad').length,
        perSecond: sum((edge) => edge.figures.requestsPerSecond),
        success: requests > 0 ? 1 - failed / requests : null,
        p99: p99s.length ? Math.max(...p99s) : null,
        secured: known.length ? known.filter((edge) => edge.mtls === 'yes').length / known.length : null,
    };
}

/** What changed for the worse or the better between two states, in words for those who do not see the colours. */
export function changes(before, after) {
    const levels = (nodes) => new Map(nodes.flatMap((node) =>
        node.endpoints.map((endpoint) => [`${endpoint.id} of ${node.name}`, endpoint])));
    const then = levels(before.nodes);
    const said = [];
    for (const [who, endpoint] of levels(after.nodes)) {
        const old = then.get(who)?.level;
        if (old === endpoint.level || (old === undefined && endpoint.level === 'good')) continue;
        if (endpoint.level === 'bad') said.push(`${who} is unhealthy: ${endpoint.why}`);
        else if (old === 'bad' && endpoint.level === 'good') said.push(`${who} is well again`);
    }
    return said;
}
