// How figures look. Pure; tested by test/format.test.js. An unknown figure is a dash, never a zero.

const NONE = '–';

export function rate(perSecond) {
    if (perSecond == null) return NONE;
    if (perSecond === 0) return '0';
    if (perSecond >= 10_000) return `${(perSecond / 1000).toFixed(1)}k`;
    if (perSecond >= 100) return perSecond.toFixed(0);
    return perSecond >= 0.1 ? perSecond.toFixed(1) : '<0.1';
}

/** Rounded down: 99.999 % must not look perfect. */
export function percent(share) {
    if (share == null) return NONE;
    if (share === 1) return '100%';
    const floor = Math.floor(share * 1000) / 10;
    return `${floor.toFixed(1)}%`;
}

export function latency(seconds) {
    if (seconds == null) return NONE;
    const ms = seconds * 1000;
    if (ms >= 10_000) return `${seconds.toFixed(0)} s`;
    if (ms >= 1000) return `${seconds.toFixed(1)} s`;
    return ms >= 10 ? `${ms.toFixed(0)} ms` : `${ms.toFixed(1)} ms`;
}

/** Two latencies in little room: their unit once, if it is the same. */
export function pair(a, b) {
    const [one, other] = [latency(a), latency(b)];
    const unit = one.slice(one.lastIndexOf(' '));
    return one !== NONE && other.endsWith(unit) ? `${one.slice(0, -unit.length)} · ${other}` : `${one} · ${other}`;
}

/** The two largest units, as weftctl prints them. */
export function span(seconds) {
    if (seconds == null) return NONE;
    const units = [['d', 86400], ['h', 3600], ['m', 60], ['s', 1]];
    const first = units.findIndex(([, size]) => seconds >= size);
    if (first < 0) return '0s';
    let text = '';
    let rest = seconds;
    for (const [unit, size] of units.slice(first, first + 2)) {
        const count = Math.floor(rest / size);
        if (count > 0) text += `${count}${unit}`;
        rest -= count * size;
    }
    return text;
}

/** A Rust Duration as serde writes it. */
export function duration(value) {
    return value == null ? null : value.secs + value.nanos / 1e9;
}

/** `in 3h` or `5m ago`. */
export function relative(then, now) {
    const seconds = Math.round((then - now) / 1000);
    return seconds >= 0 ? `in ${span(seconds)}` : `${span(-seconds)} ago`;
}

/** A document of the mesh as YAML: plain values only, which is all that JSON has. */
export function yaml(value, indent = '') {
    const scalar = (v) => {
        if (typeof v !== 'string') return String(v);
        const plain = /^[A-Za-z_/][\w./ -]*$/.test(v) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(v) && !v.endsWith(' ');
        return plain ? v : JSON.stringify(v);
    };
    const empty = (v) => (Array.isArray(v) ? v.length === 0 : Object.keys(v).length === 0);
    const nested = (v) => v !== null && typeof v === 'object' && !empty(v);
    const flat = (v) => (v !== null && typeof v === 'object' ? (Array.isArray(v) ? '[]' : '{}') : scalar(v));
    if (!nested(value)) return `${indent}${flat(value)}\n`;
    if (Array.isArray(value)) {
        return value.map((item) => `${indent}- ${yaml(item, `${indent}  `).slice(indent.length + 2)}`).join('');
    }
    return Object.entries(value)
        .map(([key, item]) => (nested(item) ? `${indent}${key}:\n${yaml(item, `${indent}  `)}` : `${indent}${key}: ${flat(item)}\n`))
        .join('');
}
