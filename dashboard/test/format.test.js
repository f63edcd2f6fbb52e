import test from 'node:test';
import assert from 'node:assert/strict';
import { duration, latency, pair, percent, rate, relative, span, yaml } from '../src/format.js';

test('an unknown figure is a dash and never a zero', () => {
    for (const show of [rate, percent, latency, span]) assert.equal(show(null), '–');
    assert.equal(rate(0), '0');
    assert.equal(duration(null), null);
});

test('rates, shares and latencies have as many digits as they mean', () => {
    assert.deepEqual([0.04, 0.26, 99.94, 140.4, 12_345].map(rate), ['<0.1', '0.3', '99.9', '140', '12.3k']);
    assert.deepEqual([1, 0.99999, 0.5, 0].map(percent), ['100%', '99.9%', '50.0%', '0.0%']);
    assert.deepEqual([0.0004, 0.0123, 1.26, 42].map(latency), ['0.4 ms', '12 ms', '1.3 s', '42 s']);
    assert.deepEqual([pair(0.004, 0.061), pair(0.4, 1.5), pair(null, 1)], ['4.0 · 61 ms', '400 ms · 1.5 s', '– · 1.0 s']);
    assert.equal(duration({ secs: 1, nanos: 500_000_000 }), 1.5);
});

test('spans have their two largest units', () => {
    assert.deepEqual([0, 59, 60, 312, 3600, 273_900].map(span), ['0s', '59s', '1m', '5m12s', '1h', '3d4h']);
    assert.equal(relative(3_600_000, 0), 'in 1h');
    assert.equal(relative(0, 60_000), '1m ago');
});

test('documents become YAML that says the same', () => {
    const document = { targetRefs: [{ kind: 'Service', name: 'cart' }], retry: { attempts: 3, statuses: [503, 504], on: true },
        port: '8080', word: 'true', none: null, list: [], map: {}, path: '/a b', odd: 'a: b # c', nested: [[1, 2], ['x']] };
    assert.equal(yaml(document), `targetRefs:
  - kind: Service
    name: cart
retry:
  attempts: 3
  statuses:
    - 503
    - 504
  on: true
port: "8080"
word: "true"
none: null
list: []
map: {}
path: /a b
odd: "a: b # c"
nested:
  - - 1
    - 2
  - - x
`);
});
