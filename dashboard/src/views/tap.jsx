// Live requests of one service, as its own sidecars let them in; nothing is asked of them until somebody starts it.
import { useEffect, useRef, useState } from 'preact/hooks';
import { latency } from '../format.js';
import { Icon, Panel, Table } from './parts.jsx';

/** Rows that are kept. */
const KEPT = 50;

const level = ({ status, grpcStatus, reason }) => {
    if (status >= 500 || (grpcStatus ?? 0) > 0 || reason) return 'bad';
    return status >= 400 ? 'warn' : 'good';
};

const answer = ({ status, grpcStatus, reason }) =>
    [status ?? '–', grpcStatus == null ? '' : `grpc ${grpcStatus}`, reason].filter(Boolean).join(' · ');

export function Tap({ namespace, name }) {
    const [rows, setRows] = useState([]);
    const [state, setState] = useState({ on: false, note: null, dropped: 0 });
    const source = useRef(null);
    const count = useRef(0);
    const stop = (note = null) => {
        source.current?.close();
        source.current = null;
        setState((old) => ({ ...old, on: false, note }));
    };
    useEffect(() => () => source.current?.close(), []);
    const start = () => {
        setRows([]);
        setState({ on: true, note: 'waiting for the next request', dropped: 0 });
        const events = new EventSource(`/api/tap/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`);
        source.current = events;
        const on = (type, handle) => events.addEventListener(type, (event) => handle(JSON.parse(event.data)));
        on('begun', ({ proxies, notes }) => setState((old) => ({ ...old,
            note: proxies === 0 ? 'none of its sidecars is connected' : notes[0] ?? null })));
        on('refused', ({ error }) => stop(error));
        on('over', () => stop('it has ended by itself: start it again to see more'));
        on('told', ({ request, dropped, left }) => {
            if (request) {
                count.current += 1;
                setRows((old) => [{ ...request, id: count.current, level: level(request) }, ...old].slice(0, KEPT));
            }
            if (dropped) setState((old) => ({ ...old, dropped: old.dropped + dropped.count }));
            if (left) setState((old) => ({ ...old, note: `${left.proxy}: ${left.why}` }));
        });
        // It must not begin anew by itself.
        events.addEventListener('error', () => { if (source.current === events) stop('it has ended: weftctl or discovery has gone'); });
    };
    const note = [state.note, state.dropped > 0 && `${state.dropped} more were not shown`].filter(Boolean).join(' · ');
    return <Panel title="Live requests" id="tap-title" note={note || (state.on ? 'as its sidecars let them in' : 'costs nothing until it is started')}
        action={<button type="button" onClick={() => (state.on ? stop() : start())}><Icon name={state.on ? 'stop' : 'play'} />{state.on ? 'Stop' : 'Start'}</button>}>
        {rows.length > 0 && <Table caption="Live requests" id={(row) => row.id} rows={rows} columns={[
            ['Time', (row) => <code>{row.time.slice(11, 23)}</code>],
            ['From', (row) => row.from],
            ['Request', (row) => <code>{row.method ? `${row.method} ${row.path}` : row.protocol}</code>],
            ['Answer', (row) => <span class="figure" data-level={row.level}>{answer(row)}</span>],
            ['Took', (row) => latency(row.tookSeconds), 'num'],
            ['By', (row) => row.proxy.slice(row.proxy.indexOf('/') + 1)],
        ]} />}
    </Panel>;
}
