// What several views are made of: figures, badges, tables, panels, small charts, icons.
import { latency, percent, rate } from '../format.js';
import { successLevel } from '../graph.js';

const ICONS = {
    lock: 'M5 7V5a3 3 0 0 1 6 0v2M4 7h8v6H4z',
    open: 'M5 7V5a3 3 0 0 1 5.800-1M4 7h8v6H4z',
    alert: 'M8 2 15 14H1zM8 6.500v3.500M8 12v.1',
    sun: 'M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M8 1v1.500M8 13.500V15M1 8h1.500M13.500 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1',
    moon: 'M13 9.500A5.500 5.500 0 0 1 6.500 3 5.500 5.500 0 1 0 13 9.500z',
    check: 'm3 8.500 3.500 3.500L13 5',
    cross: 'm4 4 8 8M12 4l-8 8',
    play: 'M5 3.500v9l7-4.500z',
    stop: 'M4.500 4.500h7v7h-7z',
    arrow: 'M3 8h10M9.500 4.500 13 8l-3.500 3.500',
};

export function Icon({ name, label }) {
    return <svg class="icon-svg" viewBox="0 0 16 16" width="16" height="16" role={label ? 'img' : undefined} aria-label={label}
        aria-hidden={label ? undefined : 'true'}><path d={ICONS[name]} /></svg>;
}

/** Whether connections are mTLS. */
export function Lock({ mtls }) {
    if (mtls === 'yes') return <span class="lock good"><Icon name="lock" label="mTLS" /></span>;
    if (mtls === 'no') return <span class="lock bad"><Icon name="open" label="plain text" /></span>;
    if (mtls === 'some') return <span class="lock warn"><Icon name="open" label="partly plain text" /></span>;
    return <span class="lock idle" title="no connection seen yet">–</span>;
}

export function Badge({ level, children, title }) {
    return <span class="badge" data-level={level} title={title}><i class="dot" />{children}</span>;
}

export function Panel({ title, note, action, children, id }) {
    return <section class="panel" aria-labelledby={id}>
        <header><h2 id={id}>{title}</h2>{note && <span class="note">{note}</span>}{action}</header>
        {children}
    </section>;
}

export function Empty({ title, children }) {
    return <div class="empty"><b>{title}</b><div>{children}</div></div>;
}

export function Stat({ label, value, level, note }) {
    return <div class="stat" data-level={level}><dt>{label}</dt><dd>{value}{note && <small>{note}</small>}</dd></div>;
}

/** A table that scrolls sideways by itself. Columns: [title, cell of a row, class]. */
export function Table({ caption, columns, rows, id, nothing }) {
    if (rows.length === 0) return <Empty title={nothing ?? 'Nothing here'} />;
    return <div class="scroll" tabindex="0" role="region" aria-label={caption}>
        <table>
            <caption class="unseen">{caption}</caption>
            <thead><tr>{columns.map(([title, , kind]) => <th scope="col" class={kind}>{title}</th>)}</tr></thead>
            <tbody>{rows.map((row) => <tr key={id(row)} data-level={row.level}>
                {columns.map(([, cell, kind], at) => at === 0
                    ? <th scope="row" class={kind}>{cell(row)}</th> : <td class={kind}>{cell(row)}</td>)}
            </tr>)}</tbody>
        </table>
    </div>;
}

/** The columns that every row of figures has. */
export const FIGURES = [
    ['Success', ({ figures }) => <span class="figure" data-level={successLevel(figures)}>{percent(figures?.successRate)}</span>, 'num'],
    ['Req/s', ({ figures }) => rate(figures?.requestsPerSecond), 'num'],
    ['p50', ({ figures }) => latency(figures?.p50Seconds), 'num'],
    ['p95', ({ figures }) => latency(figures?.p95Seconds), 'num'],
    ['p99', ({ figures }) => latency(figures?.p99Seconds), 'num'],
];

export function Replicas({ endpoints }) {
    return <span class="replicas">{endpoints.map((endpoint) =>
        <i key={endpoint.id} data-level={endpoint.level} data-endpoint={endpoint.id} title={`${endpoint.id}: ${endpoint.why}`} />)}</span>;
}

/** A line over the last minutes; what it shows is beside it in figures, so that it is decoration for screen readers. */
export function Spark({ points, pick, level }) {
    const known = points.map((point) => ({ at: point.at, value: pick(point) })).filter((point) => point.value != null);
    if (known.length < 2) return <svg class="spark" viewBox="0 0 100 28" aria-hidden="true" preserveAspectRatio="none" />;
    const from = known[0].at;
    const width = Math.max(1, known[known.length - 1].at - from);
    const values = known.map((point) => point.value);
    const top = Math.max(...values) || 1;
    const low = Math.min(...values, top * 0.8);
    const x = (point) => (100 * (point.at - from)) / width;
    const y = (point) => 25 - (22 * (point.value - low)) / (top - low || 1);
    const line = known.map((point, at) => `${at ? 'L' : 'M'}${x(point).toFixed(1)},${y(point).toFixed(1)}`).join('');
    return <svg class="spark" data-level={level} viewBox="0 0 100 28" preserveAspectRatio="none" aria-hidden="true">
        <path class="area" d={`${line}L100,28L0,28Z`} /><path class="line" d={line} />
    </svg>;
}

export const serviceLink = (namespace, name) => `#/services/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
export const proxyLink = (namespace, name) => `#/proxies/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
