// The live state: what the server pushes, and whether it still does. One EventSource for the whole page.
import { computed, signal } from '@preact/signals';
import { changes, graph } from './graph.js';

/** The mesh as it was last told; null until the first time. */
export const mesh = signal(null);
/** Nodes and edges of it. */
export const drawn = computed(() => (mesh.value ? graph(mesh.value) : null));
/** connecting, open, lost: whether weftctl itself is there. */
export const link = signal('connecting');
/** What is read out to those who do not see the colours. */
export const news = signal('');
/** Points of the last minutes, by service: { at, perSecond, success, p99 }. */
export const history = signal(new Map());

const KEPT = 5 * 60 * 1000;

function remember(state) {
    if (!state.window) return;
    const next = new Map(history.value);
    for (const row of state.figures.services) {
        const id = `${row.namespace}/${row.service}`;
        const points = (next.get(id) ?? []).filter((point) => state.at - point.at < KEPT);
        points.push({ at: state.at, perSecond: row.requestsPerSecond, success: row.successRate, p99: row.p99Seconds });
        next.set(id, points);
    }
    history.value = next;
}

export function connect() {
    const source = new EventSource('/api/events');
    source.addEventListener('open', () => { link.value = 'open'; });
    source.addEventListener('error', () => {
        link.value = 'lost';
        // The browser tries again by itself, unless the server said no.
        if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
    });
    source.addEventListener('mesh', (event) => {
        link.value = 'open';
        const before = drawn.value;
        mesh.value = JSON.parse(event.data);
        remember(mesh.value);
        if (before) {
            const said = changes(before, drawn.value);
            if (said.length) news.value = said.join('; ');
        }
    });
}

/** The answer of the API, or an Error with its reason. */
export async function ask(path, body) {
    const request = body && { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    let response;
    try {
        response = await fetch(path, request);
    } catch {
        throw new Error('weftctl does not answer: has it ended?');
    }
    const answer = await response.json().catch(() => null);
    if (!response.ok) throw new Error(answer?.error ?? `weftctl answers ${response.status}`);
    return answer;
}
