import test from 'node:test';
import assert from 'node:assert/strict';
import { changes, graph, judge, summary, worst } from '../src/graph.js';

const figures = (requests, failed, more = {}) => ({ requests, failed, requestsPerSecond: requests / 10,
    successRate: requests ? 1 - failed / requests : null, p50Seconds: 0.001, p99Seconds: 0.01, ...more });
const endpoint = (id, service, more = {}) => ({ id, state: 'ready', identity: `spiffe://weft.local/ns/shop/sa/${service}`, addresses: ['10.0.0.1'], figures: null, leftOut: null, ...more });
const service = (name, endpoints) => ({ namespace: 'shop', name, ports: [], addresses: [], endpoints });
const edge = (from, to, row, mtls) => ({ from: { namespace: 'shop', serviceAccount: from }, to: { namespace: 'shop', service: to }, mtls, ...row });

const state = () => ({
    services: [service('frontend', [endpoint('frontend-0', 'frontend')]), service('search', [endpoint('search-0', 'search'), endpoint('search-1', 'search')])],
    figures: { services: [{ namespace: 'shop', service: 'search', ...figures(100, 0) }] },
    edges: [
        edge('customer', 'frontend', figures(50, 5), { connections: 3, plaintext: 0 }),
        edge('frontend', 'search', figures(100, 0), { connections: 2, plaintext: 1 }),
        edge('frontend', 'gone', figures(1, 0), { connections: 1, plaintext: 0 }),
    ],
});

test('callers are found by their identity, and are clients when they serve nothing', () => {
    const { nodes, edges } = graph(state());
    assert.deepEqual(nodes.map((node) => [node.id, node.kind]),
        [['shop/frontend', 'service'], ['shop/search', 'service'], ['client:shop/customer', 'client']]);
    assert.deepEqual(edges.map(({ id, mtls, level }) => [id, mtls, level]),
        [['client:shop/customer>shop/frontend', 'yes', 'warn'], ['shop/frontend>shop/search', 'some', 'good']],
        'an edge to a service that is not there is not drawn');
});

test('what has happened to an endpoint decides how it looks', () => {
    const level = (more) => judge(endpoint('a', 'a', more)).level;
    assert.equal(level({}), 'good');
    for (const bad of ['gone', 'disconnected', 'not-ready']) assert.equal(level({ state: bad }), 'bad', bad);
    assert.equal(level({ state: 'terminating' }), 'warn');
    assert.match(judge(endpoint('a', 'a', { leftOut: [{ by: 'shop/web', why: 'gateway errors' }] })).why, /gateway errors/);
    assert.equal(level({ figures: figures(10, 5) }), 'bad');
    assert.equal(level({ figures: figures(100, 5) }), 'warn');
    assert.equal(level({ figures: figures(2, 2) }), 'good', 'two requests say nothing');
    assert.equal(worst(['good', 'warn', 'idle']), 'warn');
    assert.equal(worst([]), 'good');
});

test('a service is as well as its replicas and its answers', () => {
    const with_ = (change) => { const made = state(); change(made); return graph(made).nodes.find((node) => node.name === 'search'); };
    assert.equal(with_(() => {}).level, 'good');
    assert.equal(with_((made) => { made.services[1].endpoints[0].state = 'gone'; }).level, 'warn');
    assert.equal(with_((made) => made.services[1].endpoints.forEach((one) => { one.state = 'not-ready'; })).level, 'bad');
    assert.equal(with_((made) => { made.figures.services = []; }).level, 'idle');
});

test('the summary counts all there is', () => {
    const total = summary(graph(state()));
    assert.deepEqual([total.services, total.endpoints, total.unhealthy, total.perSecond], [2, 3, 0, 15]);
    assert.equal(total.success, 1 - 5 / 150);
    assert.equal(total.secured, 0.5);
    assert.equal(summary({ nodes: [], edges: [] }).success, null);
});

test('news are told of who fell ill and who is well again', () => {
    const ill = state();
    ill.services[1].endpoints[1].state = 'disconnected';
    assert.deepEqual(changes(graph(state()), graph(ill)), ['search-1 of search is unhealthy: its sidecar is silent']);
    assert.deepEqual(changes(graph(ill), graph(state())), ['search-1 of search is well again']);
    assert.deepEqual(changes(graph(state()), graph(state())), []);
});
