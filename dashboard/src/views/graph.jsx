// The graph: services as cards, calls between them as lines with their figures. The tables below it say the same in words.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { latency, pair, percent, rate } from '../format.js';
import { successLevel } from '../graph.js';
import { NODE, path, place } from '../layout.js';
import { Lock, Replicas, serviceLink } from './parts.jsx';

/** Narrower than this, layers go down instead of to the right. */
const NARROW = 760;

function Card({ node, at, lit, on }) {
    const { figures } = node;
    const style = { left: `${at.x - NODE.width / 2}px`, top: `${at.y - NODE.height / 2}px`, width: `${NODE.width}px`, height: `${NODE.height}px` };
    const inner = <>
        <span class="name"><b>{node.name}</b><small>{node.namespace}</small></span>
        {node.kind === 'service' ? <>
            <span class="numbers">
                <span class="figure" data-level={successLevel(figures)}><span class="unseen">success </span>{percent(figures?.successRate)}</span>
                <span>{rate(figures?.requestsPerSecond)}<small>/s</small></span>
                <span>{latency(figures?.p99Seconds)}<small> p99</small></span>
            </span>
            <span class="ready"><Replicas endpoints={node.endpoints} />
                <small>{node.endpoints.length === 0 ? 'no endpoints' : <>{node.ready}/{node.endpoints.length}<span class="unseen"> endpoints healthy</span></>}</small></span>
        </> : <span class="numbers"><small>client, serves nothing</small></span>}
    </>;
    const common = { class: `card ${node.kind}${lit ? '' : ' dim'}`, style, 'data-level': node.level, 'data-node': node.id,
        onMouseEnter: () => on(node.id), onMouseLeave: () => on(null), onFocus: () => on(node.id), onBlur: () => on(null) };
    return node.kind === 'service'
        ? <a {...common} href={serviceLink(node.namespace, node.name)}>{inner}</a> : <div {...common}>{inner}</div>;
}

function Label({ edge, at, lit }) {
    const { figures } = edge;
    const quiet = figures.requests === 0;
    return <div class={`label${lit ? '' : ' dim'}`} style={{ left: `${at.x}px`, top: `${at.y}px` }} data-level={edge.level}
        data-edge={edge.id} data-mtls={edge.mtls}>
        <span><Lock mtls={edge.mtls} /> {quiet ? <small>no requests</small> : <b>{rate(figures.requestsPerSecond)}/s</b>}</span>
        {!quiet && <small>{pair(figures.p50Seconds, figures.p99Seconds)}</small>}
        {!quiet && figures.successRate < 1 && <b class="figure" data-level={edge.level}>{percent(figures.successRate)}</b>}
    </div>;
}

export function Graph({ nodes, edges }) {
    const box = useRef(null);
    const [width, setWidth] = useState(0);
    const [over, setOver] = useState(null);
    useEffect(() => {
        const watch = new ResizeObserver(([entry]) => setWidth(entry.contentRect.width));
        watch.observe(box.current);
        return () => watch.disconnect();
    }, []);
    const down = width < NARROW;
    // Figures come every second; things only move when something is new.
    const shape = JSON.stringify([nodes.map((node) => node.id).sort(), edges.map((edge) => edge.id).sort(), down]);
    const plan = useMemo(() => {
        const [ids, lines] = JSON.parse(shape);
        const ends = (id) => { const [from, to] = id.split('>'); return { id, from, to }; };
        return place(ids, lines.map(ends), down);
    }, [shape]);
    const scale = width ? Math.min(1, Math.max(0.7, width / plan.width)) : 1;
    const near = (edge) => over === null || edge.from === over || edge.to === over;
    const lit = (node) => over === null || node.id === over || edges.some((edge) => near(edge) && (edge.from === node.id || edge.to === node.id));
    const most = Math.max(1, ...edges.map((edge) => edge.figures.requestsPerSecond));
    const inner = { width: `${plan.width}px`, height: `${plan.height}px`, transform: `scale(${scale})` };
    return <div class="graph" ref={box} tabindex="0" role="region" aria-label="Graph of services; the tables below say the same"
        data-ready={width > 0 ? 'yes' : 'no'}>
        <div class="canvas" style={{ width: `${plan.width * scale}px`, height: `${plan.height * scale}px` }}>
            <div class="layer" style={inner}>
                <svg class="edges" width={plan.width} height={plan.height} aria-hidden="true">
                    <defs>{['good', 'idle', 'warn', 'bad'].map((level) =>
                        <marker id={`tip-${level}`} data-level={level} viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"
                            markerUnits="userSpaceOnUse" orient="auto"><path d="M0,0.500 8,4 0,7.500z" /></marker>)}</defs>
                    {edges.map((edge) => {
                        const route = plan.routes.get(edge.id);
                        const stroke = 1.2 + 2.300 * Math.sqrt(edge.figures.requestsPerSecond / most);
                        return route && <path key={edge.id} class={near(edge) ? '' : 'dim'} data-level={edge.level} d={path(route.points)}
                            stroke-width={stroke.toFixed(2)} marker-end={`url(#tip-${edge.level})`} />;
                    })}
                </svg>
                {nodes.map((node) => plan.placed.has(node.id) &&
                    <Card key={node.id} node={node} at={plan.placed.get(node.id)} lit={lit(node)} on={setOver} />)}
                {edges.map((edge) => plan.routes.has(edge.id) &&
                    <Label key={edge.id} edge={edge} at={plan.routes.get(edge.id)} lit={near(edge)} />)}
            </div>
        </div>
    </div>;
}
